import type { Config } from "./config.ts";
import { ownAnswer } from "./headers.ts";

/**
 * Decides what a request may do at all: returns its path and query, verbatim, or the answer that ends it: 421 for a foreign
 * host (RFC 9110, section 15.5.20), a redirect to HTTPS for `http:`.
 */
export function admit(url: string, method: string, config: Config): string | Response {
  const { publicOrigin } = config;
  // How nearly every request comes; cutting the text instead of parsing it also keeps the path as it was sent.
  if (url.startsWith(publicOrigin) && url[publicOrigin.length] === "/") return url.slice(publicOrigin.length);

  const parsed = URL.parse(url);
  const authority = /^https?:\/\/[^/?#]*/.exec(url)?.[0];
  const isOurs = parsed?.hostname.replace(/\.$/, "") === config.primaryDomain && !parsed.username && !parsed.password;
  if (!isOurs || authority === undefined) {
    return ownAnswer(421, "Misdirected request: this address is not served here. Check the host name in the URL.");
  }

  const rest = url.slice(authority.length);
  const path = rest.startsWith("/") ? rest : `/${rest}`;
  if (parsed.protocol === "https:") return path;
  // 308 keeps the method and the body (RFC 9110, section 15.4.9); 301 is what every old player knows.
  const status = method === "GET" || method === "HEAD" ? 301 : 308;
  return ownAnswer(status, "This service is served over HTTPS.", { Location: publicOrigin + path });
}
