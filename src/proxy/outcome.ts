import type { Config } from "../config.ts";
import type { Failure } from "../events.ts";

/**
 * Cloudflare's "could not reach the origin", where the backend cannot have seen the request: 521 refused, 523 no route, 525
 * and 526 TLS, 530 no such host
 * (https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/).
 */
const NEVER_SEEN = [521, 523, 525, 526, 530];

/** Likewise, but there was no connection in time: the backend may have seen the request. */
const MAYBE_SEEN = 522;

/** What a response's status has failed by; `undefined` for an answer. This is what failed means, for the retries, the session and the metrics alike. */
export function failureOf(status: number): Failure | undefined {
  if (status < 500 || status > 599) return undefined;
  if (status === MAYBE_SEEN || NEVER_SEEN.includes(status)) return "unreachable";
  if ((status >= 502 && status <= 504) || (status >= 520 && status <= 529)) return "unavailable";
  return "application error";
}

/** Whether an answer may be relayed as a backend's own, below 500 or not: Cloudflare's error pages name the backend's host. */
export function isRelayable(status: number): boolean {
  return (status < 520 || status > 527) && status !== 530;
}

/** Whether a method may be repeated without harm (RFC 9110, section 9.2.2): only POST and PATCH may not. */
export function isIdempotent(method: string): boolean {
  return method !== "POST" && method !== "PATCH";
}

/**
 * Whether a request may be sent again after a failure; `status` is that of the answer, if there was one.
 * A body that was streamed is gone. A method that is not idempotent may have had its effect.
 */
export function mayRetry(
  method: string,
  isStreamed: boolean,
  status: number | undefined,
  config: Pick<Config, "retryNonIdempotent">,
): boolean {
  if (isStreamed) return false;
  if (config.retryNonIdempotent || isIdempotent(method)) return true;
  return status !== undefined && NEVER_SEEN.includes(status);
}
