import type { Config } from "../config.ts";
import { hashText } from "../hash.ts";
import { CHECK_RESULTS, type Finding, type Health } from "./findings.ts";

/** An own name keeps the entry apart from what the zone caches for its visitors. */
const CACHE_NAME = "aiostreams-load-balancer";

/** How long the cache may keep the entry. */
const ENTRY_SECONDS = 120;

/** The largest entry that is read; one of two hundred backends takes a third of it. */
export const ENTRY_BYTES_MAX = 64 * 1024;

/**
 * Where the findings of a configuration are kept. With other backends, or another route to check them by, it is another
 * place: what was found of the old ones says nothing of the new ones. The host is the Worker's own, as the zone's cache wants.
 */
export function entryUrl({ publicOrigin, backends, healthCheckPath }: Config): string {
  const text = JSON.stringify([healthCheckPath, backends.map(({ id, origin }) => [id, origin])]);
  const digest = hashText(text).toString(16) + hashText(`${text} `).toString(16);
  return `${publicOrigin}/findings-${digest}`;
}

/**
 * Reads what the isolates of the data centre have shared: by id, what is known of the configured backends. `undefined` when
 * there is nothing to be had, whatever the reason: the Cache API may be absent or broken, and is no more than a help.
 */
export async function readEntry(config: Config): Promise<ReadonlyMap<string, Finding> | undefined> {
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

/** Shares all that is known; a failure is nobody's concern. */
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
export function formatEntry(config: Config, health: Health): string {
  const findings = config.backends.map(({ id }) => [id, health.backends.get(id)?.finding]);
  return JSON.stringify({ findings: Object.fromEntries(findings) });
}

/**
 * Reads an entry that may hold anything. What is no finding of a configured backend is left out; a time from the future
 * counts as now, since another machine's clock may be ahead.
 */
export function parseEntry(text: string, config: Config, nowMs: number): Map<string, Finding> {
  const read = new Map<string, Finding>();
  try {
    const { findings } = JSON.parse(text);
    for (const { id } of config.backends) {
      const finding = parseFinding(findings[id], nowMs);
      if (finding) read.set(id, finding);
    }
  } catch {
    // No JSON, or JSON of no object.
  }
  return read;
}

function parseFinding(found: unknown, nowMs: number): Finding | undefined {
  const { result: word, status, tookMs, atMs } = Object(found) as Record<string, unknown>;
  const result = CHECK_RESULTS.find((known) => known === word);
  if (!result || !isBetween(tookMs, 0, 60_000) || !isBetween(atMs, 0, Number.MAX_SAFE_INTEGER)) return undefined;
  if (status !== null && !isBetween(status, 100, 999)) return undefined;
  return { result, status, tookMs, atMs: Math.min(atMs, nowMs) };
}

function isBetween(value: unknown, min: number, max: number): value is number {
  return typeof value === "number" && value >= min && value <= max;
}
