import type { LastFailure, Minute } from "../counters.ts";
import type { EjectionReason } from "../events.ts";

/** A moment that has not been yet. */
export const NEVER = Number.NEGATIVE_INFINITY;

/** After this time without an answer a check makes its backend suspect: a health route answers in milliseconds. */
export const SUSPECT_AFTER_MS = 1_000;

/** At most four checks of a backend a second and isolate. */
export const CHECK_SPACING_MS = 250;

/** Ejections count towards the next one's term for so long. */
const EJECTIONS_COUNT_MS = 600_000;

/** The longest term, unless one `BACKEND_DOWN_TIME` is longer: that of Envoy's outlier ejection (`max_ejection_time`). */
const TERM_MAX_MS = 300_000;

/** Clocks of two machines differ by less. It is also longer than a check: two isolates find out one outage within it. */
export const CLOCK_SKEW_MAX_MS = 5_000;

export const RESULT_KINDS = ["good", "bad status", "unexpected answer", "network error", "no answer"] as const;

/** What a check found. Plain data: it outlives the request that made it, and travels to other isolates. */
export interface CheckResult {
  readonly kind: (typeof RESULT_KINDS)[number];
  /** That of the health route; `null` when there was no answer. */
  readonly status: number | null;
  readonly tookMs: number;
  /** When the check ended. */
  readonly atMs: number;
}

/** One question to the health route; a check is one to three of them. */
export interface Ask {
  readonly beganMs: number;
  readonly endedMs: number;
  readonly isGood: boolean;
}

export interface Ejection {
  /** Whether it began with failures of requests (outlier ejection), not with a check. */
  readonly isOutlier: boolean;
  /** Since when something speaks against it: when the check began. */
  readonly evidenceMs: number;
  /** Its term: the first good check from then on ends it. */
  readonly untilMs: number;
}

/** What an isolate knows of one backend. */
export interface BackendHealth {
  /** The newest result of any isolate. */
  result: CheckResult | undefined;
  /** Whether another isolate made that check. */
  isShared: boolean;
  /** The result that the isolates of the data centre share, as it was last read or written. */
  sharedResult: CheckResult | undefined;
  /** It is down while it has one. */
  ejection: Ejection | undefined;
  /** When it was ejected lately, in this isolate or another one. */
  ejectionsMs: readonly number[];
  /** Since when it has been down, or not down. */
  sinceMs: number;
  /** The latest good check. */
  lastGoodMs: number;
  /** Whether something has happened since the last check began that calls for another one. */
  isCheckRequested: boolean;
  checkBeganMs: number;
  /** A lease: past it a check counts as lost, since the runtime may cancel it with its invocation. */
  checkLeaseUntilMs: number;
  /** This isolate's own: the clocks of two machines differ. */
  lastAsk: Ask | undefined;
  /** When an ask last vouched for an answer to each of these clients, the latest last. */
  readonly vouchedMs: Map<string, number>;
  readonly traffic: Traffic;
}

/** What the users' requests tell of one backend, for the rules in traffic.ts. */
export interface Traffic {
  lastSuccessMs: number;
  /** The last success that no platform could have given in place of the application: when it was asked for, and when it came. */
  lastServed: { readonly sentMs: number; readonly atMs: number };
  lastFailure: LastFailure | undefined;
  /** The last hour and more, for the charts. */
  readonly minutes: Minute[];
  /** When the attempts were sent that have not ended since the last success: they wait, or their clients have left. */
  readonly unansweredMs: number[];
  /** Whose requests failed since the last success that another backend could serve, and how many of each client. */
  readonly failures: Map<string, number>;
  firstFailureMs: number;
  /** When the clients that had a success last had it, the latest last. */
  readonly servedMs: Map<string, number>;
}

/** What an isolate knows of its backends, by id, and of what the data centre shares. */
export interface Health {
  readonly backends: Map<string, BackendHealth>;
  readonly startedMs: number;
  /** From 0 to 1, this isolate's own, so that many isolates do not check at the same moment. */
  readonly jitter: number;
  /** When the shared results were last asked for, and when a reading last ended, well or badly. */
  readBeganMs: number;
  readEndedMs: number;
  /** When the first request came that found nothing read lately. */
  coldSinceMs: number;
}

export function newHealth(nowMs: number, jitter: number): Health {
  return {
    backends: new Map(),
    startedMs: nowMs,
    jitter,
    readBeganMs: NEVER,
    readEndedMs: NEVER,
    coldSinceMs: NEVER,
  };
}

export function healthOf(health: Health, id: string): BackendHealth {
  let known = health.backends.get(id);
  if (!known) {
    known = {
      result: undefined,
      isShared: false,
      sharedResult: undefined,
      ejection: undefined,
      ejectionsMs: [],
      sinceMs: health.startedMs,
      lastGoodMs: NEVER,
      isCheckRequested: false,
      checkBeganMs: NEVER,
      checkLeaseUntilMs: NEVER,
      lastAsk: undefined,
      vouchedMs: new Map(),
      traffic: {
        lastSuccessMs: NEVER,
        lastServed: { sentMs: NEVER, atMs: NEVER },
        lastFailure: undefined,
        minutes: [],
        unansweredMs: [],
        failures: new Map(),
        firstFailureMs: NEVER,
        servedMs: new Map(),
      },
    };
    health.backends.set(id, known);
  }
  return known;
}

/** `suspect`: a check has gone unanswered for a second. Until it ends, requests go elsewhere if they can. */
export type State = "up" | "suspect" | "down";

/** A state resolves by the time that is passed in, without timers. */
export function stateOf(known: BackendHealth, nowMs: number): State {
  if (known.ejection) return "down";
  return isUnanswered(known, nowMs) ? "suspect" : "up";
}

export function isCheckUnderWay(known: BackendHealth, nowMs: number): boolean {
  return nowMs < known.checkLeaseUntilMs;
}

/** Why a backend is down: what its last check found, if that was bad, else what keeps it out in spite of a good one. */
export function ejectionReasonOf({ ejection, result }: BackendHealth): EjectionReason | undefined {
  if (!ejection) return undefined;
  if (result && result.kind !== "good") return `check: ${result.kind}`;
  return ejection.isOutlier ? "consecutive failures" : "repeated ejections";
}

/** Whether a check has gone unanswered for so long that its backend is not relied on. */
export function isUnanswered(known: BackendHealth, nowMs: number): boolean {
  return isCheckUnderWay(known, nowMs) && nowMs - known.checkBeganMs >= SUSPECT_AFTER_MS;
}

/** Whether a check may begin now: one at a time, and not too soon after the last one. */
export function mayCheck(known: BackendHealth, nowMs: number): boolean {
  return !isCheckUnderWay(known, nowMs) && nowMs - known.checkBeganMs >= CHECK_SPACING_MS;
}

/** Takes the right to check a backend, for `leaseMs`. What calls for a check from now on calls for the next one. */
export function beginCheck(known: BackendHealth, nowMs: number, leaseMs: number): void {
  known.isCheckRequested = false;
  known.checkBeganMs = nowMs;
  known.checkLeaseUntilMs = nowMs + leaseMs;
}

export function endCheck(known: BackendHealth): void {
  known.checkLeaseUntilMs = NEVER;
}

export type Change = "ejected" | "recovered";

/**
 * Takes a result in, if it is the newest. Returns what changed by it, so that the caller reports each change once.
 * `nowMs` is when it became known here.
 */
export function takeResult(
  known: BackendHealth,
  result: CheckResult,
  nowMs: number,
  downTimeMs: number,
  isShared = false,
): Change | undefined {
  if (known.result && compareResults(result, known.result) <= 0) return undefined;
  known.result = result;
  known.isShared = isShared;
  if (result.kind !== "good") {
    if (known.ejection) return undefined;
    return eject(known, false, result.atMs, nowMs, downTimeMs, isShared, result.atMs - result.tookMs);
  }
  known.lastGoodMs = Math.max(known.lastGoodMs, Math.min(result.atMs, nowMs));
  if (known.ejection) {
    if (result.atMs < known.ejection.untilMs) return undefined;
    known.ejection = undefined;
    known.sinceMs = nowMs;
    return "recovered";
  }
  // Another isolate has found it good, but ejects it still: a term is the same in all of them.
  const untilMs = isShared ? termEndMs(known, false, downTimeMs) : NEVER;
  if (result.atMs >= untilMs) return undefined;
  known.ejection = { isOutlier: false, evidenceMs: nowMs, untilMs };
  known.sinceMs = nowMs;
  return "ejected";
}

/** Ejects a backend that is not down. Its term counts from `atMs`; what speaks against it began at `evidenceMs`. */
export function eject(
  known: BackendHealth,
  isOutlier: boolean,
  atMs: number,
  nowMs: number,
  downTimeMs: number,
  isShared = false,
  evidenceMs = atMs,
): Change {
  // That of another isolate is among those that are merged; this may be a later check of the same outage.
  if (!isShared) known.ejectionsMs = [...known.ejectionsMs.filter((ms) => nowMs - ms < EJECTIONS_COUNT_MS), atMs];
  known.ejection = { isOutlier, evidenceMs, untilMs: termEndMs(known, isOutlier, downTimeMs) };
  known.sinceMs = nowMs;
  return "ejected";
}

/**
 * Adds the ejections that other isolates have seen. Those that are near one that is known are the same one, and so is one that
 * was found here while the data centre knew of the outage, without a good check in between.
 */
export function mergeEjections(
  known: BackendHealth,
  { result, ejectionsMs }: { readonly result: CheckResult; readonly ejectionsMs: readonly number[] },
  nowMs: number,
): void {
  const isRecent = (ms: number) => nowMs - ms < EJECTIONS_COUNT_MS;
  const wasKnown = result.kind !== "good" && ejectionsMs.length > 0 && known.lastGoodMs < result.atMs;
  const all = known.ejectionsMs.filter((ms) => isRecent(ms) && !(wasKnown && ms > result.atMs));
  for (const atMs of ejectionsMs.filter(isRecent)) {
    if (!all.some((ms) => Math.abs(ms - atMs) <= CLOCK_SKEW_MAX_MS)) all.push(atMs);
  }
  known.ejectionsMs = all.sort((a, b) => a - b);
}

/**
 * When the term ends that the last ejection began: it grows with their number, as Envoy's `base_ejection_time`. The first one
 * by a check ends with the first good check; an outlier ejection, behind a good check, has to last to mean anything.
 */
function termEndMs({ ejectionsMs }: BackendHealth, isOutlier: boolean, downTimeMs: number): number {
  const count = isOutlier ? ejectionsMs.length : ejectionsMs.length - 1;
  const termMs = Math.min(count * downTimeMs, Math.max(TERM_MAX_MS, downTimeMs));
  return (ejectionsMs.at(-1) ?? NEVER) + termMs;
}

/**
 * The order of results in time, whichever isolate made them. A good one speaks of the moment of the answer; a bad one of the
 * moment of the question, since the backend may have come up while the check waited in vain.
 */
export function compareResults(a: CheckResult, b: CheckResult): number {
  // Whatever decides between results of one moment: in whatever order they are merged, the same one is left.
  return evidenceMs(a) - evidenceMs(b) || JSON.stringify(a).localeCompare(JSON.stringify(b));
}

function evidenceMs({ kind, atMs, tookMs }: CheckResult): number {
  return kind === "good" ? atMs : atMs - tookMs;
}
