import type { EventCounts, FailureReason } from "./events.ts";

/**
 * What this isolate has counted since it started; what it counts of each backend stands in its health. Plain numbers: an
 * increment costs a request nothing that can be measured, so they are kept whether or not they are looked at.
 */
export interface Counters extends EventCounts {
  readonly startedMs: number;
  /** Requests that were sent to at least one backend, or would have been. */
  requests: number;
  /** WebSockets that were opened. */
  webSockets: number;
}

/** How an attempt failed last. */
export interface LastFailure {
  readonly reason: FailureReason;
  /** The status that it failed with, if there was an answer. */
  readonly status?: number | undefined;
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
  return { startedMs: nowMs, requests: 0, failovers: 0, ejections: 0, webSockets: 0 };
}

/** Counts one more in the running minute. Of `minutes` the last are kept in which something happened, `MINUTES_KEPT` at most. */
export function count(minutes: Minute[], what: "requests" | "failures", nowMs: number): void {
  const startMs = nowMs - (nowMs % MINUTE_MS);
  let minute = minutes.findLast((one) => one.startMs === startMs);
  if (!minute) {
    minute = { startMs, requests: 0, failures: 0 };
    if (minutes.push(minute) > MINUTES_KEPT) minutes.shift();
  }
  minute[what]++;
}

/** What was counted in the last `MINUTES_KEPT` minutes, the running one included. */
export function lastHourOf(minutes: readonly Minute[], nowMs: number): Minute[] {
  return minutes.filter(({ startMs }) => nowMs - startMs < MINUTES_KEPT * MINUTE_MS);
}
