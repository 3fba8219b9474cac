import type { Config } from "./config.ts";
import { errorResponse } from "./error-response.ts";

/**
 * Decides what a request may do at all: returns its path and query, verbatim, or the answer that ends it: 421 for a foreign
 * host (RFC 9110, section 15.5.20), a redirect to HTTPS for `http:`.
 */
export function admit(request: Request, { publicOrigin, primaryDomain }: Config): string | Response {
  const { url, method } = request;
  // How nearly every request comes; cutting the text instead of parsing it also keeps the path as it was sent.
  if (url.startsWith(`${publicOrigin}/`)) return url.slice(publicOrigin.length);

  // Neither userinfo nor a backslash, which a URL parser would take for a slash.
  const [, scheme, host, rest] = /^(https?):\/\/([^/?#\\@:]*?)\.?(?::\d*)?(?=[/?#]|$)\/?(.*)/s.exec(url) ?? [];
  if (host?.toLowerCase() !== primaryDomain) {
    return errorResponse(request, 421, "This host is not served here.");
  }

  const path = `/${rest}`;
  if (scheme === "https") return path;
  // 308 keeps the method and the body (RFC 9110, section 15.4.9); 301 is what every old player knows.
  const status = method === "GET" || method === "HEAD" ? 301 : 308;
  const location = publicOrigin + path.replace(/[^!-~]/gu, encodeURIComponent);
  return errorResponse(request, status, "Use HTTPS.", { Location: location });
}
