import type { Backend } from "../config.ts";
import { countAttempt, countFailure } from "../counters.ts";
import type { Failure } from "../events.ts";
import { answered, healthOf, outdone, sent } from "../health/findings.ts";
import { hint, type Invocation, reportChange } from "../health/monitor.ts";
import { clientKey } from "../selection/rendezvous.ts";
import type { Client } from "../selection/session.ts";
import { type Attempt, begin, type Sending } from "./attempt.ts";

/** One user's request and all that it is decided by. */
export interface Exchange extends Sending, Invocation {
  readonly client: Client;
}

/** What became of a request. */
export interface Served {
  readonly response: Response;
  /** The backend that gave the response; none where the answer is the Worker's own. */
  readonly backend: Backend | undefined;
  /** The backend that was asked first, if one was. */
  readonly first: Backend | undefined;
  readonly attempts: number;
}

/** Sends the request to a backend, and tells its health. */
export function beginAttempt(exchange: Exchange, backend: Backend, number: number, nowMs: number): Attempt {
  const { config, counters, health } = exchange;
  countAttempt(counters, backend.id, nowMs);
  sent(healthOf(health, backend.id), nowMs);
  return begin(exchange, backend, number, config.probeAfterMs, nowMs);
}

/** A backend answered below 500; those in `failed` failed at the same request, each at its moment. */
export function tellAnswered(
  exchange: Exchange,
  backend: Backend,
  status: number,
  failed: Iterable<readonly [Backend, number]> = [],
): void {
  const { client, config, counters, health } = exchange;
  const nowMs = Date.now();
  const key = clientKey(client.ip);
  if (status === 101) counters.webSockets++;
  for (const [other, failedMs] of failed) {
    if (other === backend) continue;
    const known = healthOf(health, other.id);
    reportChange(outdone(known, key, failedMs, nowMs, config.downTimeMs), other, known, exchange);
  }
  if (answered(healthOf(health, backend.id), key, nowMs)) hint(backend, exchange);
}

/** An attempt failed, which says nothing of the backend but that it should be checked. */
export function tellFailed(exchange: Exchange, backend: Backend, reason: Failure, status: number | undefined): void {
  countFailure(exchange.counters, backend.id, reason, status, Date.now());
  hint(backend, exchange);
}
