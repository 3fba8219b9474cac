import type { Backend } from "../config.ts";
import { minutesOf } from "../counters.ts";
import {
  type BackendHealth,
  type CheckTimes,
  downReason,
  healthOf,
  isCheckUnderWay,
  NEVER,
  stateOf,
} from "../health/findings.ts";
import { type Invocation, isAsleep } from "../health/monitor.ts";
import type { BackendSnapshot, Snapshot } from "./facts.ts";

type Known = Pick<Invocation, "config" | "health" | "counters">;

/** What is known at a moment. */
export function snapshotOf(known: Known, dataCentre: string, nowMs: number): Snapshot {
  const { config, counters } = known;
  const backends = config.backends.map((backend) => backendSnapshotOf(backend, known, nowMs));
  const { startedMs, backends: _, ...counts } = counters;
  return {
    answering: backends.filter(({ state, backup }) => state === "up" && backup !== "asleep").length,
    backends,
    isolate: {
      dataCentre,
      ageSeconds: seconds(nowMs - startedMs),
      sharesFindings: config.shareHealth,
      ...counts,
    },
  };
}

function backendSnapshotOf(backend: Backend, known: Known, nowMs: number): BackendSnapshot {
  const { id, weight, isBackup } = backend;
  const { config, counters } = known;
  const health = healthOf(known.health, id);
  const { finding } = health;
  const isSleeping = isAsleep(backend, known);
  const state = stateOf(health, nowMs);
  const isUnheard = state === "up" && !finding && health.lastLifeMs === NEVER;
  const counted = counters.backends.get(id);
  const lastFailure = counted?.lastFailure;
  return {
    id,
    state: isUnheard ? "unknown" : state,
    backup: isBackup ? (isSleeping ? "asleep" : "in service") : null,
    weight,
    sinceSeconds: seconds(nowMs - health.sinceMs),
    ejectedFor: downReason(health) ?? null,
    nextCheckSeconds: state === "down" && !isSleeping ? seconds(nextCheckMs(health, config) - nowMs) : null,
    finding: finding
      ? {
          result: finding.result,
          status: finding.status,
          milliseconds: finding.tookMs,
          ageSeconds: seconds(nowMs - finding.atMs),
          isShared: health.isShared,
        }
      : null,
    isBeingChecked: isCheckUnderWay(health, nowMs),
    lastFailure: lastFailure
      ? {
          reason: lastFailure.reason,
          status: lastFailure.status ?? null,
          ageSeconds: seconds(nowMs - lastFailure.atMs),
        }
      : null,
    requests: counted?.requests ?? 0,
    failures: counted?.failures ?? 0,
    minutes: minutesOf(counted, nowMs),
  };
}

/** When a check may bring a backend back that is down, if a request passes then. */
function nextCheckMs({ finding, failingUntilMs }: BackendHealth, times: CheckTimes): number {
  if (failingUntilMs !== undefined || !finding) return failingUntilMs ?? NEVER;
  return finding.atMs + Math.min(times.downTimeMs, times.healthCheckIntervalMs || times.downTimeMs);
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1_000));
}
