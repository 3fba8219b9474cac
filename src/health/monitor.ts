import type { Backend, Config } from "../config.ts";
import type { Counters } from "../counters.ts";
import { emit } from "../events.ts";
import { sleep, withTimeout } from "../time.ts";
import { CHECK_SUBREQUESTS, CHECK_TIMEOUT_MS, check } from "./check.ts";
import { isCheckDueByAge, isCheckWanted, isWorthSharing } from "./due.ts";
import {
  type BackendHealth,
  beginCheck,
  type Change,
  ejectionReasonOf,
  endCheck,
  type Health,
  healthOf,
  isCheckUnderWay,
  mayCheck,
  mergeEjections,
  NEVER,
  takeResult,
} from "./health-state.ts";
import { readEntry, writeEntry } from "./shared.ts";
import type { Subrequests } from "./subrequests.ts";
import { isStandby } from "./view.ts";

/** What a request brings along for the health of the backends: the isolate's data, and its own invocation's means. */
export interface Invocation {
  readonly config: Config;
  readonly health: Health;
  readonly counters: Counters;
  readonly ctx: Pick<ExecutionContext, "waitUntil">;
  readonly ray: string | null;
  readonly subrequests: Subrequests;
  /** One cache operation at a time: one that hangs keeps its connection, and must not take those of the checks. */
  readonly cacheUse: { isBusy: boolean; isWriteDue: boolean };
  /** Called when a check or a reading of this invocation has ended: its request need not wait for its next look. */
  wake: () => void;
}

/** How long a lease on a check lasts: the check itself and what the runtime adds to it. */
const CHECK_LEASE_MS = CHECK_TIMEOUT_MS + 1_000;

/** How often to look whether a check may begin, or has ended: the promise of another invocation must not be awaited. */
export const POLL_MS = 25;

/** How many checks by age one passing request may begin, so that its own failures can still have theirs. */
const CHECKS_BY_AGE_MAX = 6;

/** How often an isolate reads the shared results, at most. */
const READ_EVERY_MS = 2_000;

/** A check by age reads first what other isolates have found, unless that was just done. */
const READ_IS_FRESH_MS = 100;

/** An isolate that has read nothing for so long, or for `HEALTH_CHECK_INTERVAL`, knows too little to choose a backend. */
const COLD_AFTER_MS = 5_000;

/** For how long the requests of such an isolate wait for a reading, from the first of them on. */
const COLD_WAIT_MS = 100;

/** A reading that has not ended then has failed. */
const READ_TIMEOUT_MS = 1_000;

/** Begins the checks that are due now that a request passes, and reads what other isolates found. No user waits for either. */
export function startDueChecks(invocation: Invocation, nowMs: number): void {
  const { cacheUse, config, health, ctx } = invocation;
  const { backends } = config;
  const byAge: Backend[] = [];
  for (const backend of backends) {
    const known = healthOf(health, backend.id);
    if (!mayCheck(known, nowMs)) continue;
    const isWaiting = isStandby(backend, backends, health, nowMs);
    if (isCheckWanted(known, nowMs, config, isWaiting)) ctx.waitUntil(checkNow(backend, invocation));
    else if (!isWaiting && isCheckDueByAge(known, nowMs, config, health.jitter)) byAge.push(backend);
  }
  const { readBeganMs, readEndedMs } = health;
  const isAnyDue = byAge.length > 0;
  // A request whose own reading takes its time waits for it no more.
  const isRead = !config.shareHealth || cacheUse.isBusy || nowMs - readEndedMs <= READ_IS_FRESH_MS;
  if (isAnyDue && isRead) ctx.waitUntil(checkByAge(byAge, invocation));
  // While a reading is under way its own request makes the checks.
  else if (config.shareHealth && nowMs - readBeganMs > (isAnyDue ? READ_IS_FRESH_MS : READ_EVERY_MS)) {
    ctx.waitUntil(readShared(invocation).then(() => checkByAge(byAge, invocation)));
  }
}

async function checkByAge(backends: readonly Backend[], invocation: Invocation): Promise<void> {
  const { config, health } = invocation;
  const due = backends.filter(({ id }) => isCheckDueByAge(healthOf(health, id), Date.now(), config, health.jitter));
  await Promise.all(due.slice(0, CHECKS_BY_AGE_MAX).map((backend) => checkNow(backend, invocation)));
}

/**
 * Checks every backend that is not on standby, but for those whose result is younger than `maxAgeMs`; for a person who looks.
 * Resolves when no check is pending, after `waitMs` at the latest.
 */
export async function checkAll(invocation: Invocation, maxAgeMs: number, waitMs: number): Promise<void> {
  const { config, health } = invocation;
  const { backends } = config;
  const deadlineMs = Date.now() + waitMs;
  // One may be left that its own invocation could not make.
  startDueChecks(invocation, Date.now());
  for (;;) {
    const nowMs = Date.now();
    let isPending = false;
    for (const backend of backends) {
      if (isStandby(backend, backends, health, nowMs)) continue;
      const known = healthOf(health, backend.id);
      // A backup stops being on standby when a check finds the last primary down, and is then to be checked too.
      const isOld = nowMs - (known.result?.atMs ?? NEVER) >= maxAgeMs;
      if (isOld && !isCheckUnderWay(known, nowMs)) requestCheck(backend, invocation);
      isPending ||= known.isCheckRequested || isCheckUnderWay(known, nowMs);
    }
    if (!isPending || nowMs >= deadlineMs) return;
    await sleep(POLL_MS);
  }
}

/** Has a backend checked: now, or as soon as a check may begin. */
export function requestCheck(backend: Backend, invocation: Invocation): void {
  const known = healthOf(invocation.health, backend.id);
  // One waits for all; if the runtime cancels it, the check is left to the next request.
  if (known.isCheckRequested) return;
  known.isCheckRequested = true;
  invocation.ctx.waitUntil(checkWhenAllowed(backend, known, invocation));
}

async function checkWhenAllowed(backend: Backend, known: BackendHealth, invocation: Invocation): Promise<void> {
  while (known.isCheckRequested) {
    if (mayCheck(known, Date.now())) return checkNow(backend, invocation);
    await sleep(POLL_MS);
  }
}

/** Checks a backend, unless the invocation has spent its subrequests: then a check that was requested is left to the next one. */
async function checkNow(backend: Backend, invocation: Invocation): Promise<void> {
  const { config, health, subrequests } = invocation;
  if (!subrequests.tryReserve(CHECK_SUBREQUESTS)) return;
  const known = healthOf(health, backend.id);
  const done = await subrequests.withConnection(async () => {
    const nowMs = Date.now();
    // Another invocation may have begun one while this one waited for a connection.
    if (!mayCheck(known, nowMs)) return undefined;
    beginCheck(known, nowMs, CHECK_LEASE_MS);
    const checked = await check(backend, config, (ask) => {
      known.lastAsk = ask;
      invocation.wake();
    });
    endCheck(known);
    return checked;
  });
  subrequests.refund(CHECK_SUBREQUESTS - (done?.asks ?? 0));
  if (!done) return;
  const change = takeResult(known, done.result, Date.now(), config.downTimeMs);
  emitChange(change, backend, invocation);
  // What was wrong may be over for all of them, such as a stopped database.
  if (change === "recovered") {
    for (const other of config.backends) {
      const isWaiting = isStandby(other, config.backends, health, Date.now());
      if (healthOf(health, other.id).ejection && !isWaiting) requestCheck(other, invocation);
    }
  }
  invocation.wake();
  if (config.shareHealth) invocation.ctx.waitUntil(share(known, invocation));
}

/**
 * Before the first selection of a cold isolate: resolves when the shared results are read, or have taken too long. Each request
 * reads for itself, since the promise of one must not be awaited by another.
 */
export function readWhenCold(invocation: Invocation, nowMs: number): Promise<unknown> | undefined {
  const { config, health, ctx } = invocation;
  const coldAfterMs = Math.max(config.healthCheckIntervalMs, COLD_AFTER_MS);
  if (!config.shareHealth || nowMs - health.readEndedMs <= coldAfterMs) return undefined;
  if (health.coldSinceMs <= health.readEndedMs) health.coldSinceMs = nowMs;
  const leftMs = health.coldSinceMs + COLD_WAIT_MS - nowMs;
  if (leftMs <= 0) return undefined;
  const reading = readShared(invocation);
  ctx.waitUntil(reading);
  return withTimeout(leftMs, reading);
}

/** Reads and takes in what other isolates have found; not while a cache operation of this invocation is under way. */
async function readShared(invocation: Invocation): Promise<void> {
  const { cacheUse, config, health } = invocation;
  if (cacheUse.isBusy) return;
  const beganMs = Date.now();
  health.readBeganMs = beganMs;
  const reading = useCache(invocation, async () => takeShared(await readEntry(config), beganMs, invocation));
  await withTimeout(READ_TIMEOUT_MS, reading);
  health.readEndedMs = Date.now();
  invocation.wake();
}

/** Takes in what a reading found that began at `beganMs`. */
function takeShared(entry: Awaited<ReturnType<typeof readEntry>>, beganMs: number, invocation: Invocation): void {
  const { cacheUse, config, health } = invocation;
  const nowMs = Date.now();
  for (const backend of config.backends) {
    const known = healthOf(health, backend.id);
    const shared = entry?.get(backend.id);
    known.sharedResult = shared?.result;
    if (shared) {
      mergeEjections(known, shared, nowMs);
      emitChange(takeResult(known, shared.result, nowMs, config.downTimeMs, true), backend, invocation);
    }
    // Two isolates that write at the same moment overwrite each other: the cache has no compare-and-set.
    const own = known.isShared ? undefined : known.result;
    const isSettled = own !== undefined && own.atMs < beganMs - READ_TIMEOUT_MS;
    cacheUse.isWriteDue ||= isSettled && isWorthSharing(own, shared?.result, config.healthCheckIntervalMs);
  }
}

/** Shares a new result, merged with what the others found last, where it says what they do not know. */
async function share(known: BackendHealth, invocation: Invocation): Promise<void> {
  const { config, health } = invocation;
  const isWorth = () => known.result && isWorthSharing(known.result, known.sharedResult, config.healthCheckIntervalMs);
  if (!isWorth()) return;
  if (Date.now() - health.readEndedMs > READ_EVERY_MS) await readShared(invocation);
  if (isWorth()) await write(invocation);
}

/** Writes all that is known: at once, or as soon as the cache operation that is under way has ended. */
async function write(invocation: Invocation): Promise<void> {
  const { cacheUse, config, health } = invocation;
  cacheUse.isWriteDue = cacheUse.isBusy;
  if (cacheUse.isBusy) return;
  for (const { id } of config.backends) {
    const known = healthOf(health, id);
    known.sharedResult = known.result;
  }
  await useCache(invocation, () => writeEntry(config, health));
}

/** Carries a cache operation out, unless no subrequest is left. */
async function useCache<T>(invocation: Invocation, operation: () => Promise<T>): Promise<T | undefined> {
  const { cacheUse, ctx, subrequests } = invocation;
  if (!subrequests.tryReserve(1)) return undefined;
  cacheUse.isBusy = true;
  const result = await subrequests.withConnection(operation);
  cacheUse.isBusy = false;
  // It holds what has just been read, too.
  if (cacheUse.isWriteDue) ctx.waitUntil(write(invocation));
  return result;
}

/** Says that a backend was ejected, or has recovered, wherever that was found out. */
export function emitChange(change: Change | undefined, backend: Backend, { counters, health, ray }: Invocation): void {
  if (!change) return;
  const known = healthOf(health, backend.id);
  const reason = ejectionReasonOf(known);
  // What a check says is told with its status.
  const isByCheck = !known.ejection?.isOutlier;
  const details = {
    backend: backend.id,
    status: (isByCheck && known.result?.status) || undefined,
    shared: (isByCheck && known.isShared) || undefined,
    ray,
  };
  if (reason) emit({ event: "ejected", reason, ...details }, counters);
  else emit({ event: "recovered", reason: "check: good", ...details }, counters);
}
