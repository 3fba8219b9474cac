import type { Backend } from "../config.ts";
import { checkDueMs } from "../health/due.ts";
import type { BackendView } from "../health/view.ts";
import { bestCandidate, inClientOrder } from "../selection/candidates.ts";
import { isHonest } from "./outcome.ts";
import {
  type Attempt,
  areRetriesLeft,
  fallbackOf,
  hasFailed,
  lastFailureOf,
  mayAskAnother,
  mayRepeat,
  type RequestState,
  unaskedOf,
  type ViewOf,
} from "./request-state.ts";

/** An attempt, and once more one whose connection broke: that is not among the retries. */
export const ATTEMPTS_PER_CANDIDATE = 2;

/** Of the six connections that may wait for headers two are left for checks and the cache. */
export const UNSETTLED_MAX = 4;

/** The longest wait before what is known is looked at again, so that an ejection ends a wait. */
const LOOK_EVERY_MS = 1_000;

/** How long a doubtful answer waits for its backend to be vouched for. */
const DOUBT_MS = 1_000;

/** An ask that ended so long before the answer came still vouches for it: a check that began with the request, say. */
const VOUCHED_BEFORE_MS = 100;

/** A backend that was vouched for to a client is believed by it for so long: a playback is HEAD, GET and GET. */
const VOUCHED_MS = 1_000;

/**
 * How long a request that may not be hedged on suspicion is left at a backend whose health route answers, however badly: the
 * application may be at work on it.
 */
const AT_WORK_MS = 10_000;

/** How long a last resort waits for its checks. */
const LAST_RESORT_MS = 1_000;

/** The head start of a client's own backend in a last resort, so that not all clients flock to the fastest. */
const OWN_ORDER_MS = 250;

export type Plan =
  | { readonly do: "ask"; readonly backend: Backend; readonly isOnceMore: boolean }
  /** Its backend answers what it was sent: the answer is a success. */
  | { readonly do: "vouch"; readonly attempt: Attempt }
  | { readonly do: "fail"; readonly attempt: Attempt; readonly reason: "not vouched for" | "silent" | "timeout" }
  | { readonly do: "check"; readonly backends: readonly Backend[]; readonly isLastResort: boolean }
  /** `isPolled`: the result of a check may come that another request makes. */
  | { readonly do: "wait"; readonly untilMs: number; readonly isPolled: boolean }
  | { readonly do: "finish"; readonly with: Attempt | 502 | 504 };

/** What a request does next: all of "where does it go" is here, and nothing happens here. */
export function plan(state: RequestState, viewOf: ViewOf, nowMs: number): Plan {
  const { attempts } = state;
  let isPolled = false;
  let untilMs = nowMs + LOOK_EVERY_MS;
  let isWaiting = false;

  const success = attempts.find(({ outcome }) => outcome?.kind === "success");
  if (success) return { do: "finish", with: success };

  for (const attempt of attempts) {
    const { outcome } = attempt;
    if (outcome?.kind !== "doubtful") continue;
    const next = planDoubt(attempt, outcome.atMs, state, viewOf, nowMs);
    if (next.do !== "wait") return next;
    isWaiting = true;
    isPolled = true;
    untilMs = Math.min(untilMs, next.untilMs);
  }

  for (const attempt of attempts) {
    if (attempt.outcome) continue;
    const view = viewOf(attempt.backend);
    const { lastAsk } = view;
    const deadlineMs = attempt.sentMs + state.config.backendTimeoutMs;
    // Nothing tells when a streamed body has been sent, and a slow upload is no fault.
    const isBounded = state.allowed.repeat !== "never" || (view.state === "down" && view.isBadByCheck);
    if (isBounded && nowMs >= deadlineMs) return { do: "fail", attempt, reason: "timeout" };
    if (isBounded) untilMs = Math.min(untilMs, deadlineMs);

    const dueMs = checkDueMs(attempt.sentMs, view.lastLifeMs, state.config.probeAfterMs);
    // One that was lost with its invocation has no end.
    const isChecked = lastAsk !== undefined && lastAsk.endedMs >= dueMs && lastAsk.beganMs >= view.lastLifeMs;
    if (nowMs < dueMs) untilMs = Math.min(untilMs, dueMs);
    else if (view.isCheckPending) isPolled = true;
    else if (!isChecked && !isDown(attempt, view, state, nowMs) && state.canCheck) {
      return { do: "check", backends: [attempt.backend], isLastResort: false };
    }
    if (!isSilent(attempt, view, state, viewOf, nowMs)) isWaiting = true;
  }
  const wait: Plan = { do: "wait", untilMs, isPolled };
  if (isWaiting) return wait;

  const fallback = fallbackOf(attempts, viewOf);
  const failed = attempts.filter(hasFailed);
  const isPatient = !failed.some(({ backend, outcome }) => isHonest(outcome) && viewOf(backend).state === "up");
  const next =
    planCandidate(state, viewOf, nowMs, isPatient, wait) ??
    planLastResort(state, viewOf, nowMs, fallback && { isPatient }, wait);
  if (next) return next;

  const isWorthWaiting = attempts.some((attempt) => {
    const { outcome } = attempt;
    const view = viewOf(attempt.backend);
    // One that hangs behind good checks may be slow: that is no silence.
    return !outcome && (!fallback || (!isDown(attempt, view, state, nowMs) && (isPatient || !view.isUnanswered)));
  });
  if (isWorthWaiting) return wait;
  return { do: "finish", with: fallback ?? lateOrUnreachable(attempts) };
}

/** What becomes of a doubtful answer: one good ask vouches for it, one bad ask sends the request elsewhere. */
function planDoubt(attempt: Attempt, answeredMs: number, state: RequestState, viewOf: ViewOf, nowMs: number): Plan {
  const { backend, sentMs } = attempt;
  const view = viewOf(backend);
  const { lastAsk } = view;
  // The same millisecond counts: time stands still between I/O.
  const isRecent = lastAsk && lastAsk.beganMs >= sentMs && lastAsk.endedMs >= answeredMs - VOUCHED_BEFORE_MS;
  if (lastAsk?.isGood && (isRecent || sentMs - view.vouchedMs <= VOUCHED_MS)) return { do: "vouch", attempt };
  const fail: Plan = { do: "fail", attempt, reason: "not vouched for" };
  const relay: Plan = { do: "finish", with: attempt };
  // Where no check is good anywhere, those that have served users are believed.
  const isCheckGood = (other: Backend) => viewOf(other).state === "up" && !viewOf(other).worksAllTheSame;
  if (view.worksAllTheSame && !lastAsk?.isGood && !state.config.backends.some(isCheckGood)) {
    return view.hasServedLately ? relay : fail;
  }

  const isBad = isDown(attempt, view, state, nowMs) || (lastAsk?.isGood === false && lastAsk.endedMs >= sentMs);
  const areOthersOut = state.attempts.every((other) => other === attempt || hasFailed(other));
  const isOnlyOne = !mayAskAnother(state) && areOthersOut;
  if (isBad && !isOnlyOne) return fail;
  if (!isBad && !view.isCheckPending && state.canCheck)
    return { do: "check", backends: [backend], isLastResort: false };
  const untilMs = answeredMs + DOUBT_MS;
  if (isOnlyOne || !view.isCheckPending || nowMs >= untilMs) return relay;
  return { do: "wait", untilMs, isPolled: true };
}

/**
 * Whether an attempt that waits is relied on no more, so that another backend is asked beside it. Silence alone proves nothing,
 * since an honest answer may take a minute; silence of its check does, and so does a backend that hangs behind good checks.
 */
function isSilent(attempt: Attempt, view: BackendView, state: RequestState, viewOf: ViewOf, nowMs: number): boolean {
  const { allowed, attempts, config, lastResortMs } = state;
  const isQuiet = nowMs - attempt.sentMs >= config.probeAfterMs;
  if (isDown(attempt, view, state, nowMs)) {
    return isQuiet || lastResortMs === undefined || attempt.sentMs < lastResortMs;
  }
  if (!allowed.hedgeOnSuspicion || !isQuiet) return false;
  if (view.isUnanswered && nowMs >= checkDueMs(attempt.sentMs, view.lastLifeMs, config.probeAfterMs)) return true;
  // Once a request: if all hang, they are slow, and the work of one of them is to be waited for.
  return attempts.find(({ backend, outcome }) => !outcome && viewOf(backend).isHanging) === attempt;
}

/**
 * The next backend to ask, in this order: once more the one whose connection broke; up and primary; up and `backup`; suspect;
 * down, but good when last resort asked.
 */
function planCandidate(state: RequestState, viewOf: ViewOf, nowMs: number, isPatient: boolean, wait: Plan) {
  const { attempts, allowed, client, config, lastResortMs } = state;
  if (!mayRepeat(state)) return undefined;
  const isLeft = areRetriesLeft(state);
  const isTurn = turnsOf(state, viewOf, nowMs);
  const candidate = bestCandidate(config.backends, client, (backend) => {
    const [first, again] = attempts.filter((attempt) => attempt.backend === backend);
    const view = viewOf(backend);
    const isGood = view.state === "up" || isGoodSince(lastResortMs, view);
    if (first) {
      const isStale = !again && allowed.onceMore && isGood && isStaleConnection(first, config.probeAfterMs);
      return isStale ? 0 : undefined;
    }
    if (!isLeft || !isTurn(backend)) return undefined;
    if (view.state === "up") return backend.isBackup ? 2 : 1;
    if (view.state === "suspect") return isPatient ? 3 : undefined;
    return isGood ? 4 : undefined;
  });
  return candidate && planAsk(candidate, state, viewOf, nowMs, wait);
}

/**
 * What to do when none is left that is up: those that are down are checked side by side, since what is known of them may be
 * out of date, also of those whose answer is still waited for. When none is good they are tried blindly: the health route may be
 * what is wrong. An honest failure is relayed.
 */
function planLastResort(
  state: RequestState,
  viewOf: ViewOf,
  nowMs: number,
  fallback: { isPatient: boolean } | undefined,
  wait: Plan,
): Plan | undefined {
  const { allowed, attempts, client, lastResortMs } = state;
  const unasked = mayRepeat(state) && areRetriesLeft(state) ? unaskedOf(state) : [];
  const isLast = (backend: Backend) => Number(viewOf(backend).isKnownSilent);
  const down = inClientOrder(unasked, client)
    .filter((backend) => viewOf(backend).state === "down")
    .sort((a, b) => isLast(a) - isLast(b));
  const open = attempts.flatMap((attempt) => {
    const { backend, outcome } = attempt;
    return !outcome && isDown(attempt, viewOf(backend), state, nowMs) ? backend : [];
  });
  const isOpenHope = fallback?.isPatient === true && open.length > 0;
  if (down.length === 0 && !isOpenHope) return undefined;
  if (lastResortMs === undefined) return { do: "check", backends: [...down, ...open], isLastResort: true };

  const isLate = nowMs >= lastResortMs + LAST_RESORT_MS;
  const isPending = (backend: Backend) => viewOf(backend).isCheckPending;
  const isOver = isLate || !unasked.some(isPending);
  // What a backend that is up has failed, or what could be relayed, is not worth a wait for one that is known to be silent.
  const hasUpFailed = attempts.filter(hasFailed).some(({ backend }) => viewOf(backend).state === "up");
  // What may not be hedged on suspicion is sent blindly nowhere while an application may be at work on it.
  const isAtWork = (backend: Backend) => {
    return attempts.some(({ backend: asked, sentMs, outcome }) => {
      const isYoung = nowMs - sentMs < AT_WORK_MS;
      return !outcome && (!viewOf(asked).isUnreachable || (isYoung && viewOf(backend).isUnreachable));
    });
  };
  const blind = down.find((backend) => {
    if (!allowed.hedgeOnSuspicion && isAtWork(backend)) return false;
    return !(hasUpFailed || fallback) || !(viewOf(backend).isKnownSilent || (isOver && isPending(backend)));
  });
  const isBlindNow = fallback ? fallback.isPatient && isOver : isOver || unasked.length === 1;
  if (blind && isBlindNow) return planAsk(blind, state, viewOf, nowMs, wait);
  if (isOver && !(isOpenHope && !isLate && open.some(isPending))) return undefined;
  return { do: "wait", untilMs: lastResortMs + LAST_RESORT_MS, isPolled: true };
}

/** Asks a backend, once a connection is free for it: the newest attempt at one that is down gives its place to one that is up. */
function planAsk(backend: Backend, state: RequestState, viewOf: ViewOf, nowMs: number, wait: Plan): Plan {
  const { attempts, unsettled } = state;
  const isOnceMore = attempts.some((attempt) => attempt.backend === backend);
  if (unsettled < UNSETTLED_MAX) return { do: "ask", backend, isOnceMore };
  if (viewOf(backend).state !== "up") return wait;
  // The first attempt has no signal, and keeps its connection whatever becomes of it.
  const attempt = attempts
    .slice(1)
    .findLast((open) => !open.outcome && isDown(open, viewOf(open.backend), state, nowMs));
  return attempt ? { do: "fail", attempt, reason: "silent" } : wait;
}

/** In a last resort: whether a backend's good check counts yet, since those before it in the client's order have their turn. */
function turnsOf(state: RequestState, viewOf: ViewOf, nowMs: number): (backend: Backend) => boolean {
  const { client, lastResortMs } = state;
  if (lastResortMs === undefined || nowMs >= lastResortMs + LAST_RESORT_MS) return () => true;
  const order = inClientOrder(unaskedOf(state), client);
  return (backend) => {
    const goodMs = Math.max(lastResortMs, viewOf(backend).lastAsk?.endedMs ?? lastResortMs);
    if (nowMs - goodMs >= OWN_ORDER_MS) return true;
    return order.slice(0, order.indexOf(backend)).every((before) => {
      const { state, isCheckPending } = viewOf(before);
      return state !== "down" || !isCheckPending;
    });
  };
}

/**
 * Whether a backend that was asked is down, and no good check of this last resort speaks for it: one that is in its term serves
 * meanwhile. What may not be hedged on suspicion relies on one whose health route answers, however badly: the application may
 * be at work on it, for a while.
 */
function isDown(
  { sentMs }: Attempt,
  view: BackendView,
  { allowed, lastResortMs }: RequestState,
  nowMs: number,
): boolean {
  if (view.state !== "down" || isGoodSince(lastResortMs, view)) return false;
  if (view.isUnreachable || allowed.hedgeOnSuspicion) return true;
  return view.isBadByCheck && nowMs - Math.max(sentMs, view.lastLifeMs) >= AT_WORK_MS;
}

function isGoodSince(lastResortMs = Number.POSITIVE_INFINITY, { lastAsk }: BackendView): boolean {
  return lastAsk?.isGood === true && lastAsk.endedMs >= lastResortMs;
}

/** Whether a pooled connection may have been stale; a request that kills the server fails later. */
function isStaleConnection(attempt: Attempt, probeAfterMs: number): boolean {
  if (!hasFailed(attempt)) return false;
  const { reason, atMs } = attempt.outcome;
  return reason === "network error" && atMs - attempt.sentMs <= probeAfterMs;
}

function lateOrUnreachable(attempts: readonly Attempt[]): 502 | 504 {
  const last = lastFailureOf(attempts)?.outcome.reason;
  return last === "silent" || last === "timeout" ? 504 : 502;
}
