import { type BackendHealth, type CheckResult, isCheckUnderWay, NEVER } from "./health-state.ts";
import { unansweredOf } from "./traffic.ts";

export interface CheckTimes {
  /** 0: no check by age. */
  readonly healthCheckIntervalMs: number;
  readonly downTimeMs: number;
  readonly probeAfterMs: number;
}

/** The longest time between two checks of a backend whose answer is waited for. */
const LIFE_COUNTS_MAX_MS = 8_000;

/**
 * When an attempt that waits has its backend checked: after `PROBE_AFTER`, and again after each sign of life, when as much time
 * has passed as lay between the attempt and that sign. So an answer that takes 50 s costs nine checks.
 */
export function checkDueMs(sentMs: number, lastLifeMs: number, probeAfterMs: number): number {
  if (lastLifeMs < sentMs) return sentMs + probeAfterMs;
  return lastLifeMs + Math.max(probeAfterMs, Math.min(lastLifeMs - sentMs, LIFE_COUNTS_MAX_MS));
}

/**
 * Whether a check is called for now that a request passes, by what has happened: one was requested, or was lost with its
 * invocation, or an attempt waits without a sign of life, even if its client has left.
 */
export function isCheckWanted(
  known: BackendHealth,
  nowMs: number,
  { probeAfterMs }: CheckTimes,
  isStandby: boolean,
): boolean {
  const isLost = known.checkLeaseUntilMs !== NEVER && !isCheckUnderWay(known, nowMs);
  if (known.isCheckRequested || isLost) return true;
  const [unansweredSinceMs] = unansweredOf(known, nowMs);
  if (isStandby || known.ejection || unansweredSinceMs === undefined) return false;
  return nowMs >= checkDueMs(unansweredSinceMs, known.lastGoodMs, probeAfterMs);
}

/** Whether the last result is too old now that a request passes. `jitter`, from 0 to 1, adds up to a tenth to each age. */
export function isCheckDueByAge(
  known: BackendHealth,
  nowMs: number,
  { healthCheckIntervalMs, downTimeMs }: CheckTimes,
  jitter: number,
): boolean {
  const { result, ejection, checkBeganMs } = known;
  const ageMs = result ? nowMs - result.atMs : Number.POSITIVE_INFINITY;
  const isOlderThan = (ms: number) => ageMs >= ms * (1 + jitter / 10);
  if (healthCheckIntervalMs > 0 && isOlderThan(healthCheckIntervalMs)) return true;
  if (!ejection) return false;
  const hasTermEnded = nowMs >= ejection.untilMs && Math.max(checkBeganMs, result?.atMs ?? NEVER) < ejection.untilMs;
  return hasTermEnded || isOlderThan(downTimeMs);
}

/** Whether a result is worth a write: the data centre has another one, or one that is getting old. */
export function isWorthSharing(
  result: CheckResult,
  shared: CheckResult | undefined,
  healthCheckIntervalMs: number,
): boolean {
  if (!shared || shared.kind !== result.kind || shared.status !== result.status) return true;
  return result.atMs - shared.atMs > healthCheckIntervalMs / 2;
}
