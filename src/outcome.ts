import type { Config } from "./config.ts";

/** What ended an attempt without an answer. */
export type Failure =
  /** `fetch` threw: refused, reset, no such host. Cloudflare reports most of these as a status instead. */
  | "network error"
  /** No headers for `PROBE_AFTER`, and the health route did not answer either. */
  | "silent"
  /** No headers for `BACKEND_TIMEOUT`. */
  | "timeout";

export type Outcome = Failure | "answered" | "unreachable" | "unavailable" | "application error";

/** What an outcome says of the backend. */
export interface Judgement {
  /**
   * `at once`; or `if another does better`: when another backend answered this request below 500, or when attempts
   * ran out before every backend was asked. What every backend fails at is the request's own fault.
   */
  readonly ejects: "never" | "at once" | "if another does better";
  /** Whether a good answer of the health route brings an ejected backend straight back. */
  readonly acquittable: boolean;
  /** Whether the same request may ask this backend again. */
  readonly askAgain: boolean;
}

export const JUDGEMENTS: Readonly<Record<Outcome, Judgement>> = {
  answered: { ejects: "never", acquittable: false, askAgain: false },
  "network error": { ejects: "at once", acquittable: false, askAgain: true },
  unreachable: { ejects: "at once", acquittable: false, askAgain: false },
  silent: { ejects: "at once", acquittable: false, askAgain: false },
  // One slow route is no dead backend: without the acquittal a single request could evict one backend after the other.
  timeout: { ejects: "at once", acquittable: true, askAgain: false },
  unavailable: { ejects: "if another does better", acquittable: false, askAgain: false },
  "application error": { ejects: "if another does better", acquittable: true, askAgain: false },
};

/**
 * Cloudflare's own statuses for "could not reach the origin": 521 refused, 522 no connection in time, 523 no route,
 * 525 and 526 TLS, 530 no such host (https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/).
 */
const UNREACHABLE = new Set([521, 522, 523, 525, 526, 530]);

/** Of these, the ones where the backend cannot have seen the request. After a 522 it may have. */
const NEVER_SEEN = new Set([521, 523, 525, 526, 530]);

/** What a response's status means. */
export function outcomeOf(status: number): Outcome {
  if (status < 500 || status > 599) return "answered";
  if (UNREACHABLE.has(status)) return "unreachable";
  if ((status >= 502 && status <= 504) || (status >= 520 && status <= 529)) return "unavailable";
  return "application error";
}

/** Whether a status comes with one of Cloudflare's own error pages, which name the backend's host. */
export function isCloudflareErrorPage(status: number): boolean {
  return (status >= 520 && status <= 527) || status === 530;
}

/**
 * Whether a request may be sent again after a failure; `status` is that of the answer, if there was one.
 * A body that was streamed is gone. A method that is not idempotent (RFC 9110, section 9.2.2) may have had its effect.
 */
export function mayRetry(
  method: string,
  streamedBody: boolean,
  status: number | undefined,
  config: Pick<Config, "retryNonIdempotent">,
): boolean {
  if (streamedBody) return false;
  if (config.retryNonIdempotent || (method !== "POST" && method !== "PATCH")) return true;
  return status !== undefined && NEVER_SEEN.has(status);
}
