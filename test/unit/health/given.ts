import {
  type BackendHealth,
  beginCheck,
  type CheckResult,
  eject,
  endCheck,
  healthOf,
  newHealth,
  takeResult,
} from "../../../src/health/health-state.ts";
import { recordAttempt, recordEnd, recordFailure, recordSuccess } from "../../../src/health/traffic.ts";

export const DOWN_TIME_MS = 30_000;

const STATUSES = { good: 200, "bad status": 503, "unexpected answer": 200, "network error": null, "no answer": null };

/** What a check found that ended at `atMs`. */
export function found(kind: CheckResult["kind"], atMs: number, tookMs = 0): CheckResult {
  return { kind, status: STATUSES[kind], tookMs, atMs };
}

/** Takes a check's result in as soon as the check has ended. */
export function take(known: BackendHealth, kind: CheckResult["kind"], atMs: number, isShared = false) {
  return takeResult(known, found(kind, atMs), atMs, DOWN_TIME_MS, isShared);
}

/** What may happen to a backend, by the words of a history. */
const STEPS: Readonly<Record<string, (known: BackendHealth, atMs: number) => void>> = {
  good: (known, atMs) => take(known, "good", atMs),
  bad: (known, atMs) => take(known, "bad status", atMs),
  page: (known, atMs) => take(known, "unexpected answer", atMs),
  broken: (known, atMs) => take(known, "network error", atMs),
  silent: (known, atMs) => take(known, "no answer", atMs),
  check: (known, atMs) => beginCheck(known, atMs, 4_000),
  over: endCheck,
  outlier: (known, atMs) => eject(known, true, atMs, atMs, DOWN_TIME_MS),
  sent: recordAttempt,
  ended: recordEnd,
  failed: (known, atMs) => recordFailure(known, { reason: "unavailable", status: 503, atMs }),
  served: (known, atMs) => recordSuccess(known, "x", atMs),
  /** It was sent at 0. */
  late: (known, atMs) => recordSuccess(known, "x", atMs, true, 0),
  requested: (known) => {
    known.isCheckRequested = true;
  },
};

/** A backend with a history, such as `sent@0 good@500`: what happened, and when, in ms. Without one it is unknown. */
export function backendAfter(history = "", known = healthOf(newHealth(0, 0), "a")): BackendHealth {
  for (const step of history.split(" ").filter(Boolean)) {
    const [word = "", ms] = step.split("@");
    STEPS[word]?.(known, Number(ms));
  }
  return known;
}
