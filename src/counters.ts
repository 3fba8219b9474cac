import type { EventCounts, FailureReason } from "./events.ts";

/**
 * What this isolate has counted since it started. Plain numbers: an increment costs a request nothing that can
 * be measured, so they are kept whether or not they are looked at.
 */
export interface Counters extends EventCounts {
  readonly startedMs: number;
  /** Requests that were sent to at least one backend, or would have been. */
  requests: number;
  /** WebSockets that were opened. */
  webSockets: number;
  /** By backend id; a backend that is absent was never asked. */
  readonly backends: Map<string, BackendCounters>;
}

export interface BackendCounters {
  lastFailure: LastFailure | undefined;
  /** The last hour, by minutes since the epoch; a minute in which nothing happened is absent. */
  readonly minutes: Map<number, Minute>;
}

export interface LastFailure {
  readonly reason: FailureReason;
  /** The status that it failed with; `null` where there was no answer. */
  readonly status: number | null;
  readonly atMs: number;
}

/** One minute of one backend. */
export interface Minute {
  /** Attempts, so a request that was retried counts at each backend that it reached. */
  requests: number;
  failures: number;
}

export const MINUTES_KEPT = 60;

export function newCounters(nowMs: number): Counters {
  return { startedMs: nowMs, requests: 0, failovers: 0, ejections: 0, webSockets: 0, backends: new Map() };
}

/** Counts an attempt at a backend, as it begins. */
export function countAttempt(counters: Counters, id: string, nowMs: number): void {
  count(counters, id, "requests", nowMs);
}

/** Counts a failed attempt, as it ends. */
export function countFailure(
  counters: Counters,
  id: string,
  reason: FailureReason,
  status: number | undefined,
  nowMs: number,
): void {
  count(counters, id, "failures", nowMs).lastFailure = { reason, status: status ?? null, atMs: nowMs };
}

/** The last `MINUTES_KEPT` minutes of a backend, the oldest first and the running one last. */
export function minutesOf(backend: BackendCounters | undefined, nowMs: number): Minute[] {
  const oldest = minuteOf(nowMs) - MINUTES_KEPT + 1;
  return Array.from({ length: MINUTES_KEPT }, (_, i) => backend?.minutes.get(oldest + i) ?? newMinute());
}

function count(counters: Counters, id: string, what: keyof Minute, nowMs: number): BackendCounters {
  let backend = counters.backends.get(id);
  if (!backend) {
    backend = { lastFailure: undefined, minutes: new Map() };
    counters.backends.set(id, backend);
  }
  const now = minuteOf(nowMs);
  let minute = backend.minutes.get(now);
  if (!minute) {
    minute = newMinute();
    backend.minutes.set(now, minute);
    for (const old of backend.minutes.keys()) if (old <= now - MINUTES_KEPT) backend.minutes.delete(old);
  }
  minute[what]++;
  return backend;
}

function newMinute(): Minute {
  return { requests: 0, failures: 0 };
}

function minuteOf(nowMs: number): number {
  return Math.floor(nowMs / 60_000);
}
