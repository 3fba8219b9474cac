import type { EventCounts, Failure } from "./events.ts";

/**
 * What this isolate has counted since it started. Plain numbers: an increment costs a request nothing that can
 * be measured, so they are kept whether or not anybody looks.
 */
export interface Counters extends EventCounts {
  readonly startedMs: number;
  /** Requests that were sent to at least one backend, or would have been. */
  requests: number;
  /** WebSockets that were opened. */
  webSockets: number;
  /** By backend id; whoever is absent was never asked. */
  readonly backends: Map<string, BackendCounters>;
}

export interface BackendCounters {
  /** Attempts, so a request that was retried counts at each backend that it reached. */
  requests: number;
  failures: number;
  lastFailure: LastFailure | undefined;
  /** The latest minute that was counted, in minutes since the epoch; minute `m` is at `m % MINUTES_KEPT`. */
  minute: number;
  readonly requestsByMinute: Uint32Array;
  readonly failuresByMinute: Uint32Array;
}

export interface LastFailure {
  readonly reason: Failure;
  /** The status that it failed with, where there was an answer. */
  readonly status: number | undefined;
  readonly atMs: number;
}

/** One minute of one backend. */
export interface Minute {
  readonly requests: number;
  readonly failures: number;
}

export const MINUTES_KEPT = 60;

export function newCounters(nowMs: number): Counters {
  return { startedMs: nowMs, requests: 0, failovers: 0, ejections: 0, webSockets: 0, backends: new Map() };
}

/** Counts an attempt at a backend, as it begins. */
export function countAttempt(counters: Counters, id: string, nowMs: number): void {
  const backend = counted(counters, id, nowMs);
  backend.requests++;
  increment(backend.requestsByMinute, slotOf(backend, nowMs));
}

/** Counts a failed attempt, as it ends. */
export function countFailure(
  counters: Counters,
  id: string,
  reason: Failure,
  status: number | undefined,
  nowMs: number,
): void {
  const backend = counted(counters, id, nowMs);
  backend.failures++;
  increment(backend.failuresByMinute, slotOf(backend, nowMs));
  backend.lastFailure = { reason, status, atMs: nowMs };
}

/** The last `MINUTES_KEPT` minutes of a backend, the oldest first and the running one last. */
export function minutesOf(backend: BackendCounters | undefined, nowMs: number): Minute[] {
  const nowMinute = minuteOf(nowMs);
  return Array.from({ length: MINUTES_KEPT }, (_, i) => {
    const minute = nowMinute - (MINUTES_KEPT - 1) + i;
    const isKept = backend !== undefined && minute <= backend.minute && minute > backend.minute - MINUTES_KEPT;
    if (!isKept) return { requests: 0, failures: 0 };
    const slot = minute % MINUTES_KEPT;
    return { requests: backend.requestsByMinute[slot] ?? 0, failures: backend.failuresByMinute[slot] ?? 0 };
  });
}

function counted(counters: Counters, id: string, nowMs: number): BackendCounters {
  let backend = counters.backends.get(id);
  if (!backend) {
    backend = {
      requests: 0,
      failures: 0,
      lastFailure: undefined,
      minute: minuteOf(nowMs),
      requestsByMinute: new Uint32Array(MINUTES_KEPT),
      failuresByMinute: new Uint32Array(MINUTES_KEPT),
    };
    counters.backends.set(id, backend);
  }
  return backend;
}

/** The place of the running minute; what stood there an hour ago, and in the minutes that nobody counted since, is cleared. */
function slotOf(backend: BackendCounters, nowMs: number): number {
  const minute = minuteOf(nowMs);
  if (minute > backend.minute) {
    const oldest = Math.max(backend.minute + 1, minute - MINUTES_KEPT + 1);
    for (let cleared = oldest; cleared <= minute; cleared++) {
      backend.requestsByMinute[cleared % MINUTES_KEPT] = 0;
      backend.failuresByMinute[cleared % MINUTES_KEPT] = 0;
    }
    backend.minute = minute;
  }
  return backend.minute % MINUTES_KEPT;
}

function increment(numbers: Uint32Array, i: number): void {
  numbers[i] = (numbers[i] ?? 0) + 1;
}

function minuteOf(nowMs: number): number {
  return Math.floor(nowMs / 60_000);
}
