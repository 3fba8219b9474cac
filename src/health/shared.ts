import type { Config } from "../config.ts";
import { hashText } from "../hash.ts";
import { type CheckResult, CLOCK_SKEW_MAX_MS, type Health, RESULT_KINDS } from "./health-state.ts";

/** An own name keeps the entry apart from what the zone caches for its visitors. */
const CACHE_NAME = "aiostreams-load-balancer";

/** A family asks once in an evening, and an outage that was found once must not cost its next visit again. */
const ENTRY_SECONDS = 86_400;

/** The largest entry that is read; one of two hundred backends takes half of it. */
export const ENTRY_BYTES_MAX = 64 * 1024;

/** More ejections than that, within ten minutes, change no term. */
const EJECTIONS_MAX = 20;

/** What the isolates share of one backend. */
export interface SharedHealth {
  readonly result: CheckResult;
  /** When it was ejected in the last ten minutes. */
  readonly ejectionsMs: readonly number[];
}

/**
 * Where the results of a configuration are kept. With other backends, or another way to check them, it is another place: what
 * was found of the old ones says nothing of the new ones. The host is the Worker's own, as the zone's cache wants.
 */
export function entryUrl({ publicOrigin, backends, healthCheckPath, healthCheckExpect }: Config): string {
  const text = JSON.stringify([healthCheckPath, healthCheckExpect, backends.map(({ id, origin }) => [id, origin])]);
  const digest = hashText(text).toString(16) + hashText(`${text} `).toString(16);
  return `${publicOrigin}/health-${digest}`;
}

/**
 * Reads what the isolates of the data centre have shared: by id, what is known of the configured backends. `undefined` when
 * there is nothing to be had, whatever the reason: the Cache API may be absent or broken, and is no more than a help.
 */
export async function readEntry(config: Config): Promise<ReadonlyMap<string, SharedHealth> | undefined> {
  try {
    const cache = await caches.open(CACHE_NAME);
    const response = await cache.match(entryUrl(config));
    const isTooLarge = Number(response?.headers.get("Content-Length")) > ENTRY_BYTES_MAX;
    if (isTooLarge) await response?.body?.cancel();
    else if (response) return parseEntry(await response.text(), config, Date.now());
  } catch {
    // It is found out here instead.
  }
  return undefined;
}

/** Shares all that is known. A failure harms no request. */
export async function writeEntry(config: Config, health: Health): Promise<void> {
  try {
    const cache = await caches.open(CACHE_NAME);
    const headers = { "Content-Type": "application/json", "Cache-Control": `max-age=${ENTRY_SECONDS}` };
    await cache.put(entryUrl(config), new Response(formatEntry(config, health), { headers }));
  } catch {
    // The other isolates find it out for themselves.
  }
}

/** The entry: ids, results, statuses and times. No host name, no path. */
export function formatEntry({ backends }: Pick<Config, "backends">, health: Health): string {
  const shared = backends.flatMap(({ id }) => {
    const { result, ejectionsMs = [] } = health.backends.get(id) ?? {};
    return result ? [[id, { result, ejectionsMs: ejectionsMs.slice(-EJECTIONS_MAX) }]] : [];
  });
  return JSON.stringify(Object.fromEntries(shared));
}

/**
 * Reads an entry that may hold anything. What is no result of a configured backend is left out, and so is one from the future:
 * another machine's clock may be ahead, but not by hours.
 */
export function parseEntry(
  text: string,
  { backends }: Pick<Config, "backends">,
  nowMs: number,
): Map<string, SharedHealth> {
  const read = new Map<string, SharedHealth>();
  try {
    const entry = JSON.parse(text);
    for (const { id } of backends) {
      const { result: found, ejectionsMs } = Object(entry[id]);
      const result = parseResult(found, nowMs);
      if (result) read.set(id, { result, ejectionsMs: parseTimes(ejectionsMs, nowMs) });
    }
  } catch {
    // No JSON, or JSON of no object.
  }
  return read;
}

function parseResult(found: unknown, nowMs: number): CheckResult | undefined {
  const { kind: word, status, tookMs, atMs } = Object(found) as Record<string, unknown>;
  const kind = RESULT_KINDS.find((known) => known === word);
  if (!kind || !isBetween(tookMs, 0, 60_000) || !isBetween(atMs, 0, nowMs + CLOCK_SKEW_MAX_MS)) return undefined;
  if (status !== null && !isBetween(status, 100, 999)) return undefined;
  // Else it would hide what is found here until the other clock's moment has come.
  return { kind, status, tookMs, atMs: Math.min(atMs, nowMs) };
}

function parseTimes(found: unknown, nowMs: number): number[] {
  if (!Array.isArray(found)) return [];
  return found.slice(-EJECTIONS_MAX).filter((ms) => isBetween(ms, 0, nowMs + CLOCK_SKEW_MAX_MS));
}

function isBetween(value: unknown, min: number, max: number): value is number {
  return typeof value === "number" && value >= min && value <= max;
}
