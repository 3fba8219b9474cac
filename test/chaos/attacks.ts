import type { IncomingMessage, ServerResponse } from "node:http";

/** The hung requests of this backend. */
let hung: ServerResponse[] = [];
let isOver = false;

/** What a URL can do to the backend that it is asked of. */
const ATTACKS = {
  "500": (_, response) => void response.writeHead(500).end(),
  "503": (_, response) => void response.writeHead(503).end(),
  hang: (_, response) => void (isOver ? response.destroy() : hung.push(response)),
  reset: ({ socket }) => void socket.resetAndDestroy(),
  garbage: ({ socket }) => void socket.end("no HTTP at all\r\n\r\n"),
  "101": ({ socket }) =>
    void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
} satisfies Record<string, (request: IncomingMessage, response: ServerResponse) => void>;

export type Attack = keyof typeof ATTACKS;
export const ATTACK_NAMES = Object.keys(ATTACKS) as Attack[];

/** The target that stands for all backends. */
export const EVERY = "every";

/** A URL that is harmless to every backend but the target. */
export function attackPath(attack: Attack, target: string): string {
  return `/attack/${attack}/${target}`;
}

/** In a backend: lets an attack have its way. Returns whether the URL was one, and meant for this backend. */
export function suffer(id: string, request: IncomingMessage, response: ServerResponse): boolean {
  const [, attack, target] = /^\/attack\/(\w+)\/(\w+)$/.exec(request.url ?? "") ?? [];
  if (attack === undefined || (target !== id && target !== EVERY)) return false;
  ATTACKS[attack as Attack](request, response);
  return true;
}

/** In a backend: ends what hangs and lets nothing hang any more, so that no request outlives the run by `BACKEND_TIMEOUT`. */
export function endAttacks(): void {
  isOver = true;
  for (const response of hung) response.destroy();
  hung = [];
}
