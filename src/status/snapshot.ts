import { minutesOf } from "../counters.ts";
import type { CheckTimes } from "../health/due.ts";
import { type CheckResult, type Ejection, healthOf, isCheckUnderWay, NEVER, stateOf } from "../health/health-state.ts";
import type { Invocation } from "../health/monitor.ts";
import { isAvailable, isStandby, worksAllTheSame } from "../health/view.ts";
import type { Snapshot } from "./types.ts";

type Known = Pick<Invocation, "config" | "health" | "counters">;

/** What is known at a moment. */
export function snapshotOf({ config, health, counters }: Known, dataCentre: string, nowMs: number): Snapshot {
  const { backends } = config;
  const { startedMs, backends: counted, ...counts } = counters;
  const answering = backends.filter(
    (one) => isAvailable(one, backends, health, nowMs) || worksAllTheSame(one, backends, health, nowMs),
  );
  return {
    answering: answering.length,
    backends: backends.map((backend) => {
      const { id, weight, isBackup } = backend;
      const known = healthOf(health, id);
      const { result, ejection } = known;
      const state = stateOf(known, nowMs);
      const isOnStandby = isStandby(backend, backends, health, nowMs);
      const isUnknown = state === "up" && !result && known.traffic.lastSuccessMs === NEVER;
      const lastFailure = counted.get(id)?.lastFailure;
      return {
        id,
        state: isUnknown ? "unknown" : state,
        worksAllTheSame: worksAllTheSame(backend, backends, health, nowMs),
        backup: isBackup ? (isOnStandby ? "standby" : "in service") : null,
        weight,
        sinceSeconds: seconds(nowMs - known.sinceMs),
        ejectedFor: ejection?.reason ?? null,
        nextCheckSeconds:
          ejection && !isOnStandby ? seconds(nextCheckMs(result, ejection, config, health.jitter) - nowMs) : null,
        result: result ? { ...withAge(result, nowMs), isShared: known.isShared } : null,
        isBeingChecked: known.isCheckRequested || isCheckUnderWay(known, nowMs),
        lastFailure: lastFailure ? withAge(lastFailure, nowMs) : null,
        minutes: minutesOf(counted.get(id), nowMs),
      };
    }),
    isolate: { dataCentre, ageSeconds: seconds(nowMs - startedMs), sharesResults: config.shareHealth, ...counts },
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
  return result.atMs + Math.min(downTimeMs, healthCheckIntervalMs || downTimeMs) * (1 + jitter / 10);
}

/** What happened at a moment, told by how long ago that is. */
function withAge<T extends { readonly atMs: number }>({ atMs, ...rest }: T, nowMs: number) {
  return { ...rest, ageSeconds: seconds(nowMs - atMs) };
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1_000));
}
