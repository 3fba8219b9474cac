import type { Minute } from "../counters.ts";
import type { EjectionReason, Failure } from "../events.ts";
import type { CheckResult, State } from "../health/findings.ts";

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
