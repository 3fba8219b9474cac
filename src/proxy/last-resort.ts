import type { Backend } from "../config.ts";
import { healthOf, isCheckOverdue, isCheckUnderWay, NEVER } from "../health/findings.ts";
import { hint, type Invocation } from "../health/monitor.ts";

/** How long a last resort waits for its checks. */
const PATIENCE_MS = 1_000;

/**
 * What a request does when nobody is left that is up: what is known may be out of date, so those that are down are checked, side
 * by side. A good check makes its backend a candidate like any other.
 */
export class LastResort {
  readonly #invocation: Invocation;
  #startedMs: number | undefined;
  #checked: readonly Backend[] = [];

  constructor(invocation: Invocation) {
    this.#invocation = invocation;
  }

  /** Asks for the checks, once. What was found before may have changed since, even a moment ago. */
  begin(down: readonly Backend[], nowMs: number): void {
    if (this.#startedMs !== undefined) return;
    this.#startedMs = nowMs;
    this.#checked = down;
    for (const backend of down) hint(backend, this.#invocation);
  }

  /** Whether a check may still turn out good in time. */
  isLooking(nowMs: number): boolean {
    if (nowMs - (this.#startedMs ?? NEVER) >= PATIENCE_MS) return false;
    return this.#checked.some(({ id }) => {
      const known = healthOf(this.#invocation.health, id);
      // One that has been silent for so long has had its time, whoever asked.
      return !isCheckOverdue(known, nowMs) && (known.isHinted || isCheckUnderWay(known, nowMs));
    });
  }

  /** One whose check is good although it is out for its failures: better than none. */
  found(down: readonly Backend[]): Backend | undefined {
    return down.find(({ id }) => healthOf(this.#invocation.health, id).finding?.result === "good");
  }
}
