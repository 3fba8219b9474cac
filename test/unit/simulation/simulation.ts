import { AsyncLocalStorage } from "node:async_hooks";
import { afterEach, beforeEach, vi } from "vitest";
import { parseConfig } from "../../../src/config.ts";
import { inClientOrder } from "../../../src/selection/candidates.ts";

/** How long a backend takes over what. `never` waits until it is aborted. */
export interface Reply {
  readonly afterMs?: number;
  /** A response, a connection that breaks, or nothing at all. */
  readonly gives: (() => Response) | "error" | "never";
}

/** What a backend does with a request that has reached it. */
export type Behaviour = (asked: Asked) => Reply;

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly isCheck: boolean;
  readonly init: RequestInit;
  readonly atMs: number;
}

const HEALTHY = '{"success":true,"detail":"OK"}';

export const status =
  (code: number, headers: Record<string, string> = {}, text = `says ${code}`): Reply["gives"] =>
  () =>
    new Response(code === 204 || code === 304 ? null : text, { status: code, headers });

/** Serves users and checks; `afterMs` away. */
export const works =
  (afterMs = 5): Behaviour =>
  ({ isCheck }) => ({ afterMs, gives: status(200, {}, isCheck ? HEALTHY : "fine") });

/** Answers the same to everything, its health route included: its platform speaks for it. */
export const always =
  (gives: Reply["gives"], afterMs = 5): Behaviour =>
  () => ({ afterMs, gives });

export const refuses = always("error", 1);
export const frozen = always("never");

/** The application does one thing, the health route another. */
export const split =
  (app: Behaviour, health: Behaviour): Behaviour =>
  (asked) =>
    asked.isCheck ? health(asked) : app(asked);

/** From a moment on, in ms since the start, it is another one. */
export const changing =
  (before: Behaviour, atMs: number, after: Behaviour): Behaviour =>
  (asked) =>
    asked.atMs < atMs ? before(asked) : after(asked);

/** Not as a literal: the types of Node, under which these tests are checked, know nothing of Workers. */
const WORKER = "../../../src/index.ts";

const DOMAIN = "aiostreams.example.com";
const START_MS = Date.UTC(2026, 0, 1);

interface Handler {
  fetch(request: Request, env: unknown, ctx: unknown): Promise<Response>;
}

export interface RequestOptions {
  readonly ip?: string;
  readonly cookie?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  /** The backend that the session cookie names now, if one was set. */
  readonly cookie: string | undefined;
  /** The one that answered, by the tests' own header. */
  readonly backend: string | undefined;
  /** When the answer came, in ms since the start, and how long it took. */
  readonly atMs: number;
  readonly tookMs: number;
}

interface InvocationCount {
  waiting: number;
  maxWaiting: number;
  subrequests: number;
}

/**
 * Backends in virtual time, and as many isolates of the whole Worker as a test starts: every `fetch`, timer and clock is
 * simulated, so that a rule in milliseconds is proved in milliseconds, on any machine.
 */
export class Simulation {
  readonly behaviours = new Map<string, Behaviour>();
  /** What each backend was asked, checks apart. */
  readonly asked: (Asked & { readonly backend: string })[] = [];
  readonly checks: (Asked & { readonly backend: string })[] = [];
  readonly log: Record<string, unknown>[] = [];
  /** The Cache API of the data centre; `undefined`: there is none. */
  cache: Map<string, string> | undefined = new Map();
  cacheDelayMs = 1;
  /** The most fetches that waited for headers at a time, and how many subrequests were made, by invocation. */
  readonly invocations: InvocationCount[] = [];
  readonly vars: Record<string, unknown>;
  readonly #current = new AsyncLocalStorage<InvocationCount>();

  constructor(behaviours: Record<string, Behaviour>, vars: Record<string, unknown> = {}) {
    for (const [id, behaviour] of Object.entries(behaviours)) this.behaviours.set(id, behaviour);
    const backends = Object.keys(behaviours).map((id) => [`BACKEND_${id.toUpperCase()}`, `${id}.example.net`]);
    this.vars = { PRIMARY_DOMAIN: DOMAIN, SERVED_BY_HEADER: "X-Served-By", ...Object.fromEntries(backends), ...vars };
  }

  get nowMs(): number {
    return Date.now() - START_MS;
  }

  set(id: string, behaviour: Behaviour): void {
    this.behaviours.set(id, behaviour);
  }

  checksOf(id: string): number {
    return this.checks.filter(({ backend }) => backend === id).length;
  }

  askedOf(id: string): number {
    return this.asked.filter(({ backend }) => backend === id).length;
  }

  events(name: string): Record<string, unknown>[] {
    return this.log.filter(({ event }) => event === name);
  }

  /** An address of a client whose own order begins with these backends; `n`: one of several such. */
  ipOf(order: string, n = 0): string {
    let found = -1;
    for (let i = 0; ; i++) {
      const ip = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
      const { backends } = parseConfig(this.vars);
      const ids = inClientOrder(backends, { stickyBackend: undefined, key: ip }).map(({ id }) => id);
      if (ids.join("").startsWith(order) && ++found === n) return ip;
    }
  }

  /** Changes what the data centre shares of a backend: its last result, and its ejections. */
  share(id: string, result: object, ejectionsMs?: readonly number[]): void {
    for (const [key, text] of this.cache ?? []) {
      const entry = JSON.parse(text);
      Object.assign(entry[id].result, result);
      if (ejectionsMs) entry[id].ejectionsMs = ejectionsMs;
      this.cache?.set(key, JSON.stringify(entry));
    }
  }

  /** A new isolate, which knows nothing. */
  async isolate(vars: Record<string, unknown> = {}): Promise<Isolate> {
    vi.resetModules();
    const { default: handler } = (await import(WORKER)) as { default: Handler };
    return new Isolate(this, handler, { ...this.vars, ...vars });
  }

  /** Lets virtual time pass. */
  async pass(ms: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms);
  }

  async until<T>(promise: Promise<T>, limitMs = 200_000): Promise<T> {
    let isDone = false;
    const finish = () => {
      isDone = true;
    };
    promise.then(finish, finish);
    await vi.advanceTimersByTimeAsync(0);
    const endMs = Date.now() + limitMs;
    for (let idle = 0; !isDone; idle = vi.getTimerCount() === 0 ? idle + 1 : 0) {
      if (Date.now() >= endMs || idle > 1_000) throw new Error(`nothing has come within ${limitMs} ms of virtual time`);
      await vi.advanceTimersToNextTimerAsync();
    }
    return promise;
  }

  async fetch(input: string | Request, init: RequestInit = {}): Promise<Response> {
    const url = new URL(typeof input === "string" ? input : input.url);
    const id = url.hostname.split(".")[0] ?? "";
    const behaviour = this.behaviours.get(id);
    if (!behaviour) throw new Error(`there is no backend ${id}`);
    const path = (typeof input === "string" ? input : input.url).slice(url.origin.length);
    const method = init.method ?? (typeof input === "string" ? "GET" : input.method);
    const isCheck = path === "/api/v1/health";
    const asked = { method, path, headers: new Headers(init.headers), isCheck, init, atMs: this.nowMs };
    (isCheck ? this.checks : this.asked).push({ ...asked, backend: id });
    const { afterMs = 0, gives } = behaviour(asked);
    const invocation = this.#current.getStore();
    if (invocation) {
      invocation.subrequests++;
      invocation.maxWaiting = Math.max(invocation.maxWaiting, ++invocation.waiting);
    }
    const { signal } = init;
    return new Promise<Response>((resolve, reject) => {
      const end = (settle: () => void) => {
        if (invocation) invocation.waiting--;
        settle();
      };
      const onAbort = () => end(() => reject(new DOMException("aborted", "AbortError")));
      if (signal?.aborted) return onAbort();
      signal?.addEventListener("abort", onAbort);
      if (gives === "never") return;
      setTimeout(() => {
        if (signal?.aborted) return;
        signal?.removeEventListener("abort", onAbort);
        end(() => (gives === "error" ? reject(new Error("connection broke")) : resolve(gives())));
      }, afterMs);
    });
  }

  openCache(): unknown {
    const later = () => new Promise((resolve) => setTimeout(resolve, this.cacheDelayMs));
    const count = () => {
      const invocation = this.#current.getStore();
      if (invocation) invocation.subrequests++;
    };
    return {
      match: async (key: string) => {
        count();
        await later();
        const text = this.cache?.get(key);
        return text === undefined ? undefined : new Response(text);
      },
      put: async (key: string, response: Response) => {
        count();
        const text = await response.text();
        await later();
        this.cache?.set(key, text);
      },
    };
  }

  /** Runs an invocation, and counts what it does, also after its answer. */
  invoke<T>(run: () => Promise<T>): Promise<T> {
    const count = { waiting: 0, maxWaiting: 0, subrequests: 0 };
    this.invocations.push(count);
    return this.#current.run(count, run);
  }
}

/** One isolate of the whole Worker. */
export class Isolate {
  readonly #simulation: Simulation;
  readonly #handler: Handler;
  readonly #vars: Record<string, unknown>;

  constructor(simulation: Simulation, handler: Handler, vars: Record<string, unknown>) {
    this.#simulation = simulation;
    this.#handler = handler;
    this.#vars = vars;
  }

  /** Sends a request and lets virtual time pass until it is answered. */
  ask(path = "/stremio/x/manifest.json", options: RequestOptions = {}): Promise<Answer> {
    return this.#simulation.until(this.send(path, options));
  }

  /** Sends a request; virtual time has to be let pass for it to be answered. */
  async send(path = "/stremio/x/manifest.json", options: RequestOptions = {}): Promise<Answer> {
    const { ip = "192.0.2.1", cookie, method = "GET", headers = {}, body } = options;
    const all = { "CF-Connecting-IP": ip, ...(cookie && { Cookie: `aiostreams_backend=${cookie}` }), ...headers };
    const request = new Request(`https://${DOMAIN}${path}`, {
      method,
      headers: all,
      ...(body !== undefined && { body }),
    });
    const ctx = { waitUntil: (promise: Promise<unknown>) => void promise };
    const beganMs = this.#simulation.nowMs;
    const response = await this.#simulation.invoke(() => this.#handler.fetch(request, this.#vars, ctx));
    const atMs = this.#simulation.nowMs;
    return {
      status: response.status,
      text: await response.text(),
      headers: response.headers,
      cookie: /aiostreams_backend=([^;]*)/.exec(response.headers.get("Set-Cookie") ?? "")?.[1],
      backend: response.headers.get("X-Served-By") ?? undefined,
      atMs,
      tookMs: atMs - beganMs,
    };
  }
}

let current: Simulation | undefined;

/** Backends and isolates for one test; call `simulated()` once in a file before. */
export function simulate(behaviours: Record<string, Behaviour>, vars: Record<string, unknown> = {}): Simulation {
  current = new Simulation(behaviours, vars);
  return current;
}

/** Backends for one test, and a first isolate. */
export async function start(behaviours: Record<string, Behaviour>, vars: Record<string, unknown> = {}) {
  const world = simulate(behaviours, vars);
  return { world, isolate: await world.isolate() };
}

/** Has the tests of a file run in virtual time. */
export function simulated(): void {
  beforeEach(() => {
    vi.useFakeTimers({
      now: START_MS,
      toFake: ["Date", "setTimeout", "clearTimeout", "setInterval", "clearInterval"],
    });
    vi.stubGlobal("fetch", (input: string | Request, init?: RequestInit) => current?.fetch(input, init));
    // Only workerd has it. How much comes in one go does not matter here.
    Object.assign(ReadableStreamBYOBReader.prototype, {
      readAtLeast(this: ReadableStreamBYOBReader, _: number, view: Uint8Array) {
        return this.read(view);
      },
    });
    vi.stubGlobal("caches", { open: async () => current?.openCache() });
    // Another jitter for each isolate, the same in each run.
    let isolates = 0;
    vi.spyOn(Math, "random").mockImplementation(() => (isolates++ * 0.618) % 1);
    const collect = (line: unknown) => void current?.log.push(JSON.parse(String(line)));
    vi.spyOn(console, "log").mockImplementation(collect);
    vi.spyOn(console, "error").mockImplementation(collect);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
    current = undefined;
  });
}
