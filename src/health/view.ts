import type { Backend } from "../config.ts";
import { CHECK_TIMEOUT_MS } from "./check.ts";
import {
  type Ask,
  type BackendHealth,
  type Health,
  healthOf,
  isCheckUnderWay,
  isUnanswered,
  NEVER,
  type State,
  stateOf,
} from "./health-state.ts";
import { hasServedLately, isHanging, unansweredOf } from "./traffic.ts";

/** What a request may know of a backend at one moment. */
export interface BackendView {
  /** One that works all the same counts as up. */
  readonly state: State;
  readonly worksAllTheSame: boolean;
  /** Whether its last check was bad. */
  readonly isBadByCheck: boolean;
  /** Whether its last check found no connection, or had no answer. */
  readonly isUnreachable: boolean;
  /** Whether users are served by it, whatever its check says. */
  readonly hasServedLately: boolean;
  /** Whether it fails users behind a good health route by answering nothing. */
  readonly isHanging: boolean;
  /** The latest success of a user, or good check. */
  readonly lastLifeMs: number;
  readonly isCheckPending: boolean;
  /** Whether a check has gone unanswered for a second. */
  readonly isUnanswered: boolean;
  /** Whether its last check had no answer, or the one under way has had none for a second. */
  readonly isKnownSilent: boolean;
  readonly lastAsk: Ask | undefined;
  /** When an ask last vouched for an answer to this client. */
  readonly vouchedMs: number;
}

type Backends = readonly Pick<Backend, "id" | "isBackup">[];

export function viewOf(
  backend: Pick<Backend, "id">,
  backends: Backends,
  health: Health,
  client: string,
  nowMs: number,
): BackendView {
  const known = healthOf(health, backend.id);
  const state = stateOf(known, nowMs);
  const isAllTheSame = worksAllTheSame(backend, backends, health, nowMs);
  const isSilent = isUnanswered(known, nowMs);
  return {
    state: isAllTheSame ? "up" : state,
    worksAllTheSame: isAllTheSame,
    isBadByCheck: known.result !== undefined && known.result.kind !== "good",
    isUnreachable: known.result?.kind === "network error" || known.result?.kind === "no answer",
    hasServedLately: hasServedLately(known, nowMs),
    isHanging: isHanging(known, nowMs),
    lastLifeMs: Math.max(known.traffic.lastSuccessMs, known.lastGoodMs),
    isCheckPending: known.isCheckRequested || isCheckUnderWay(known, nowMs),
    isUnanswered: isSilent,
    isKnownSilent: isSilent || known.result?.kind === "no answer",
    lastAsk: known.lastAsk,
    vouchedMs: known.vouchedMs.get(client) ?? NEVER,
  };
}

/**
 * Whether a backend is to be used although no check says so. While none is up, the health route may be what is wrong, not the
 * backends (a moved path, a stopped database): one that serves users counts as up. While there is such a one, so does every
 * other that has failed no user since its last check, if that found a bad status, or ended like the check of one that serves:
 * else all clients would flock to the first that succeeded. Envoy's panic mode and ALB's fail-open do the same. When another
 * one comes up, what was wrong may be over here too: a result from before says nothing more.
 */
export function worksAllTheSame(
  { id }: Pick<Backend, "id">,
  backends: Backends,
  health: Health,
  nowMs: number,
): boolean {
  const isUp = (known: BackendHealth) => stateOf(known, nowMs) === "up";
  const known = healthOf(health, id);
  if (isUp(known) || !wasNoneUp(known, backends, health, nowMs)) return false;
  const { result, checkBeganMs, traffic } = known;
  const all = backends.map((backend) => healthOf(health, backend.id));
  const outcome = outcomeOf(known, nowMs);
  const [unansweredMs = nowMs] = unansweredOf(known, nowMs);
  // One that is silent to its users too is frozen.
  if (outcome === "no answer" && nowMs - unansweredMs >= CHECK_TIMEOUT_MS) return false;
  if (hasServedLately(known, nowMs)) return true;
  if ((traffic.lastFailure?.atMs ?? NEVER) >= (result?.atMs ?? checkBeganMs)) return false;
  const isTrusted = outcome === "bad status";
  return all.some((other) => {
    return !isUp(other) && hasServedLately(other, nowMs) && (isTrusted || outcomeOf(other, nowMs) === outcome);
  });
}

/**
 * Whether no backend was up when this one was last asked: those that are up now have come up since, and what was wrong may be
 * over for this one too.
 */
export function wasNoneUp(known: BackendHealth, backends: Backends, health: Health, nowMs: number): boolean {
  const { result, checkBeganMs } = known;
  const askedMs = result && result.kind !== "good" ? result.atMs - result.tookMs : checkBeganMs;
  const sinceMs = Math.max(askedMs, health.startedMs);
  return backends.every(({ id }) => {
    const other = healthOf(health, id);
    return stateOf(other, nowMs) !== "up" || other.sinceMs > sinceMs;
  });
}

function outcomeOf(known: BackendHealth, nowMs: number) {
  return isUnanswered(known, nowMs) ? "no answer" : known.result?.kind;
}

/** Whether a backup waits because a primary is up. A suspect is not up: the backup serves meanwhile. */
export function isStandby({ isBackup }: Pick<Backend, "isBackup">, backends: Backends, health: Health, nowMs: number) {
  return isBackup && backends.some((other) => !other.isBackup && stateOf(healthOf(health, other.id), nowMs) === "up");
}

/** Whether a backend may serve: neither down nor on standby. A suspect may. */
export function isAvailable(
  backend: Pick<Backend, "id" | "isBackup">,
  backends: Backends,
  health: Health,
  nowMs: number,
) {
  return !healthOf(health, backend.id).ejection && !isStandby(backend, backends, health, nowMs);
}
