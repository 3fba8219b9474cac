/** Why an attempt failed. */
export type FailureReason =
  /** `fetch` threw: refused, reset, no such host. Cloudflare reports most of these as a status instead. */
  | "network error"
  /** Cloudflare's "could not reach the origin": 521, 522, 523, 525, 526, 530. */
  | "unreachable"
  /** 502, 503, 504, 520, 524 and other 52x. */
  | "unavailable"
  /** 500, 501, 505, other 5xx, and whatever is above. */
  | "application error"
  /** A 101 to a request that did not ask for a WebSocket. */
  | "unexpected upgrade"
  /** Cloudflare's bot wall in front of the backend. */
  | "challenge"
  /** A page of HTML for a path that ends in `.json`. */
  | "unexpected page"
  /** An answer that a platform whose application is gone might have given, and a health check that was bad. */
  | "not vouched for"
  /** No headers, and no sign of life in time. */
  | "silent"
  /** No headers for `BACKEND_TIMEOUT`. */
  | "timeout";

/** Why a backend was ejected. */
export type EjectionReason =
  | "check: bad status"
  | "check: unexpected answer"
  | "check: network error"
  | "check: no answer"
  /** Another isolate has ejected it several times, and its term has not ended although its last check is good. */
  | "repeated ejections"
  /** Outlier ejection: requests kept failing that another backend could serve, although its check is good. */
  | "consecutive failures";

interface AttemptEvent {
  readonly backend: string;
  readonly reason: FailureReason;
  readonly status?: number | undefined;
  /** 1 for a request's first attempt. */
  readonly attempt: number;
  readonly ray: string | null;
}

interface HealthEvent {
  readonly backend: string;
  readonly status?: number | undefined;
  /** Whether another isolate of the data centre made the check. */
  readonly shared?: true | undefined;
  readonly ray: string | null;
}

/**
 * What is worth a line of the log: a change of health, a failure that a client could notice, and a configuration that cannot
 * work. A path holds the user's secret, so there is no field that could carry a URL, a header or a body.
 */
export type LogEvent =
  | ({ readonly event: "ejected"; readonly reason: EjectionReason } & HealthEvent)
  | ({ readonly event: "recovered"; readonly reason: "check: good" } & HealthEvent)
  /** The request goes on to another backend. */
  | ({ readonly event: "failover" } & AttemptEvent)
  /** No attempt succeeded; backend and reason are those of the last one that failed. */
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

/** Tells all who listen: the log, one line of JSON, and the counters. */
export function emit(event: LogEvent, counts?: EventCounts): void {
  const line = JSON.stringify(event);
  // An operator need not act on these: it heals by itself, or the user did not notice.
  if (event.event === "recovered" || event.event === "failover") console.log(line);
  else console.error(line);
  if (!counts) return;
  if (event.event === "ejected") counts.ejections++;
  if (event.event === "failover") counts.failovers++;
}
