import type { Backend } from "../config.ts";
import { type Minute, minutesOf } from "../counters.ts";
import type { EjectionReason, Failure } from "../events.ts";
import {
  type BackendHealth,
  type CheckResult,
  type CheckTimes,
  downReason,
  healthOf,
  isCheckUnderWay,
  NEVER,
  type State,
  stateOf,
} from "../health/findings.ts";
import { type Invocation, isAsleep } from "../health/monitor.ts";

/** All that the page shows. It is also the JSON that it can be had as: ages and durations are in seconds. */
export interface Snapshot {
  /** How many backends are up, but for backups that are asleep. */
  readonly answering: number;
  readonly backends: readonly BackendSnapshot[];
  readonly isolate: {
    readonly dataCentre: string;
    readonly ageSeconds: number;
    /** Whether it shares its findings with the other isolates of the data centre. */
    readonly sharesFindings: boolean;
    readonly requests: number;
    readonly failovers: number;
    readonly ejections: number;
    readonly webSockets: number;
  };
}

export interface BackendSnapshot {
  readonly id: string;
  /** `unknown`: neither a check nor a request has had an answer yet. */
  readonly state: State | "unknown";
  /** Whether a backup gets requests; `null` for a backend that is none. */
  readonly backup: "asleep" | "in service" | null;
  readonly weight: number;
  /** How long it has been up, or down, as far as this isolate knows. */
  readonly sinceSeconds: number;
  /** Why it was ejected; `null` while it is not down. */
  readonly ejectedFor: EjectionReason | null;
  /** How long until a request has it checked again; `null` while it is not down, and for a backup that is asleep. */
  readonly nextCheckSeconds: number | null;
  /** What the last check found; `status` is `null` when there was no answer. `null` while there was no check. */
  readonly finding: {
    readonly result: CheckResult;
    readonly status: number | null;
    readonly milliseconds: number;
    readonly ageSeconds: number;
    /** Whether another isolate of the data centre found it. */
    readonly isShared: boolean;
  } | null;
  readonly isBeingChecked: boolean;
  readonly lastFailure: {
    readonly reason: Failure;
    readonly status: number | null;
    readonly ageSeconds: number;
  } | null;
  readonly requests: number;
  readonly failures: number;
  /** The last hour, the oldest minute first. */
  readonly minutes: readonly Minute[];
}

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
