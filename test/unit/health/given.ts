import { type BackendHealth, type Finding, healthOf, newHealth } from "../../../src/health/findings.ts";

const STATUSES = { good: 200, "bad status": 503, "network error": null, "no answer": null };

/** What a check found that ended at `atMs`. */
export function found(result: Finding["result"], atMs: number, tookMs = 10): Finding {
  return { result, status: STATUSES[result], tookMs, atMs };
}

/** A backend of which nothing is known yet. */
export function unknownBackend(nowMs = 0): BackendHealth {
  return healthOf(newHealth(nowMs), "cf");
}
