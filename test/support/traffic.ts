import { setTimeout as sleep } from "node:timers/promises";
import type { Answer, Options, Worker } from "./worker.ts";

/** An answer of a stream of requests. */
export interface Passed extends Answer {
  readonly tookMs: number;
}

/** Requests that begin every so often, whether or not those before them are answered, until the end of the scope of `await using`. */
export class Traffic implements AsyncDisposable {
  readonly passed: Passed[] = [];
  readonly #left = new AbortController();
  readonly #sending: Promise<void>;

  private constructor(worker: Worker, options: (i: number) => Options, everyMs: number) {
    this.#sending = this.#send(worker, options, everyMs);
    this.#sending.catch(() => {});
  }

  static begin(worker: Worker, options: Options | ((i: number) => Options) = {}, everyMs = 100): Traffic {
    return new Traffic(worker, typeof options === "function" ? options : () => options, everyMs);
  }

  /** Resolves to all answers once the last one is there. */
  async end(): Promise<readonly Passed[]> {
    this.#left.abort();
    await this.#sending;
    return this.passed;
  }

  async #send(worker: Worker, options: (i: number) => Options, everyMs: number): Promise<void> {
    const open: Promise<void>[] = [];
    for (let i = 0; !this.#left.signal.aborted; i++) {
      const startedMs = performance.now();
      const answer = worker.fetch(`/traffic/${i}`, options(i));
      open.push(answer.then((answer) => void this.passed.push({ ...answer, tookMs: performance.now() - startedMs })));
      await sleep(everyMs);
    }
    await Promise.all(open);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
