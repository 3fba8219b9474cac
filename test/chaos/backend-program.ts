/** One of the three backends of a chaos run: a `Backend` in a process of its own whose answers prove what it was asked. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Backend } from "../support/backend.ts";
import { obeyOrders } from "../support/backend-process.ts";
import { sha256 } from "../support/hashing.ts";
import { endAttacks, suffer } from "./attacks.ts";
import { botWall, carryOut, type Order } from "./orders.ts";
import { payloadOf } from "./payload.ts";
import { breakStaleConnections } from "./stale.ts";

let order: Order = { kind: "well" };
let held: (() => void)[] = [];

const [, , id = "", port] = process.argv;
// Two errors in a row are a bad check, so an alternating route has no stale connections besides.
breakStaleConnections(id, () => order.kind !== "alternating");
const backend = await new Backend(id, answer).start(Number(port));
obeyOrders<Order>((next) => {
  order = next;
  carryOut(backend, next);
  if (next.kind === "peace") endAttacks();
  for (const release of held) release();
  held = [];
});

/** A POST gets its own body back, everything else the bytes that its query asks for. */
function answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  backend.seen.length = 0; // It would grow for ever.
  if (suffer(id, request, response)) return;
  if (order.kind === "challenge") return void botWall(request, response, body);
  const { method = "", url = "" } = request;
  if (url === "/who") return void response.end(JSON.stringify({ id }));
  const payload = method === "POST" ? body : payloadOf(url);
  response.writeHead(200, {
    "Content-Type": "application/octet-stream",
    "Content-Length": payload.length,
    "X-Served-By-Backend": id,
    "X-Method": method,
    "X-Url": url,
    "X-Body-Sha256": sha256(body),
  });
  if (order.kind !== "hold" || method === "HEAD") return void response.end(payload);
  const half = payload.length >> 1;
  response.flushHeaders();
  response.write(payload.subarray(0, half));
  held.push(() => response.end(payload.subarray(half)));
}
