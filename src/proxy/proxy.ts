import { tend } from "../health/monitor.ts";
import { ownAnswer } from "../own-answer.ts";
import { nextCandidate } from "../selection/candidates.ts";
import { resultWithin } from "./attempt.ts";
import { BodyHolder, type HeldBodies, readBody } from "./body.ts";
import { beginAttempt, type Exchange, type Served, tellAnswered } from "./exchange.ts";
import { Failover } from "./failover.ts";
import { failureOf } from "./outcome.ts";

const NOBODY = new Map();
const FIRST = { hasAnswer: false, isIdempotent: true };

/** Sends a request to one backend after the other until one answers below 500 or the attempts run out. Never rejects. */
export function proxy(exchange: Exchange, heldBodies: HeldBodies): Promise<Served> {
  exchange.counters.requests++;
  return exchange.request.body === null ? serve(exchange) : serveWithBody(exchange, heldBodies);
}

async function serveWithBody(exchange: Exchange, heldBodies: HeldBodies): Promise<Served> {
  const holder = new BodyHolder(heldBodies);
  try {
    const body = await readBody(exchange.request, holder).catch(() => undefined);
    if (body !== undefined) return await serve({ ...exchange, body });
    const response = ownAnswer(400, "The request's body did not arrive whole. Send it again.");
    return { response, backend: undefined, first: undefined, attempts: 0 };
  } finally {
    holder.release();
  }
}

/** The short way: a first attempt that is answered below 500 within `PROBE_AFTER`. All else is made when it is needed. */
async function serve(exchange: Exchange): Promise<Served> {
  const { client, config, health, request } = exchange;
  const nowMs = Date.now();
  const backend = nextCandidate(config, health, client, NOBODY, FIRST, nowMs);
  const attempt = backend && beginAttempt(exchange, backend, 1, nowMs);
  tend(exchange, nowMs);
  if (!attempt) return new Failover(exchange).run();

  const waitMs = Math.min(config.probeAfterMs, config.backendTimeoutMs);
  const result = await resultWithin(waitMs, attempt, request);
  if (result instanceof Response && !failureOf(result.status)) {
    tellAnswered(exchange, attempt.backend, result.status);
    return { response: result, backend: attempt.backend, first: attempt.backend, attempts: 1 };
  }
  const failover = new Failover(exchange);
  failover.takeOver(attempt, result);
  return failover.run();
}
