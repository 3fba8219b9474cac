/** Why an attempt failed. */
export type Failure =
  /** `fetch` threw: refused, reset, no such host. Cloudflare reports most of these as a status instead. */
  | "network error"
  /** Cloudflare's "could not reach the origin": 521, 522, 523, 525, 526, 530. */
  | "unreachable"
  /** 502, 503, 504, 520, 524 and other 52x. */
  | "unavailable"
  /** 500, 501, 505 and other 5xx. */
  | "application error"
  /** A 101 that nobody asked for. */
  | "unexpected upgrade"
  /** No headers for `PROBE_AFTER`, and no sign of life. */
  | "silent"
  /** No headers for `BACKEND_TIMEOUT`. */
  | "timeout";

/** Why a backend was ejected: what its check found, or that its failures did not stop although the check is good. */
export type EjectionReason = "check: network error" | "check: bad status" | "check: no answer" | "failures in a row";

interface AttemptEvent {
  readonly backend: string;
  readonly reason: Failure;
  readonly status?: number;
  /** 1 for a request's first attempt. */
  readonly attempt: number;
  readonly ray: string | null;
}

interface HealthEvent {
  readonly backend: string;
  readonly status?: number;
  /** Whether another isolate of the data centre found it out. */
  readonly shared?: true;
  readonly ray: string | null;
}

/**
 * What is worth a line of the log: a change of health, a failure that a client could notice, and a configuration that cannot
 * work. A path holds the user's secret, so there is no field that could carry a URL, a header or a body.
 */
export type LogEvent =
  | ({ readonly event: "ejected"; readonly reason: EjectionReason } & HealthEvent)
  | ({ readonly event: "back"; readonly reason: "check: good" } & HealthEvent)
  /** The request goes on to another backend. */
  | ({ readonly event: "failover" } & AttemptEvent)
  /** Every attempt failed; backend and reason are those of the last one. */
  | ({ readonly event: "exhausted" } & AttemptEvent)
  | {
      readonly event: "bad_configuration";
      readonly issues: readonly { variable: string; allowed: string; found: string | undefined }[];
    };

/** What is counted of events. */
export interface EventCounts {
  /** Retries and hedges on another backend. */
  failovers: number;
  ejections: number;
}

/** What an operator need not act on: it heals by itself, or the user did not notice. */
const HARMLESS: readonly LogEvent["event"][] = ["back", "failover"];

/** Tells everybody who listens: the log, one line of JSON, and the counters. */
export function report(event: LogEvent, counts?: EventCounts): void {
  const line = JSON.stringify(event);
  if (HARMLESS.includes(event.event)) console.log(line);
  else console.error(line);
  if (!counts) return;
  if (event.event === "ejected") counts.ejections++;
  if (event.event === "failover") counts.failovers++;
}
