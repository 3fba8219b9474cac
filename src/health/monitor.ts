import type { Backend, Config } from "../config.ts";
import type { Counters } from "../counters.ts";
import { report } from "../events.ts";
import { within } from "../within.ts";
import { CHECK_SUBREQUESTS, CHECK_TIMEOUT_MS, check } from "./check.ts";
import {
  type BackendHealth,
  BETWEEN_CHECKS_MS,
  beginCheck,
  type Change,
  compareFindings,
  downReason,
  endCheck,
  type Health,
  healthOf,
  isCheckDue,
  isDown,
  mayCheck,
  NEVER,
  takeFinding,
} from "./findings.ts";
import { readEntry, writeEntry } from "./shared.ts";
import type { Subrequests } from "./subrequests.ts";

/** What a request brings along for the health of the backends: the isolate's data, and its own invocation's means. */
export interface Invocation {
  readonly config: Config;
  readonly health: Health;
  readonly counters: Counters;
  readonly ctx: Pick<ExecutionContext, "waitUntil">;
  readonly ray: string | null;
  readonly subrequests: Subrequests;
}

/** How long a lease on a check lasts: the check itself and what the runtime adds to it. */
const CHECK_LEASE_MS = CHECK_TIMEOUT_MS + 1_000;

/** How many checks one passing request may begin, so that its own failures can still have theirs. */
const CHECKS_MAX = 6;

/** How often an isolate reads what others have found, at most. */
const READ_EVERY_MS = 2_000;

/** An isolate that has read nothing for so long, or for `HEALTH_CHECK_INTERVAL`, knows too little to choose a backend. */
const COLD_AFTER_MS = 5_000;

/** For how long the first request of such an isolate waits for the reading. */
const COLD_WAIT_MS = 100;

/** How long a write waits for the reading before it. */
const READ_WAIT_MS = 1_000;

/** Begins the checks that are due now that a request passes, and reads what other isolates found. Nobody waits for either. */
export function tend(invocation: Invocation, nowMs: number): void {
  const { config, health } = invocation;
  let begun = 0;
  for (const backend of config.backends) {
    const known = healthOf(health, backend.id);
    if (mayCheck(known, nowMs) && isCheckDue(known, nowMs, config, isAsleep(backend, invocation))) {
      if (++begun > CHECKS_MAX) break;
      invocation.ctx.waitUntil(checkNow(backend, known, invocation));
    }
  }
  if (config.shareHealth && nowMs - health.sharedReadMs > READ_EVERY_MS) {
    invocation.ctx.waitUntil(readShared(invocation));
  }
}

/**
 * Checks every backend that is awake, but for those whose finding is younger than `maxAgeMs`; for a person who looks. Resolves
 * when the checks of this invocation have ended, after `waitMs` at the latest.
 */
export async function checkAll(invocation: Invocation, maxAgeMs: number, waitMs: number): Promise<void> {
  const { config, health, ctx } = invocation;
  const nowMs = Date.now();
  const checks = config.backends.flatMap((backend) => {
    const known = healthOf(health, backend.id);
    const isFresh = nowMs - (known.finding?.atMs ?? NEVER) < maxAgeMs;
    if (isFresh || isAsleep(backend, invocation) || !mayCheck(known, nowMs)) return [];
    return [checkNow(backend, known, invocation)];
  });
  const all = Promise.all(checks);
  ctx.waitUntil(all);
  await within(waitMs, all);
}

/** Whether a backend is a backup that does not serve, so that a sleeping host is left asleep. */
export function isAsleep(backend: Backend, { config, health }: Pick<Invocation, "config" | "health">): boolean {
  return backend.isBackup && config.backends.some(({ id, isBackup }) => !isBackup && !isDown(healthOf(health, id)));
}

/** Makes a check of a backend due: now, or as soon as one may begin. */
export function hint(backend: Backend, invocation: Invocation): void {
  const known = healthOf(invocation.health, backend.id);
  // One waits for all; if the runtime cancels it, the check is left to the next request.
  if (!known.isHinted) {
    known.isHinted = true;
    invocation.ctx.waitUntil(checkWhenAllowed(backend, known, invocation));
  }
}

async function checkWhenAllowed(backend: Backend, known: BackendHealth, invocation: Invocation): Promise<void> {
  while (known.isHinted) {
    if (mayCheck(known, Date.now())) return checkNow(backend, known, invocation);
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_CHECKS_MS));
  }
}

/** Checks a backend, unless the invocation has spent its subrequests: then the check stays due. */
export async function checkNow(backend: Backend, known: BackendHealth, invocation: Invocation): Promise<void> {
  const { config, subrequests } = invocation;
  if (!subrequests.spend(CHECK_SUBREQUESTS)) return;
  const finding = await subrequests.connected(async () => {
    const nowMs = Date.now();
    // Another invocation may have begun one while this one waited for a connection.
    if (!mayCheck(known, nowMs)) return undefined;
    beginCheck(known, nowMs, CHECK_LEASE_MS);
    const finding = await check(backend, config);
    endCheck(known);
    return finding;
  });
  if (!finding) return;
  const change = takeFinding(known, finding, Date.now(), false);
  reportChange(change, backend, known, invocation);
  if (config.shareHealth) invocation.ctx.waitUntil(share(invocation));
}

/** Before the first selection of a cold isolate: resolves when the shared findings are read, or have taken too long. */
export function readWhenCold(invocation: Invocation, nowMs: number): Promise<unknown> | undefined {
  const { config, health, ctx } = invocation;
  const coldAfterMs = Math.max(config.healthCheckIntervalMs, COLD_AFTER_MS);
  if (!config.shareHealth || nowMs - health.sharedReadMs <= coldAfterMs) return undefined;
  const reading = readShared(invocation);
  ctx.waitUntil(reading);
  return within(COLD_WAIT_MS, reading);
}

/** Takes in what other isolates have found. */
async function readShared(invocation: Invocation): Promise<void> {
  const { config, health, subrequests } = invocation;
  if (!subrequests.spend(1)) return;
  const startedMs = Date.now();
  health.sharedReadMs = startedMs;
  const shared = await subrequests.connected(() => readEntry(config));
  let isOwnLost = false;
  for (const backend of config.backends) {
    const known = healthOf(health, backend.id);
    const finding = shared?.get(backend.id);
    if (finding) reportChange(takeFinding(known, finding, Date.now(), true), backend, known, invocation);
    // Two isolates that write at the same moment overwrite each other: the cache has no compare-and-set.
    const own = known.isShared ? undefined : known.finding;
    if (own && own.atMs < startedMs - READ_WAIT_MS && !(finding && compareFindings(finding, own) >= 0))
      isOwnLost = true;
  }
  if (isOwnLost && subrequests.spend(1)) await subrequests.connected(() => writeEntry(config, health));
}

/** Shares a new finding, merged with what the others found last. */
async function share(invocation: Invocation): Promise<void> {
  const { config, health, subrequests } = invocation;
  if (Date.now() - health.sharedReadMs > READ_EVERY_MS) await within(READ_WAIT_MS, readShared(invocation));
  if (subrequests.spend(1)) await subrequests.connected(() => writeEntry(config, health));
}

/** Says that a backend was ejected, or is back, wherever that was found out. */
export function reportChange(
  change: Change | undefined,
  backend: Backend,
  known: BackendHealth,
  { counters, ray }: Pick<Invocation, "counters" | "ray">,
): void {
  if (!change) return;
  const reason = downReason(known);
  const status = known.finding?.status;
  const facts = {
    backend: backend.id,
    ...(status && reason !== "failures in a row" && { status }),
    ...(known.isShared && reason !== "failures in a row" && { shared: true as const }),
    ray,
  };
  if (reason) report({ event: "ejected", reason, ...facts }, counters);
  else report({ event: "back", reason: "check: good", ...facts }, counters);
}
