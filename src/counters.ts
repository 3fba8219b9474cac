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
  lastFailure?: LastFailure;
  /** The last that were counted, `MINUTES_KEPT` at most; one in which nothing happened is absent. */
  readonly minutes: Minute[];
}

export interface LastFailure {
  readonly reason: FailureReason;
  /** The status that it failed with, if there was an answer. */
  readonly status: number | undefined;
  readonly atMs: number;
}

/** One minute of one backend. */
export interface Minute {
  readonly startMs: number;
  /** Attempts, so a request that was retried counts at each backend that it reached. */
  requests: number;
  failures: number;
}

export const MINUTE_MS = 60_000;
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
  count(counters, id, "failures", nowMs).lastFailure = { reason, status, atMs: nowMs };
}

/** What was counted of a backend in the last `MINUTES_KEPT` minutes, the running one included. */
export function lastHourOf(backend: BackendCounters | undefined, nowMs: number): Minute[] {
  return backend?.minutes.filter(({ startMs }) => nowMs - startMs < MINUTES_KEPT * MINUTE_MS) ?? [];
}

function count(counters: Counters, id: string, what: "requests" | "failures", nowMs: number): BackendCounters {
  let backend = counters.backends.get(id);
  if (!backend) {
    backend = { minutes: [] };
    counters.backends.set(id, backend);
  }
  const { minutes } = backend;
  const startMs = nowMs - (nowMs % MINUTE_MS);
  let minute = minutes.findLast((one) => one.startMs === startMs);
  if (!minute) {
    minute = { startMs, requests: 0, failures: 0 };
    if (minutes.push(minute) > MINUTES_KEPT) minutes.shift();
  }
  minute[what]++;
  return backend;
}
