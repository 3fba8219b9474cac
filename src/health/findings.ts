import type { EjectionReason } from "../events.ts";

/** After this time without an answer a check makes its backend suspect. */
const SUSPECT_AFTER_MS = 1_000;

/** At most four checks of a backend a second and isolate. */
export const BETWEEN_CHECKS_MS = 250;

/** So many failures in a row, at requests that another backend answered, take a backend out although its check is good. */
export const FAILURES_IN_A_ROW = 5;

/** For how long an answer to one client shows that a backend does not fail everybody. */
const ANSWER_COUNTS_MS = 60_000;

export const CHECK_RESULTS = ["good", "bad status", "network error", "no answer"] as const;
export type CheckResult = (typeof CHECK_RESULTS)[number];

/** What a check found. Plain data: it outlives the request that made it, and travels to other isolates. */
export interface Finding {
  readonly result: CheckResult;
  /** That of the health route; `null` when there was no answer. */
  readonly status: number | null;
  readonly tookMs: number;
  /** When the check ended. */
  readonly atMs: number;
}

/** What an isolate knows of one backend. A moment that has not been yet is `NEVER`. */
export interface BackendHealth {
  /** The newest finding of any isolate. */
  finding: Finding | undefined;
  /** Whether another isolate made that finding. */
  isShared: boolean;
  /** Since when it has been down, or not down. */
  sinceMs: number;
  /** Whether something has happened since the last check began that calls for another one. */
  isHinted: boolean;
  checkStartedMs: number;
  /** A lease: past it a check counts as lost, since the runtime may cancel it with its invocation. */
  checkLeaseUntilMs: number;
  /** The latest answer below 500, or good check. */
  lastLifeMs: number;
  /** When the oldest attempt was sent that no sign of life has followed. */
  unansweredSinceMs: number;
  /** Why it is out although its check may be good: when the first good check may bring it back. */
  failingUntilMs: number | undefined;
  lastAnswerMs: number;
  /** Whose requests failed since the last answer below 500, and how many of each client. */
  readonly failures: Map<string, number>;
  /** When the clients that were answered last were answered, the latest last. */
  readonly answeredMs: Map<string, number>;
}

export const NEVER = Number.NEGATIVE_INFINITY;

/** What an isolate knows of its backends, by id, and of what the data centre shares. */
export interface Health {
  readonly backends: Map<string, BackendHealth>;
  readonly startedMs: number;
  /** When the shared findings were last read, or began to be. */
  sharedReadMs: number;
}

export function newHealth(nowMs: number): Health {
  return { backends: new Map(), startedMs: nowMs, sharedReadMs: NEVER };
}

export function healthOf(health: Health, id: string): BackendHealth {
  let known = health.backends.get(id);
  if (!known) {
    known = {
      finding: undefined,
      isShared: false,
      sinceMs: health.startedMs,
      isHinted: false,
      checkStartedMs: NEVER,
      checkLeaseUntilMs: NEVER,
      lastLifeMs: NEVER,
      unansweredSinceMs: NEVER,
      failingUntilMs: undefined,
      lastAnswerMs: NEVER,
      failures: new Map(),
      answeredMs: new Map(),
    };
    health.backends.set(id, known);
  }
  return known;
}

/** `suspect`: a check has gone unanswered for a second. Until it ends, requests go elsewhere if they can. */
export type State = "up" | "suspect" | "down";

/** Whether a backend may be used; a state resolves by the time that is passed in, without timers. */
export function stateOf(known: BackendHealth, nowMs: number): State {
  if (isDown(known)) return "down";
  return isCheckOverdue(known, nowMs) ? "suspect" : "up";
}

/** Whether a check has gone unanswered for so long that its backend is not relied on. */
export function isCheckOverdue(known: BackendHealth, nowMs: number): boolean {
  return isCheckUnderWay(known, nowMs) && nowMs - known.checkStartedMs >= SUSPECT_AFTER_MS;
}

export function isDown(known: BackendHealth): boolean {
  return downReason(known) !== undefined;
}

/** Why a backend is down; `undefined` while it is not. */
export function downReason({ finding, failingUntilMs }: BackendHealth): EjectionReason | undefined {
  if (finding && finding.result !== "good") return `check: ${finding.result}`;
  return failingUntilMs === undefined ? undefined : "failures in a row";
}

export function isCheckUnderWay(known: BackendHealth, nowMs: number): boolean {
  return nowMs < known.checkLeaseUntilMs;
}

/** Whether a check may begin now: one at a time, and not too soon after the last one. */
export function mayCheck(known: BackendHealth, nowMs: number): boolean {
  return !isCheckUnderWay(known, nowMs) && nowMs - known.checkStartedMs >= BETWEEN_CHECKS_MS;
}

export interface CheckTimes {
  readonly healthCheckIntervalMs: number;
  readonly downTimeMs: number;
  readonly probeAfterMs: number;
}

/** Whether a check is due now that a request passes. `isAsleep`: a backup that does not serve, which is left alone. */
export function isCheckDue(known: BackendHealth, nowMs: number, times: CheckTimes, isAsleep: boolean): boolean {
  const isLost = known.checkLeaseUntilMs !== NEVER && !isCheckUnderWay(known, nowMs);
  if (known.isHinted || isLost) return true;
  const { finding, failingUntilMs, unansweredSinceMs, lastLifeMs, checkStartedMs } = known;
  // A client that left took its attempt along, but the silence of the backend is known.
  const isSilent = unansweredSinceMs > lastLifeMs && nowMs - unansweredSinceMs >= times.probeAfterMs;
  if (isSilent && !isDown(known)) return true;
  if (isAsleep) return false;
  if (failingUntilMs !== undefined && nowMs >= failingUntilMs && checkStartedMs < failingUntilMs) return true;
  const ageMs = finding ? nowMs - finding.atMs : Number.POSITIVE_INFINITY;
  if (times.healthCheckIntervalMs > 0 && ageMs >= times.healthCheckIntervalMs) return true;
  return finding !== undefined && finding.result !== "good" && ageMs >= times.downTimeMs;
}

/** Takes the right to check a backend, for `leaseMs`. What calls for a check from now on calls for the next one. */
export function beginCheck(known: BackendHealth, nowMs: number, leaseMs: number): void {
  known.isHinted = false;
  known.checkStartedMs = nowMs;
  known.checkLeaseUntilMs = nowMs + leaseMs;
}

export function endCheck(known: BackendHealth): void {
  known.checkLeaseUntilMs = NEVER;
}

export type Change = "ejected" | "back";

/**
 * Takes a finding in, if it is the newest. Returns what changed by it, so that the caller reports each change once.
 * `nowMs` is when it became known here.
 */
export function takeFinding(
  known: BackendHealth,
  finding: Finding,
  nowMs: number,
  isShared: boolean,
): Change | undefined {
  if (known.finding && compareFindings(finding, known.finding) <= 0) return undefined;
  const wasDown = isDown(known);
  known.finding = finding;
  known.isShared = isShared;
  if (finding.result === "good") {
    known.lastLifeMs = Math.max(known.lastLifeMs, finding.atMs);
    if (known.failingUntilMs !== undefined && finding.atMs >= known.failingUntilMs) known.failingUntilMs = undefined;
  }
  return changeSince(wasDown, known, nowMs);
}

/**
 * The order of findings in time, whoever made them. A good one speaks of the moment of the answer; a bad one of the moment
 * of the question, since the backend may have come back while the check waited in vain.
 */
export function compareFindings(a: Finding, b: Finding): number {
  // Whatever decides between findings of one moment: in whatever order they are merged, the same one is left.
  return evidenceMs(a) - evidenceMs(b) || JSON.stringify(a).localeCompare(JSON.stringify(b));
}

function evidenceMs({ result, atMs, tookMs }: Finding): number {
  return result === "good" ? atMs : atMs - tookMs;
}

/** An attempt at the backend begins. */
export function sent(known: BackendHealth, nowMs: number): void {
  if (known.unansweredSinceMs <= known.lastLifeMs) known.unansweredSinceMs = nowMs;
}

/**
 * The backend answered a client below 500: a sign of life. Returns whether that calls for a check, since it is out.
 */
export function answered(known: BackendHealth, client: string, nowMs: number): boolean {
  const { answeredMs } = known;
  known.lastLifeMs = nowMs;
  known.lastAnswerMs = nowMs;
  known.failures.clear();
  answeredMs.delete(client);
  answeredMs.set(client, nowMs);
  for (const oldest of answeredMs.keys()) if (answeredMs.size > FAILURES_IN_A_ROW) answeredMs.delete(oldest);
  if (known.failingUntilMs !== undefined) known.failingUntilMs = Math.min(known.failingUntilMs, nowMs);
  return isDown(known);
}

/**
 * An attempt at the backend failed at `failedMs`, and another backend answered the same request below 500. Too many of these in
 * a row eject it for `downTimeMs`, although its check is good: a wrong `SECRET_KEY` fails everybody behind a good health route.
 * They have to be of as many clients, unless the backend has answered nobody else lately: a few take it from no others.
 */
export function outdone(
  known: BackendHealth,
  client: string,
  failedMs: number,
  nowMs: number,
  downTimeMs: number,
): Change | undefined {
  // The other backend may have taken its time: an answer of this one came in between.
  if (failedMs <= known.lastAnswerMs || known.failingUntilMs !== undefined) return undefined;
  const { failures } = known;
  failures.set(client, (failures.get(client) ?? 0) + 1);
  let inARow = 0;
  for (const count of failures.values()) inARow += count;
  if (inARow < FAILURES_IN_A_ROW) return undefined;
  // A single failure may have been a stale connection: that client is served like any other.
  const servesOthers = [...known.answeredMs].some(
    ([other, answeredMs]) => (failures.get(other) ?? 0) < 2 && nowMs - answeredMs < ANSWER_COUNTS_MS,
  );
  if (servesOthers && failures.size < FAILURES_IN_A_ROW) return undefined;
  const wasDown = isDown(known);
  known.failingUntilMs = nowMs + downTimeMs;
  failures.clear();
  return changeSince(wasDown, known, nowMs);
}

function changeSince(wasDown: boolean, known: BackendHealth, nowMs: number): Change | undefined {
  const down = isDown(known);
  if (down === wasDown) return undefined;
  known.sinceMs = nowMs;
  return down ? "ejected" : "back";
}
