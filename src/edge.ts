import type { Config } from "./config.ts";
import { errorResponse } from "./error-response.ts";

/**
 * Decides what a request may do at all: returns its path and query, verbatim, or the answer that ends it: 421 for a foreign
 * host (RFC 9110, section 15.5.20), a redirect to HTTPS for `http:`.
 */
export function admit({ url, method, headers }: Request, config: Config): string | Response {
  const { publicOrigin } = config;
  // How nearly every request comes; cutting the text instead of parsing it also keeps the path as it was sent.
  if (url.startsWith(publicOrigin) && url[publicOrigin.length] === "/") return url.slice(publicOrigin.length);

  const parsed = URL.parse(url);
  // Neither userinfo nor a backslash, which the URL parser would take for a slash.
  const authority = /^https?:\/\/[^/?#\\@]*(?=[/?#]|$)/.exec(url)?.[0];
  if (parsed?.hostname.replace(/\.$/, "") !== config.primaryDomain || authority === undefined) {
    return errorResponse(421, "This host is not served here. Check the URL.", headers.get("Accept"));
  }

  const rest = url.slice(authority.length);
  const path = rest.startsWith("/") ? rest : `/${rest}`;
  if (parsed.protocol === "https:") return path;
  // 308 keeps the method and the body (RFC 9110, section 15.4.9); 301 is what every old player knows.
  const status = method === "GET" || method === "HEAD" ? 301 : 308;
  const location = publicOrigin + path.toWellFormed().replace(/[^!-~]/gu, encodeURIComponent);
  return errorResponse(status, "Use HTTPS.", headers.get("Accept"), { Location: location });
}
