import { subscribe } from "node:diagnostics_channel";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { HEALTH_PATH } from "../support/backend.ts";
import { Random } from "../support/random.ts";

/** The share of requests whose connection is stale: a server closes it at the moment at which it is used again. */
export const STALE_SHARE = 0.05;

/** The header that names the backend to which the connection of an exchange is to be stale, if it is a reused one. */
export const STALE_HEADER = "X-Stale-At";

/**
 * In a backend: resets reused connections as a server does whose keep-alive ends as a request comes, before anything of
 * the request is read. An exchange is hit once at most, and never two checks in a row: twice in a row is no coincidence.
 */
export function breakStaleConnections(id: string, mayHitChecks: () => boolean): void {
  const random = Random.forPart(1, id);
  const used = new WeakSet<Socket>();
  const hit = new Set<string>();
  let wasCheckHit = false;

  const isHit = ({ url = "", headers }: IncomingMessage): boolean => {
    if (url === HEALTH_PATH) {
      wasCheckHit = !wasCheckHit && mayHitChecks() && random.next() < STALE_SHARE;
      return wasCheckHit;
    }
    if (headers[STALE_HEADER.toLowerCase()] !== id || hit.has(url)) return false;
    hit.add(url);
    return true;
  };

  subscribe("http.server.request.start", (message) => {
    const { request, socket } = message as { request: IncomingMessage; socket: Socket };
    const isReused = used.has(socket);
    used.add(socket);
    if (isReused && isHit(request)) socket.resetAndDestroy();
  });
}
