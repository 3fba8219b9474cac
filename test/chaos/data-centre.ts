import { setTimeout as sleep } from "node:timers/promises";
import type { Script } from "../support/build.ts";
import type { Random } from "../support/random.ts";
import { until } from "../support/waiting.ts";
import { type StartOptions, Worker } from "../support/worker.ts";
import type { Vars } from "../support/workerd.ts";
import { start } from "./ending.ts";

/** How long an isolate lives. */
export const LIFE_MS = 15_000;

/** How long the requests of an isolate that gets no new ones may take to end. */
const LAST_REQUESTS_MS = 10_000;

interface Isolate {
  readonly worker: Worker;
  requests: number;
}

/** Several isolates, each a workerd process of its own, that are replaced one after the other. */
export class DataCentre {
  readonly #script: Script;
  readonly #vars: Vars;
  readonly #options: StartOptions;
  #isolates: Isolate[] = [];
  replaced = 0;
  /** All that they wrote, those that are gone included. */
  readonly workers: Worker[] = [];

  private constructor(script: Script, vars: Vars, options: StartOptions) {
    this.#script = script;
    this.#vars = vars;
    this.#options = options;
  }

  static async start(count: number, script: Script, vars: Vars, options: StartOptions): Promise<DataCentre> {
    const dataCentre = new DataCentre(script, vars, options);
    for (let i = 0; i < count; i++) dataCentre.#isolates.push(await dataCentre.#isolate());
    return dataCentre;
  }

  /** Each isolate once. */
  async each(visit: (worker: Worker) => Promise<unknown>): Promise<void> {
    for (const { worker } of this.#isolates) await visit(worker);
  }

  /** Sends a request to one of the isolates that live. */
  async withAny<T>(random: Random, request: (worker: Worker) => Promise<T>): Promise<T> {
    const isolate = random.pick(this.#isolates);
    isolate.requests++;
    try {
      return await request(isolate.worker);
    } finally {
      isolate.requests--;
    }
  }

  /** Replaces one isolate after the other, so that each of them has lived for `LIFE_MS`. */
  async keepReplacing(untilMs: number): Promise<void> {
    const everyMs = LIFE_MS / this.#isolates.length;
    const retirements: Promise<void>[] = [];
    for (let dueMs = performance.now() + everyMs; dueMs < untilMs; dueMs += everyMs) {
      // Its successor takes a moment to start, and the two never get requests at the same time.
      const successor = await this.#isolate();
      await sleep(Math.max(0, dueMs - performance.now()));
      const [oldest, ...others] = this.#isolates as [Isolate, ...Isolate[]];
      this.#isolates = [...others, successor];
      this.replaced++;
      retirements.push(retire(oldest));
    }
    await Promise.all(retirements);
  }

  async #isolate(): Promise<Isolate> {
    const worker = await start(
      () => Worker.start(this.#script, this.#vars, this.#options),
      (worker) => worker.stop(),
    );
    this.workers.push(worker);
    return { worker, requests: 0 };
  }
}

/** Cloudflare, too, lets an isolate end what it has begun. */
async function retire(isolate: Isolate): Promise<void> {
  await until("its requests have ended", () => isolate.requests === 0, LAST_REQUESTS_MS).catch(() => {});
  await isolate.worker.stop();
}
