import type { Backend, Behaviour, Handler, Mode } from "../support/backend.ts";
import { until } from "../support/waiting.ts";

/** How a backend is told to behave. */
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
export const HEALTH_BAD: Behaviour = { kind: "status", status: 503 };
const FAR_MS = 400;

/** The mode of a backend whose order is not one itself. */
const MODES: Partial<Record<Order["kind"], Mode>> = {
  hold: WELL,
  far: GONE,
  waking: GONE,
  challenge: WELL,
  alternating: WELL,
  peace: WELL,
};

/** Has a backend behave so, but for what its handler does: `hold`, `challenge`, and the end of what hangs. */
export function carryOut(backend: Backend, order: Order): void {
  const mode = { ...(MODES[order.kind] ?? (order as Mode)) };
  backend.mode = mode;
  backend.delayMs = () => (order.kind === "far" ? FAR_MS : 0);
  backend.nextChecks.length = 0;
  if (order.kind === "alternating") {
    for (let i = 0; i < 500; i++) backend.nextChecks.push(HEALTH_BAD, WELL);
  }
  if (order.kind !== "waking") return;
  const { checks } = backend;
  const awake = until("its first check has come", () => backend.mode !== mode || backend.checks > checks);
  awake
    .catch(() => {})
    .then(() => {
      if (backend.mode === mode) backend.mode = WELL;
    });
}

/** What stands before the app in a `challenge`. */
export const botWall: Handler = (_, response) =>
  void response.writeHead(403, { "cf-mitigated": "challenge" }).end("robot?");
