import { count, type LastFailure } from "../counters.ts";
import { type BackendHealth, type Change, eject, NEVER } from "./health-state.ts";

/** So many consecutive failures, of as many clients, eject a backend although its check is good (Envoy's default too). */
export const CONSECUTIVE_FAILURES = 5;

/** They have to last for so long: a burst of five addresses takes no backend from the others. */
const CONSECUTIVE_FAILURES_MIN_MS = 10_000;

/** For how long a success of one client shows that a backend does not fail all of them. */
export const SUCCESS_COUNTS_MS = 60_000;

/** After this time without a success, while attempts wait, a backend hangs. */
const HANGING_AFTER_MS = 10_000;

/** So many attempts that wait are told apart; more change no verdict. */
const UNANSWERED_MAX = 64;

/** An attempt that was left by its client has no end here; that it has not ended tells something for so long. */
const UNANSWERED_COUNTS_MS = 120_000;

/** One slow answer is no hanging backend. */
const HANGING_ATTEMPTS = 2;

/** Further clients count, but are not told apart: a backend that fails thousands holds no memory for them. */
const FAILED_CLIENTS_MAX = 64;

/** More players do not start a film within a second. */
const VOUCHED_CLIENTS_MAX = 64;

/** An attempt at the backend begins. */
export function recordAttempt({ traffic }: BackendHealth, nowMs: number): void {
  count(traffic.minutes, "requests", nowMs);
  const { unansweredMs } = traffic;
  while (nowMs - (unansweredMs[0] ?? nowMs) >= UNANSWERED_COUNTS_MS) unansweredMs.shift();
  if (unansweredMs.length < UNANSWERED_MAX) unansweredMs.push(nowMs);
}

/** An attempt that was sent at `sentMs` was answered, or broke. One that its client left, or that was given up, never ends. */
export function recordEnd({ traffic }: BackendHealth, sentMs: number): void {
  // One that was sent before the last success is not among those that are counted.
  const index = traffic.unansweredMs.indexOf(sentMs);
  if (index >= 0) traffic.unansweredMs.splice(index, 1);
}

/** An attempt failed. */
export function recordFailure({ traffic }: BackendHealth, { reason, status, atMs }: LastFailure): void {
  count(traffic.minutes, "failures", atMs);
  traffic.lastFailure = { reason, status, atMs };
}

/**
 * A request of the client succeeded that was sent at `sentMs`. `isProof`: no platform could have answered so in place of the
 * application. It ends the term of an outlier ejection, not that of a check. Returns whether that calls for a check, since the
 * backend is down.
 */
export function recordSuccess(
  known: BackendHealth,
  client: string,
  nowMs: number,
  isProof = true,
  sentMs = nowMs,
): boolean {
  const { traffic, ejection } = known;
  const { servedMs } = traffic;
  traffic.lastSuccessMs = nowMs;
  // An application that is being stopped ends what it has begun.
  if (isProof && sentMs >= traffic.lastServed.sentMs) traffic.lastServed = { sentMs, atMs: nowMs };
  traffic.unansweredMs.length = 0;
  traffic.failures.clear();
  remember(servedMs, client, nowMs, CONSECUTIVE_FAILURES);
  if (ejection?.isOutlier && ejection.untilMs > nowMs) {
    known.ejection = { ...ejection, untilMs: nowMs };
  }
  return ejection !== undefined;
}

/**
 * Counts an attempt that failed at `failedMs` at a request that another backend served: outlier detection by consecutive
 * failures. Too many in a row eject the backend although its check is good: a wrong `SECRET_KEY` fails all behind a good
 * health route. They have to be of as many clients, unless the backend has served no other client lately, and they have to
 * last: a few clients take it from no others.
 */
export function recordConsecutiveFailure(
  known: BackendHealth,
  client: string,
  failedMs: number,
  nowMs: number,
  downTimeMs: number,
): Change | undefined {
  const { traffic } = known;
  // The other backend may have taken its time: a success of this one came in between.
  if (failedMs <= traffic.lastSuccessMs || known.ejection) return undefined;
  const { failures, servedMs } = traffic;
  if (failures.size === 0) traffic.firstFailureMs = failedMs;
  if (failures.has(client) || failures.size < FAILED_CLIENTS_MAX) {
    failures.set(client, (failures.get(client) ?? 0) + 1);
  }
  const failureCount = [...failures.values()].reduce((sum, ofClient) => sum + ofClient, 0);
  if (failureCount < CONSECUTIVE_FAILURES || failedMs - traffic.firstFailureMs < CONSECUTIVE_FAILURES_MIN_MS)
    return undefined;
  // A single failure may have been a stale connection: that client is served like any other.
  const servesOthers = [...servedMs].some(
    ([other, ms]) => (failures.get(other) ?? 0) < 2 && nowMs - ms < SUCCESS_COUNTS_MS,
  );
  if (servesOthers && failures.size < CONSECUTIVE_FAILURES) return undefined;
  failures.clear();
  return eject(known, true, nowMs, nowMs, downTimeMs);
}

/** When the attempts were sent that have had no answer since the last success, as far as they still tell something. */
export function unansweredOf({ traffic }: BackendHealth, nowMs: number): number[] {
  return traffic.unansweredMs.filter((sentMs) => nowMs - sentMs < UNANSWERED_COUNTS_MS);
}

/** Whether the backend has had no success for long, while attempts at it wait or were left by their clients. */
export function isHanging(known: BackendHealth, nowMs: number): boolean {
  if (known.traffic.unansweredMs.length < HANGING_ATTEMPTS) return false;
  const sentMs = unansweredOf(known, nowMs);
  const [sinceMs = nowMs] = sentMs;
  return sentMs.length >= HANGING_ATTEMPTS && nowMs - sinceMs >= HANGING_AFTER_MS;
}

/**
 * Whether users are served by the backend, within a minute, and since its check began to say otherwise: one that served them
 * until it froze is not, and neither is one whose platform gives them its page.
 */
export function hasServedLately({ traffic, ejection, checkBeganMs }: BackendHealth, nowMs: number): boolean {
  const { lastFailure, lastServed } = traffic;
  const { sentMs, atMs } = lastServed;
  if (nowMs - atMs > SUCCESS_COUNTS_MS || sentMs < (ejection?.evidenceMs ?? checkBeganMs)) return false;
  return sentMs > (lastFailure?.atMs ?? NEVER);
}

/** An ask has vouched for what the client was answered. */
export function recordVouch({ vouchedMs }: BackendHealth, client: string, nowMs: number): void {
  remember(vouchedMs, client, nowMs, VOUCHED_CLIENTS_MAX);
}

function remember(times: Map<string, number>, client: string, nowMs: number, max: number): void {
  times.delete(client);
  times.set(client, nowMs);
  if (times.size > max) times.delete(times.keys().next().value as string);
}
