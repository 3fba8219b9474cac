/** One of the three backends of a chaos run: a `Backend` in a process of its own whose answers prove what it was asked. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Backend, type Mode } from "../support/backend.ts";
import { obeyOrders } from "../support/backend-process.ts";
import { sha256 } from "../support/hashing.ts";
import { endAttacks, suffer } from "./attacks.ts";
import { payloadOf } from "./payload.ts";
import { breakStaleConnections } from "./stale.ts";

export type Order =
  | Mode
  /** Sends headers and half of the body; the rest follows with the next order. */
  | { readonly kind: "hold" }
  /** Is well, and no URL makes it hang any more. */
  | { readonly kind: "peace" };

let holding = false;
let held: (() => void)[] = [];

const [, , id = "", port] = process.argv;
breakStaleConnections(id);
const backend = await new Backend(id, answer).start(Number(port));
obeyOrders<Order>((order) => {
  holding = order.kind === "hold";
  if (order.kind === "peace") endAttacks();
  backend.mode = order.kind === "hold" || order.kind === "peace" ? { kind: "well" } : order;
  for (const release of held) release();
  held = [];
});

/** A POST gets its own body back, everything else the bytes that its query asks for. */
function answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  backend.seen.length = 0; // Nobody asks for it here, and it would grow for ever.
  if (suffer(id, request, response)) return;
  const { method = "", url = "" } = request;
  const payload = method === "POST" ? body : payloadOf(url);
  response.writeHead(200, {
    "Content-Type": "application/octet-stream",
    "Content-Length": payload.length,
    "X-Served-By-Backend": id,
    "X-Method": method,
    "X-Url": url,
    "X-Body-Sha256": sha256(body),
  });
  if (!holding || method === "HEAD") return void response.end(payload);
  const half = payload.length >> 1;
  response.flushHeaders();
  response.write(payload.subarray(0, half));
  held.push(() => response.end(payload.subarray(half)));
}
