import type { Backend } from "../config.ts";
import { healthOf, isCheckUnderWay, SUSPECT_AFTER_MS } from "../health/findings.ts";
import { hint, type Invocation } from "../health/monitor.ts";

/** How long a last resort waits for its checks, and how old a finding may be that it does without them. */
const PATIENCE_MS = 1_000;

/**
 * What a request does when nobody is left that is up: what is known may be out of date, so those that are down are checked, side
 * by side. A good check makes its backend a candidate like any other.
 */
export class LastResort {
  #untilMs: number | undefined;

  /** Asks for the checks, once, but for those that were made a moment ago. */
  begin(down: readonly Backend[], invocation: Invocation, nowMs: number): void {
    if (this.#untilMs !== undefined) return;
    this.#untilMs = nowMs + PATIENCE_MS;
    for (const backend of down) {
      const known = healthOf(invocation.health, backend.id);
      const isFresh = known.finding !== undefined && nowMs - known.finding.atMs < PATIENCE_MS;
      if (!isFresh && !isCheckUnderWay(known, nowMs)) hint(backend, invocation);
    }
  }

  /** Whether a check may still turn out good in time. */
  isLooking(down: readonly Backend[], { health }: Invocation, nowMs: number): boolean {
    if (this.#untilMs === undefined || nowMs >= this.#untilMs) return false;
    return down.some(({ id }) => {
      const known = healthOf(health, id);
      return known.isHinted || (isCheckUnderWay(known, nowMs) && nowMs - known.checkStartedMs < SUSPECT_AFTER_MS);
    });
  }

  /** One whose check is good although it is out for its failures: better than none. */
  found(down: readonly Backend[], { health }: Invocation): Backend | undefined {
    return down.find(({ id }) => healthOf(health, id).finding?.result === "good");
  }
}
