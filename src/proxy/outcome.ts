import type { Backend, Config } from "../config.ts";
import type { FailureReason } from "../events.ts";
import { UNREACHABLE } from "../health/check.ts";
import { isWebSocketRequest } from "./websocket.ts";

/** What came of an attempt. */
export type Outcome =
  /** It is relayed. */
  | { readonly kind: "success" }
  /** A platform whose application is gone might have given it: the backend has to be vouched for. */
  | { readonly kind: "doubtful"; readonly atMs: number; readonly status: number }
  | Failure;

export interface Failure {
  readonly kind: "failed";
  readonly atMs: number;
  readonly reason: FailureReason;
  readonly status?: number | undefined;
  /** Whether it is a fallback: it could be relayed if no other backend does better. */
  readonly isRelayable: boolean;
}

/** What a request allows to be done with it, whatever happens. */
export interface Allowed {
  /** Whether it may be sent again after a failure; `if unseen`: only where the backend cannot have seen it. */
  readonly repeat: "always" | "if unseen" | "never";
  /** Whether the same backend may be asked once more. */
  readonly onceMore: boolean;
  /** Whether another backend may be asked beside one that is only suspected. */
  readonly hedgeOnSuspicion: boolean;
}

/** What an answer is judged by, beside itself. */
export interface Asked {
  readonly request: Request;
  /** Path and query, verbatim. */
  readonly path: string;
  readonly config: Pick<Config, "primaryDomain">;
}

const SUCCESS: Outcome = { kind: "success" };

/** The status of `UNREACHABLE` with which the backend may have seen the request: there was no connection in time. */
const MAYBE_SEEN = 522;

/** Failures that the application itself answers with, if its backend is up: another one might well say the same. */
const HONEST = [500, 501, 505];

/** The statuses of a redirect whose `Location` a client follows (RFC 9110, section 15.4). */
const REDIRECTS = [301, 302, 303, 307, 308];

/** What a response means. `atMs`: when its headers came; `isReplaced`: whether the health route answers, but not as expected. */
export function outcomeOf(
  response: Response,
  backend: Backend,
  asked: Asked,
  atMs: number,
  isReplaced: boolean,
): Outcome {
  const { status, headers } = response;
  const failed = (reason: FailureReason, isRelayable: boolean): Failure => {
    return { kind: "failed", atMs, reason, status, isRelayable };
  };
  if (status === 101) {
    const isWanted = response.webSocket && isWebSocketRequest(asked.request);
    return isWanted ? SUCCESS : failed("unexpected upgrade", false);
  }
  // https://developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response/
  if (headers.get("cf-mitigated") === "challenge") return failed("challenge", false);
  if (status >= 500) return failed(failureOf(status), isRelayable(status));
  if (isUnexpectedPage(response, asked)) return failed("unexpected page", true);
  // A page is an everyday answer of the application, but also what a platform gives in its place, for the health route too.
  const isPlatformPage = isReplaced && response.ok && isHtml(headers);
  return isPlatformPage || isDoubtful(response, backend, asked) ? { kind: "doubtful", atMs, status } : SUCCESS;
}

function failureOf(status: number): FailureReason {
  if (UNREACHABLE.includes(status)) return "unreachable";
  if ((status >= 502 && status <= 504) || (status >= 520 && status <= 529)) return "unavailable";
  return "application error";
}

/** Cloudflare's own error pages name the backend's host. */
function isRelayable(status: number): boolean {
  return (status < 520 || status > 527) && status !== 530;
}

/** Whether a failure is the application's own, if its backend is still up: it ends the patience of its request. */
export function isHonest({ status }: Failure): boolean {
  return status !== undefined && HONEST.includes(status);
}

/** A page in place of the application, such as ngrok's: the whole Stremio protocol is JSON under paths that end in `.json`. */
function isUnexpectedPage({ ok, headers }: Response, { path }: Asked): boolean {
  return ok && /\.json$/i.test(path.replace(/\?.*/s, "")) && isHtml(headers);
}

/**
 * Whether a platform whose application is gone might have given this answer, which is below 500: any 4xx; to a GET or HEAD a
 * redirect elsewhere, or to the very URL that was asked for; to a GET a 2xx with nothing in it.
 */
function isDoubtful({ status, ok, headers }: Response, backend: Backend, { request, path, config }: Asked): boolean {
  if (status >= 400) return true;
  const { method } = request;
  if (ok) return method === "GET" && headers.get("Content-Length") === "0";
  if ((method !== "GET" && method !== "HEAD") || !REDIRECTS.includes(status)) return false;
  const location = headers.get("Location");
  if (location === null) return false;
  const asked = URL.parse(backend.origin + path);
  const to = URL.parse(location, asked?.href);
  if (!asked || !to) return false;
  if (to.hostname !== asked.hostname && to.hostname !== config.primaryDomain) return true;
  // One that is rewritten to the public domain would lead back here for ever.
  return to.pathname + to.search === asked.pathname + asked.search;
}

/**
 * Whether a success shows that the application itself answers: a platform's page, redirect or empty answer shows nothing while
 * no check is good.
 */
export function isProof({ status, ok, headers }: Response): boolean {
  if (status === 101) return true;
  return ok && headers.get("Content-Length") !== "0" && !isHtml(headers);
}

function isHtml(headers: Headers): boolean {
  return /^\s*text\/html\b/i.test(headers.get("Content-Type") ?? "");
}

/** Whether the cache of the backend's own zone answered, so that the backend need not be alive. */
export function isFromCache({ headers }: Response): boolean {
  // https://developers.cloudflare.com/cache/concepts/cache-responses/
  const status = headers.get("CF-Cache-Status");
  return status === "HIT" || status === "STALE" || status === "UPDATING";
}

/** The one place that says what may be repeated. A body that streams is gone after one attempt. */
export function allowedFor(
  { method, headers }: Pick<Request, "method" | "headers">,
  body: unknown,
  { retryNonIdempotent }: Pick<Config, "retryNonIdempotent">,
): Allowed {
  const isStreamed = body instanceof ReadableStream;
  // RFC 9110, section 9.2.2.
  const isIdempotent = method !== "POST" && method !== "PATCH";
  const isSafe = method === "GET" || method === "HEAD";
  return {
    repeat: isStreamed ? "never" : isIdempotent || retryNonIdempotent ? "always" : "if unseen",
    onceMore: isIdempotent && !isStreamed,
    hedgeOnSuspicion: isSafe && body === null && !isWebSocketRequest({ method, headers }),
  };
}

/** Whether the backend cannot have seen the request that it failed. */
export function isUnseen(outcome: Outcome | undefined): boolean {
  const status = outcome?.kind === "failed" ? outcome.status : undefined;
  return status !== undefined && status !== MAYBE_SEEN && UNREACHABLE.includes(status);
}
