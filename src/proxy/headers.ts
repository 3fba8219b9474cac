import type { Backend, Config } from "../config.ts";
import { isWebSocketRequest } from "./websocket.ts";

/**
 * Whether Cloudflare's cache would meddle with a request: it goes by the extension of the path, and drops a `Range`, turns a
 * HEAD into a GET and keeps answers for files such as .mkv
 * (https://developers.cloudflare.com/cache/concepts/default-cache-behavior/). It never keeps .json.
 */
export function isCacheable(path: string, headers: Headers): boolean {
  return headers.has("Range") || /\.(?!json$)[^./]+$/i.test(path.replace(/\?.*/s, ""));
}

/**
 * The headers of a request as the backend gets them: the client's own, and who and where the client really is.
 * `isCacheable`: the request is sent past Cloudflare's cache.
 */
export function headersToBackend(request: Request, clientIp: string, isCacheable: boolean, config: Config): Headers {
  const headers = new Headers(request.headers);
  for (const name of ["X-Forwarded-For", "X-Real-IP"]) {
    if (clientIp) headers.set(name, clientIp);
    else headers.delete(name);
  }
  headers.set("X-Forwarded-Host", config.primaryDomain);
  headers.set("X-Forwarded-Proto", "https");
  // It would contradict what the Worker vouches for (RFC 7239).
  headers.delete("Forwarded");
  // `no-store` adds `Cache-Control: no-cache` where there is none, which makes Express send again what the client has.
  if (isCacheable && !headers.has("Cache-Control")) headers.set("Cache-Control", "max-age=0");
  // A hop-by-hop header that a proxy must not pass on unless it speaks the protocol (RFC 9110, section 7.8): with another
  // method workerd would send a GET, without the body.
  if (headers.has("Upgrade") && !isWebSocketRequest(request)) headers.delete("Upgrade");
  return headers;
}

/**
 * The backend's response as the client gets it: as it came, unless something in it speaks of the backend's own host, or the
 * session cookie or the header that names the backend is to be added.
 */
export function answerToClient(
  response: Response,
  backend: Backend,
  setCookie: string | undefined,
  config: Config,
): Response {
  const { status, headers } = response;
  // No constructor takes such a status: AIOStreams' proxy relays those of IPTV panels.
  if (status > 599) return response;
  let copy: Response | undefined;
  const changed = () => {
    copy ??= copyOf(response);
    return copy.headers;
  };
  // It names the backend's own port: a browser would try that on the public domain.
  if (headers.has("Alt-Svc")) changed().delete("Alt-Svc");
  if (/;\s*domain/i.test(headers.get("Set-Cookie") ?? "")) {
    changed().delete("Set-Cookie");
    for (const cookie of headers.getSetCookie()) changed().append("Set-Cookie", withoutDomain(cookie, backend));
  }
  const location = publicLocation(response, backend, config);
  if (location) changed().set("Location", location);
  if (setCookie) changed().append("Set-Cookie", setCookie);
  if (config.servedByHeader) changed().set(config.servedByHeader, backend.id);
  return copy ?? response;
}

/** A copy with headers that can be changed. What no constructor takes of a reason phrase is left out; HTTP/2 has none. */
function copyOf({ body, status, statusText, headers, webSocket }: Response): Response {
  return new Response(body, { status, statusText: statusText.replace(/[^ -~\x80-\xff]/g, ""), headers, webSocket });
}

/** A cookie without the backend's own host as its `Domain`, with which a browser would throw it away (RFC 6265, section 5.3). */
function withoutDomain(cookie: string, { origin }: Backend): string {
  const { hostname } = new URL(origin);
  return cookie.replace(/;\s*domain\s*=\s*\.?([^;]*)/gi, (attribute, domain: string) =>
    domain.trim().toLowerCase() === hostname ? "" : attribute,
  );
}

/** The `Location` on the public domain, where the backend's own names the backend's host (RFC 9110, section 10.2.2). */
function publicLocation(response: Response, backend: Backend, config: Config): string | undefined {
  const { status, headers } = response;
  if (status !== 201 && (status < 300 || status > 399)) return undefined;
  const location = headers.get("Location") ?? "";
  // A relative one is right already, and resolves to whatever the client asked. One with userinfo or a backslash (which a
  // browser takes for a slash) leads elsewhere than it seems to.
  const [authority] = /^(?:https?:)?\/\/[^/?#\\@]*(?=[/?#]|$)/i.exec(location) ?? [];
  const url = authority && URL.parse(authority, backend.origin);
  if (!url) return undefined;
  // Many an application behind a TLS proxy believes that it is http, or on the scheme's default port.
  const { protocol, port } = new URL(backend.origin);
  const isOnDefaultPort = url.port === "";
  url.protocol = protocol;
  if (isOnDefaultPort) url.port = port;
  return url.origin === backend.origin ? config.publicOrigin + location.slice(authority.length) : undefined;
}
