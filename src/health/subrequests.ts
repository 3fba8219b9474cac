/**
 * The subrequests that one invocation may make on the free plan, cache operations included
 * (https://developers.cloudflare.com/workers/platform/limits/#subrequests).
 */
export const SUBREQUESTS_MAX = 50;

/**
 * The connections of one invocation that may wait for headers; the runtime queues a seventh `fetch`
 * (https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections).
 */
export const CONNECTIONS_MAX = 6;

/**
 * What an invocation may spend beside the attempts of its request: those are reserved, so no check and no cache operation
 * can take an attempt's subrequest or delay its connection.
 */
export class Subrequests {
  #left: number;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** `attempts` and `openAttempts`: the most that the request itself may make, and may have waiting at a time. */
  constructor(attempts: number, openAttempts: number) {
    this.#left = SUBREQUESTS_MAX - attempts;
    this.#free = CONNECTIONS_MAX - openAttempts;
  }

  /** Sets `count` subrequests aside. Returns whether there were as many; if not, nothing is spent. */
  spend(count: number): boolean {
    if (count > this.#left) return false;
    this.#left -= count;
    return true;
  }

  /** Carries out what was paid for, once a connection is free; at once where one is. */
  async connected<T>(subrequest: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await subrequest();
    } finally {
      // The place goes straight to the next one that waits.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
