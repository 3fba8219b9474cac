import type { Backend, Config } from "./config.ts";
import type { Client } from "./selection.ts";

/** The headers of a request as the backend gets them: the client's own, and who and where the client really is. */
export function headersToBackend(request: Request, clientIp: string, config: Config): Headers {
  const headers = new Headers(request.headers);
  if (clientIp) {
    headers.set("X-Forwarded-For", clientIp);
    headers.set("X-Real-IP", clientIp);
  } else {
    headers.delete("X-Forwarded-For");
    headers.delete("X-Real-IP");
  }
  headers.set("X-Forwarded-Host", config.primaryDomain);
  headers.set("X-Forwarded-Proto", "https");
  // A hop-by-hop header that a proxy must not pass on unless it speaks the protocol (RFC 9110, section 7.8), and only a GET
  // opens a WebSocket (RFC 6455, section 4.1): with any other method workerd would send a GET, without the body.
  const upgrade = headers.get("Upgrade");
  if (upgrade !== null && (request.method !== "GET" || upgrade.toLowerCase() !== "websocket"))
    headers.delete("Upgrade");
  return headers;
}

/** The backend's response as the client gets it: as it came, unless its `Location`, the session cookie or the header that names the backend has to change. */
export function answerToClient(response: Response, backend: Backend, client: Client, config: Config): Response {
  const location = publicLocation(response, backend, config);
  const setCookie = config.stickySessions && backend !== client.bound && response.status < 500;
  if (location === undefined && !setCookie && config.servedByHeader === "") return response;

  const changed = response.webSocket
    ? new Response(null, { status: 101, headers: response.headers, webSocket: response.webSocket })
    : new Response(response.body, response);
  if (location !== undefined) changed.headers.set("Location", location);
  if (setCookie) changed.headers.append("Set-Cookie", backend.setCookie);
  if (config.servedByHeader !== "") changed.headers.set(config.servedByHeader, backend.id);
  return changed;
}

/** The `Location` on the public domain, where the backend's own names the backend's origin (RFC 9110, section 10.2.2). */
function publicLocation(response: Response, backend: Backend, config: Config): string | undefined {
  const { status } = response;
  if (status !== 201 && (status < 300 || status > 399)) return undefined;
  const location = response.headers.get("Location");
  // A relative one is right already, and resolves to whatever the client asked.
  const authority = location && /^(?:https?:)?\/\/[^/?#\\]*/i.exec(location);
  if (!authority) return undefined;
  if (URL.parse(location, backend.origin)?.origin !== backend.origin) return undefined;
  return config.publicOrigin + location.slice(authority[0].length);
}

/** How long a client should wait before it asks again, in seconds: about as long as it takes to find a dead backend. */
const RETRY_AFTER_SECONDS = "5";

/** An answer of the Worker's own. It names no backend, nothing keeps it, and a web player on another site can read it. */
export function ownAnswer(status: number, text: string, extra: Record<string, string> = {}): Response {
  return new Response(`${text}\n`, {
    status,
    headers: {
      "Content-Type": "text/plain; charset=utf-8",
      "Cache-Control": "no-store",
      "Access-Control-Allow-Origin": "*",
      ...(status === 502 || status === 504 ? { "Retry-After": RETRY_AFTER_SECONDS } : {}),
      ...extra,
    },
  });
}
