/** One of the three backends of a chaos run: a `Backend` in a process of its own whose answers prove what it was asked. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Backend, type Behaviour, type Mode } from "../support/backend.ts";
import { obeyOrders } from "../support/backend-process.ts";
import { sha256 } from "../support/hashing.ts";
import { until } from "../support/waiting.ts";
import { endAttacks, suffer } from "./attacks.ts";
import { payloadOf } from "./payload.ts";
import { breakStaleConnections } from "./stale.ts";

export type Order =
  | Mode
  /** Sends headers and half of the body; the rest follows with the next order. */
  | { readonly kind: "hold" }
  /** Is gone and 400 ms away: an ask, and the one that confirms it, take longer than a request waits for them. */
  | { readonly kind: "far" }
  /** Is gone until the first check has asked: that wakes it. */
  | { readonly kind: "waking" }
  /** Cloudflare's bot wall stands before the app, and lets checks pass. */
  | { readonly kind: "challenge" }
  /** The health route answers every other ask with 503, and the app works. */
  | { readonly kind: "alternating" }
  /** Is well, and no URL makes it hang any more. */
  | { readonly kind: "peace" };

const WELL: Behaviour = { kind: "well" };
const GONE: Behaviour = { kind: "outage", answer: "404" };
const FAR_MS = 400;

let order: Order = WELL;
let held: (() => void)[] = [];

const [, , id = "", port] = process.argv;
// Two errors in a row are a bad check, so an alternating route has no stale connections besides.
breakStaleConnections(id, () => order.kind !== "alternating");
const backend = await new Backend(id, answer).start(Number(port));
obeyOrders<Order>((next) => {
  order = next;
  backend.delayMs = () => (next.kind === "far" ? FAR_MS : 0);
  backend.nextChecks.length = 0;
  backend.mode = modeOf(next);
  if (next.kind === "waking") wakeOnceChecked(next);
  if (next.kind === "alternating") {
    for (let i = 0; i < 500; i++) backend.nextChecks.push({ kind: "status", status: 503 }, WELL);
  }
  if (next.kind === "peace") endAttacks();
  for (const release of held) release();
  held = [];
});

function modeOf(order: Order): Mode {
  switch (order.kind) {
    case "far":
    case "waking":
      return GONE;
    case "hold":
    case "challenge":
    case "alternating":
    case "peace":
      return WELL;
    default:
      return order;
  }
}

function wakeOnceChecked(waking: Order): void {
  const { checks } = backend;
  const awake = until("its first check has come", () => order !== waking || backend.checks > checks);
  awake
    .catch(() => {})
    .then(() => {
      if (order === waking) backend.mode = WELL;
    });
}

/** A POST gets its own body back, everything else the bytes that its query asks for. */
function answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  backend.seen.length = 0; // It would grow for ever.
  if (suffer(id, request, response)) return;
  if (order.kind === "challenge") return void response.writeHead(403, { "cf-mitigated": "challenge" }).end("robot?");
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
