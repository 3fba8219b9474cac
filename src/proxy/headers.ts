import type { Backend, Config } from "../config.ts";
import { copyOf101, isWebSocketRequest } from "./websocket.ts";

/** The headers of a request as the backend gets them: the client's own, and who and where the client really is. */
export function headersToBackend(request: Request, clientIp: string, config: Config): Headers {
  const headers = new Headers(request.headers);
  for (const name of ["X-Forwarded-For", "X-Real-IP"]) {
    if (clientIp) headers.set(name, clientIp);
    else headers.delete(name);
  }
  headers.set("X-Forwarded-Host", config.primaryDomain);
  headers.set("X-Forwarded-Proto", "https");
  // A hop-by-hop header that a proxy must not pass on unless it speaks the protocol (RFC 9110, section 7.8): with another
  // method workerd would send a GET, without the body.
  if (headers.has("Upgrade") && !isWebSocketRequest(request)) headers.delete("Upgrade");
  return headers;
}

/** The backend's response as the client gets it: as it came, unless its `Location`, the session cookie or the header that names the backend has to change. */
export function answerToClient(
  response: Response,
  backend: Backend,
  setCookie: string | undefined,
  config: Config,
): Response {
  const location = publicLocation(response, backend, config);
  if (location === undefined && setCookie === undefined && config.servedByHeader === "") return response;

  const changed = response.status === 101 ? copyOf101(response) : new Response(response.body, response);
  if (location !== undefined) changed.headers.set("Location", location);
  if (setCookie !== undefined) changed.headers.append("Set-Cookie", setCookie);
  if (config.servedByHeader !== "") changed.headers.set(config.servedByHeader, backend.id);
  return changed;
}

/** The `Location` on the public domain, where the backend's own names the backend's host (RFC 9110, section 10.2.2). */
function publicLocation(response: Response, backend: Backend, config: Config): string | undefined {
  const { status } = response;
  if (status !== 201 && (status < 300 || status > 399)) return undefined;
  const location = response.headers.get("Location");
  // A relative one is right already, and resolves to whatever the client asked. One with userinfo or a backslash (which a
  // browser takes for a slash) leads elsewhere than it seems to.
  const authority = location && /^(?:https?:)?\/\/[^/?#\\@]*(?=[/?#]|$)/i.exec(location)?.[0];
  if (!authority) return undefined;
  const url = URL.parse(authority, backend.origin);
  const own = new URL(backend.origin);
  // Many an application behind a TLS proxy believes that it is http, or on the scheme's default port.
  const isOwn = url?.hostname === own.hostname && (url.port === "" || portOf(url) === portOf(own));
  return isOwn ? config.publicOrigin + location.slice(authority.length) : undefined;
}

function portOf({ port, protocol }: URL): string {
  return port || (protocol === "https:" ? "443" : "80");
}
