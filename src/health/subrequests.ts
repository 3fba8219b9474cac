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

/** How many checks and cache operations may wait for headers whatever the attempts of the request do. */
const OWN_CONNECTIONS = 2;

/**
 * What an invocation may spend beside the attempts of its request: those are set aside, so no check and no cache operation
 * can take an attempt's subrequest or delay its connection.
 */
export class Subrequests {
  #left: number;
  #connected = 0;
  #attempts = 0;
  readonly #waiting: (() => void)[] = [];

  /** `attempts`: the most that the request itself may make. */
  constructor(attempts: number) {
    this.#left = SUBREQUESTS_MAX - attempts;
  }

  get left(): number {
    return this.#left;
  }

  /** How many connections are taken that attempts might use: theirs, and those of the rest beyond its own. */
  get unsettled(): number {
    return this.#attempts + Math.max(0, this.#connected - OWN_CONNECTIONS);
  }

  /** Says how many attempts wait for headers now. */
  set attempts(count: number) {
    this.#attempts = count;
    this.#admit();
  }

  /** Sets `count` subrequests aside. Returns whether there were as many; if not, none is. */
  tryReserve(count: number): boolean {
    if (count > this.#left) return false;
    this.#left -= count;
    return true;
  }

  /** Gives back what was set aside and not needed. */
  refund(count: number): void {
    this.#left += count;
  }

  /** Carries out what was set aside, once a connection is free; at once where one is. */
  async withConnection<T>(subrequest: () => Promise<T>): Promise<T> {
    if (this.#isFree) this.#connected++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await subrequest();
    } finally {
      this.#connected--;
      this.#admit();
    }
  }

  /** One connection is left for the request's next attempt. */
  get #isFree(): boolean {
    return this.#connected < OWN_CONNECTIONS || this.#connected + this.#attempts < CONNECTIONS_MAX - 1;
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#isFree) {
      this.#connected++;
      this.#waiting.shift()?.();
    }
  }
}
