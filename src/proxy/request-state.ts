import type { Backend, Config } from "../config.ts";
import type { BackendView } from "../health/view.ts";
import type { Client } from "../selection/session.ts";
import { type Allowed, type Failure, isUnseen, type Outcome } from "./outcome.ts";

/** One sending of a request to a backend. */
export interface Attempt {
  readonly backend: Backend;
  readonly sentMs: number;
  readonly isOnceMore: boolean;
  /** None while its headers are waited for. */
  outcome?: Outcome;
}

type FailedAttempt = Attempt & { outcome: Failure };

/** All that is known of a request. Who was asked, who failed and what the fallback is are views of its attempts. */
export interface RequestState {
  /** In the order in which they were sent. */
  readonly attempts: readonly Attempt[];
  readonly client: Client;
  /** When last resort began: no attempt tells it. */
  readonly lastResortMs: number | undefined;
  readonly allowed: Allowed;
  /** Whether subrequests are left for a check. */
  readonly canCheck: boolean;
  /** The connections that are taken; an attempt that was given up counts until it has settled. */
  readonly unsettled: number;
  readonly config: Pick<Config, "backends" | "maxRetries" | "probeAfterMs" | "backendTimeoutMs">;
}

/** What may be known of a backend at this moment. */
export type ViewOf = (backend: Backend) => BackendView;

/** The backends that the request has not been sent to. */
export function unaskedOf({ attempts, config }: RequestState): Backend[] {
  return config.backends.filter((backend) => !attempts.some((attempt) => attempt.backend === backend));
}

/** Whether the request may be sent again now; the first attempt is no repetition. */
export function mayRepeat({ attempts, allowed }: RequestState): boolean {
  if (attempts.length === 0 || allowed.repeat === "always") return true;
  return allowed.repeat === "if unseen" && attempts.every(({ outcome }) => isUnseen(outcome));
}

/** Whether `MAX_RETRIES` allows another attempt; those that ask a backend once more are not among them. */
export function areRetriesLeft({ attempts, config }: RequestState): boolean {
  return attempts.filter(({ isOnceMore }) => !isOnceMore).length <= config.maxRetries;
}

/** Whether there is another backend that the request may be sent to. */
export function mayAskAnother(state: RequestState): boolean {
  return mayRepeat(state) && areRetriesLeft(state) && unaskedOf(state).length > 0;
}

/** The failure to relay: of a backend that is up if there is one, then one below 500, then the later one. */
export function fallbackOf(attempts: readonly Attempt[], viewOf: ViewOf): Attempt | undefined {
  const rankOf = ({ backend, outcome }: FailedAttempt) =>
    (viewOf(backend).state === "up" ? 2 : 0) + Number((outcome.status ?? 0) < 500);
  const relayable = attempts.filter(hasFailed).filter(({ outcome }) => outcome.isRelayable);
  return relayable.toSorted((a, b) => rankOf(a) - rankOf(b)).at(-1);
}

/** The attempt that failed last, if one did. */
export function lastFailureOf(attempts: readonly Attempt[]): FailedAttempt | undefined {
  return attempts
    .filter(hasFailed)
    .toSorted((a, b) => a.outcome.atMs - b.outcome.atMs)
    .at(-1);
}

export function hasFailed(attempt: Attempt): attempt is FailedAttempt {
  return attempt.outcome?.kind === "failed";
}
