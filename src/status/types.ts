import type { Minute } from "../counters.ts";
import type { EjectionReason, FailureReason } from "../events.ts";
import type { CheckResult, State } from "../health/health-state.ts";

/** All that the page shows. It is also the JSON that it can be had as. */
export interface Snapshot {
  /** How many backends may serve a new user: those that are available, and those that work all the same. */
  readonly answering: number;
  readonly backends: readonly BackendSnapshot[];
  readonly isolate: {
    readonly dataCentre: string;
    readonly ageSeconds: number;
    /** Whether it shares its results with the other isolates of the data centre. */
    readonly sharesResults: boolean;
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
  /** Whether it is used although no backend passes its check. */
  readonly worksAllTheSame: boolean;
  /** Whether a backup gets requests; `null` for a primary. */
  readonly backup: "standby" | "in service" | null;
  readonly weight: number;
  /** How long it has been up, or down, as far as this isolate knows. */
  readonly sinceSeconds: number;
  /** Why it was ejected; `null` while it is not down. */
  readonly ejectedFor: EjectionReason | null;
  /** How long until a check may bring it back; `null` while it is not down, and for a backup on standby. */
  readonly nextCheckSeconds: number | null;
  /** The result of the last check; `status` is `null` when there was no answer. `null` while there was no check. */
  readonly result: {
    readonly kind: CheckResult["kind"];
    readonly status: number | null;
    readonly tookMs: number;
    readonly ageSeconds: number;
    /** Whether another isolate of the data centre made the check. */
    readonly isShared: boolean;
  } | null;
  readonly isBeingChecked: boolean;
  readonly lastFailure: {
    readonly reason: FailureReason;
    readonly status: number | null;
    readonly ageSeconds: number;
  } | null;
  /** The last hour, the oldest minute first. */
  readonly minutes: readonly Minute[];
}
