import { lastHourOf } from "../counters.ts";
import type { CheckTimes } from "../health/due.ts";
import { type CheckResult, type Ejection, ejectionReasonOf, healthOf, NEVER, stateOf } from "../health/health-state.ts";
import type { Invocation } from "../health/monitor.ts";
import { isAvailable, isStandby, worksAllTheSame } from "../health/view.ts";
import type { Snapshot } from "./types.ts";

type Known = Pick<Invocation, "config" | "health" | "counters">;

/** What is known at a moment. */
export function snapshotOf({ config, health, counters }: Known, dataCentre: string, nowMs: number): Snapshot {
  const { backends } = config;
  return {
    nowMs,
    backends: backends.map((backend) => {
      const { id, weight, isBackup } = backend;
      const known = healthOf(health, id);
      const { result, ejection, isShared } = known;
      const state = stateOf(known, nowMs);
      const isOnStandby = isStandby(backend, backends, health, nowMs);
      const isAllTheSame = worksAllTheSame(backend, backends, health, nowMs);
      const ejectedFor = ejectionReasonOf(known);
      const isWellInItsTerm = ejectedFor === "repeated ejections" && !isOnStandby;
      const isUnknown = state === "up" && !result && known.traffic.lastSuccessMs === NEVER;
      return {
        id,
        weight,
        role: isOnStandby ? "standby" : isBackup ? "backup" : "primary",
        state: isUnknown ? "unknown" : state,
        worksAllTheSame: isAllTheSame,
        isServing: isAllTheSame || isAvailable(backend, backends, health, nowMs) || isWellInItsTerm,
        sinceMs: state === "suspect" ? known.checkBeganMs : known.sinceMs,
        ejectedFor,
        nextCheckMs: ejection && !isOnStandby ? nextCheckMs(result, ejection, config, health.jitter) : undefined,
        result,
        isShared,
        lastFailure: known.traffic.lastFailure,
        minutes: lastHourOf(known.traffic.minutes, nowMs),
      };
    }),
    isolate: { dataCentre, ...counters },
  };
}

/** When a check may bring back a backend that is down, if a request passes then: after its term, then by age, as due.ts says. */
function nextCheckMs(
  result: CheckResult | undefined,
  { untilMs }: Ejection,
  { downTimeMs, healthCheckIntervalMs }: CheckTimes,
  jitter: number,
): number {
  if (!result || result.atMs < untilMs) return untilMs;
  return result.atMs + Math.round(Math.min(downTimeMs, healthCheckIntervalMs || downTimeMs) * (1 + jitter / 10));
}
