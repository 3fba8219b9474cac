import { Backend, type Echo } from "./backend.ts";
import type { Script } from "./build.ts";
import { CacheService } from "./cache-service.ts";
import { backendVars, type LogLine, type Options, type StartOptions, Worker } from "./worker.ts";
import type { Vars } from "./workerd.ts";

export const IDS = ["cf", "duck", "koyeb"] as const;
export type Id = (typeof IDS)[number];

/** A backend in this process (`Backend`), or in one of its own (`BackendProcess`). */
interface AnyBackend {
  readonly id: string;
  readonly url: string;
  kill(): Promise<void>;
}

export interface LoadBalancerOptions<B extends AnyBackend = Backend> extends StartOptions {
  /** The ids of the backends; `IDS` unless it says otherwise. */
  readonly ids?: readonly string[];
  /** How many isolates it starts with, 1 unless it says otherwise; each is a workerd process of its own. */
  readonly isolates?: number;
  /** Whether they have a cache, one for all of them, as those of a data centre have. */
  readonly hasCache?: boolean;
  /** Starts a backend; without it they are in this process. */
  readonly startBackend?: (id: string) => Promise<B>;
}

/** Backends, the isolates of the Worker in front of them, and their cache. It ends with the scope of `await using`. */
export class LoadBalancer<B extends AnyBackend = Backend> implements AsyncDisposable {
  readonly #script: Script;
  readonly #vars: Vars;
  readonly #options: LoadBalancerOptions<B>;
  #backends: readonly B[] = [];
  #isolates: Worker[] = [];
  #cache: CacheService | undefined;

  /** Starts nothing yet. The variables are those of every isolate. */
  constructor(script: Script, vars: Vars = {}, options: LoadBalancerOptions<B> = {}) {
    this.#script = script;
    this.#vars = vars;
    this.#options = options;
  }

  /** Resolves once all of it runs; after `stop` it is a new one. */
  async start(): Promise<this> {
    const { ids = IDS, isolates = 1, hasCache = false, startBackend } = this.#options;
    const begin = startBackend ?? (async (id: string) => (await new Backend(id).start()) as AnyBackend as B);
    this.#isolates = [];
    try {
      if (hasCache) this.#cache = await CacheService.start();
      this.#backends = await Promise.all(ids.map(begin));
      await Promise.all(Array.from({ length: isolates }, () => this.isolate()));
    } catch (error) {
      await this.#end();
      throw error;
    }
    return this;
  }

  /** Starts one more isolate, which is cold; what is given here counts for it alone. */
  async isolate(vars: Vars = {}, options: StartOptions = {}): Promise<Worker> {
    const { wrappers, flags } = this.#options;
    const isolate = await Worker.start(
      this.#script,
      { ...backendVars(this.#backends), ...this.#vars, ...vars },
      {
        ...(wrappers !== undefined && { wrappers }),
        ...(flags !== undefined && { flags }),
        ...(this.#cache && { cacheService: this.#cache.address }),
        ...options,
      },
    );
    this.#isolates.push(isolate);
    return isolate;
  }

  /** The backends, in the order of their ids. */
  get backends(): readonly B[] {
    return this.#backends;
  }

  backend(id: string): B {
    const found = this.#backends.find((backend) => backend.id === id);
    if (!found) throw new Error(`there is no backend ${id}`);
    return found;
  }

  get cf(): B {
    return this.backend("cf");
  }

  get duck(): B {
    return this.backend("duck");
  }

  get koyeb(): B {
    return this.backend("koyeb");
  }

  /** All isolates that were started, those that have ended included. */
  get isolates(): readonly Worker[] {
    return this.#isolates;
  }

  /** The first isolate. */
  get worker(): Worker {
    const [worker] = this.#isolates;
    if (!worker) throw new Error("there is no isolate");
    return worker;
  }

  get cache(): CacheService {
    if (!this.#cache) throw new Error("there is no cache");
    return this.#cache;
  }

  /** The id of the backend that serves a request. Rejects when the answer is not a backend's own. */
  async servedBy(options: Options = {}, worker: Worker = this.worker): Promise<string> {
    const { status, text } = await worker.fetch("/who", options);
    if (status !== 200) throw new Error(`${status}: ${text}`);
    return (JSON.parse(text) as Echo).id;
  }

  /** The ids of the backends that serve these addresses when they come without a cookie, by address. */
  async homes(ips: readonly string[], worker: Worker = this.worker): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (let i = 0; i < ips.length; i += 25) {
      const batch = ips.slice(i, i + 25);
      await Promise.all(batch.map(async (ip) => found.set(ip, await this.servedBy({ ip }, worker))));
    }
    return found;
  }

  /** Whether the Worker sends user traffic to a backend now. */
  async isUp(id: string, worker: Worker = this.worker): Promise<boolean> {
    return (await this.servedBy(boundTo(id), worker)) === id;
  }

  /** What the log says of a backend's health so far: `ejected` and `recovered` in turn. */
  changes(id: string, worker: Worker = this.worker): string[] {
    const isChange = ({ event, backend }: LogLine) => backend === id && /^(ejected|recovered)$/.test(event);
    return worker.log.filter(isChange).map(({ event }) => event);
  }

  /** Ends all of it. Rejects when an isolate has thrown what nothing caught. */
  async stop(): Promise<void> {
    const isolates = this.#isolates;
    await this.#end();
    const uncaught = isolates.flatMap(({ output }) => output.split("\n").filter((line) => /uncaught/i.test(line)));
    if (uncaught.length > 0) throw new Error(`an isolate has thrown: ${uncaught.join("\n")}`);
  }

  async #end(): Promise<void> {
    await Promise.all(this.#isolates.map((isolate) => isolate.stop()));
    await Promise.all([this.#cache?.stop(), ...this.#backends.map((backend) => backend.kill())]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** The options of a client whose session is on this backend. */
export function boundTo<More extends Options>(id: string, options?: More) {
  return Object.assign({}, options, { headers: { Cookie: `aiostreams_backend=${id}`, ...options?.headers } });
}

/** So many client addresses, in the networks for documentation (RFC 5737). */
export function addresses(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `203.0.${113 - (i >> 8)}.${i & 255}`);
}
