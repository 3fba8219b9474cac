import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject } from "vitest";
import { Backend } from "./backend.ts";
import { CacheService } from "./cache-service.ts";
import { IDS } from "./fixture.ts";
import { type Answer, backendVars, type Options, type StartOptions, Worker } from "./worker.ts";
import type { Vars } from "./workerd.ts";

/** Backends, a cache, and as many isolates of the Worker as a test starts. It ends with the scope of `await using`. */
export class DataCentre implements AsyncDisposable {
  readonly cache: CacheService;
  readonly backends: readonly Backend[];
  readonly #vars: Vars;
  readonly #isolates: Worker[] = [];

  private constructor(cache: CacheService, backends: readonly Backend[], vars: Vars) {
    this.cache = cache;
    this.backends = backends;
    this.#vars = vars;
  }

  /** The variables are those of every isolate. */
  static async start(vars: Vars = {}, ids: readonly string[] = IDS): Promise<DataCentre> {
    const backends = await Promise.all(ids.map((id) => new Backend(id).start()));
    return new DataCentre(await CacheService.start(), backends, vars);
  }

  get cf(): Backend {
    return this.backend("cf");
  }

  get duck(): Backend {
    return this.backend("duck");
  }

  get koyeb(): Backend {
    return this.backend("koyeb");
  }

  backend(id: string): Backend {
    const found = this.backends.find((backend) => backend.id === id);
    if (!found) throw new Error(`there is no backend ${id}`);
    return found;
  }

  /** Starts an isolate, which is cold; with options of its own it has no cache that they do not name. */
  async isolate(vars: Vars = {}, options: StartOptions = { cacheService: this.cache.address }): Promise<Worker> {
    const all = { ...backendVars(this.backends), ...this.#vars, ...vars };
    const isolate = await Worker.start(inject("script"), all, options);
    this.#isolates.push(isolate);
    return isolate;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#isolates.map((isolate) => isolate.stop()));
    await Promise.all([this.cache.stop(), ...this.backends.map((backend) => backend.kill())]);
    for (const { output } of this.#isolates) {
      const lines = output.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
      expect(lines, "nothing is thrown that nobody catches").toEqual([]);
    }
  }
}

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
