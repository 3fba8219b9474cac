import type { LastFailure, Minute } from "../counters.ts";
import type { EjectionReason } from "../events.ts";
import type { CheckResult, State } from "../health/health-state.ts";

/** All that the page shows. It is also the JSON that it can be had as. Moments are in milliseconds since the epoch. */
export interface Snapshot {
  /** When all of it was so. */
  readonly nowMs: number;
  readonly backends: readonly BackendSnapshot[];
  readonly isolate: {
    readonly dataCentre: string;
    readonly startedMs: number;
    readonly requests: number;
    readonly failovers: number;
    readonly ejections: number;
    readonly webSockets: number;
  };
}

export interface BackendSnapshot {
  readonly id: string;
  readonly weight: number;
  /** A backup that gets requests is a `backup`, one that waits is on `standby`. */
  readonly role: "primary" | "backup" | "standby";
  /** `unknown`: neither a check nor a request has had an answer yet. */
  readonly state: State | "unknown";
  /** Whether it is used although no backend passes its check. */
  readonly worksAllTheSame: boolean;
  /** Whether a new user may be sent to it: it is available, works all the same, or is well in its term, for a last resort. */
  readonly isServing: boolean;
  /** Since when it is in this state, as far as this isolate knows; of a suspect, since when its check waits. */
  readonly sinceMs: number;
  /** Why it was ejected, while it is down. */
  readonly ejectedFor: EjectionReason | undefined;
  /** When a check may bring it back, while it is down and not on standby. */
  readonly nextCheckMs: number | undefined;
  /** That of the last check. */
  readonly result: CheckResult | undefined;
  /** Whether another isolate of the data centre made that check. */
  readonly isShared: boolean;
  readonly lastFailure: LastFailure | undefined;
  /** The minutes of the last hour in which it was asked. */
  readonly minutes: readonly Minute[];
}
