import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, inject } from "vitest";
import { Backend, type Echo, type Mode } from "./backend.ts";
import { until } from "./waiting.ts";
import { backendVars, type Options, type StartOptions, Worker } from "./worker.ts";
import type { Vars } from "./workerd.ts";

export type Id = "cf" | "duck" | "koyeb";
export const IDS: readonly Id[] = ["cf", "duck", "koyeb"];

/** Text that stands in the path, the query, a header and the cookie of a test's requests; no log may hold it. */
export const SECRET = "s3cr3t";

/** The Worker and three backends. A test binds its client to `cf` and breaks that one; `duck` and `koyeb` are the others. */
export interface LoadBalancer {
  worker: Worker;
  cf: Backend;
  duck: Backend;
  koyeb: Backend;
  /** All three, in the order of their ids. */
  backends: Backend[];
  /** The backend that serves a request. */
  servedBy(options?: Options): Promise<string>;
  /** Whether the Worker sends user traffic to a backend now. */
  isUp(id: Id): Promise<boolean>;
}

/** A `LoadBalancer` that ends with the scope of `await using`. */
export type OwnLoadBalancer = LoadBalancer & AsyncDisposable;

/** Three new backends and a new Worker with these variables, for one test alone: such tests can run side by side. */
export async function startLoadBalancer(vars: Vars = {}, startOptions: StartOptions = {}): Promise<OwnLoadBalancer> {
  const backends = await Promise.all(IDS.map((id) => new Backend(id).start()));
  const worker = await Worker.start(inject("script"), { ...backendVars(backends), ...vars }, startOptions);
  const servedBy = async (options: Options = {}) => {
    const { status, text } = await worker.fetch("/who", options);
    expect(status, text).toBe(200);
    return (JSON.parse(text) as Echo).id;
  };
  const [cf, duck, koyeb] = backends as [Backend, Backend, Backend];
  return {
    worker,
    cf,
    duck,
    koyeb,
    backends,
    servedBy,
    isUp: async (id: Id) => (await servedBy(boundTo(id))) === id,
    async [Symbol.asyncDispose]() {
      await worker.stop();
      await Promise.all(backends.map((backend) => backend.kill()));
      expect(worker.output, "nothing is thrown that nobody catches").not.toMatch(/uncaught/i);
      expect(worker.output, "the log holds no secret").not.toContain(SECRET);
    },
  };
}

/** Three new backends and a new Worker with these variables before each test of the suite that calls it, and none after. */
export function loadBalancer(vars: Vars = {}, startOptions: StartOptions = {}): LoadBalancer {
  const lb = {} as OwnLoadBalancer;
  beforeEach(async () => {
    Object.assign(lb, await startLoadBalancer(vars, startOptions));
  });
  afterEach(() => lb[Symbol.asyncDispose]());
  return lb;
}

/** The options of a client whose session is on this backend. */
export function boundTo<More extends Options>(id: string, options?: More) {
  return Object.assign({}, options, { headers: { Cookie: `aiostreams_backend=${id}`, ...options?.headers } });
}

/** Variables with which nothing is checked but on a hint. */
export const HINTS_ONLY = { HEALTH_CHECK_INTERVAL: 0, BACKEND_DOWN_TIME: 3_600_000 };

/** What the log says of a backend's health so far: `ejected` and `back` in turn. */
export function changesOf({ worker }: Pick<LoadBalancer, "worker">, id: string): string[] {
  return worker.log.flatMap(({ event, backend }) =>
    backend === id && (event === "ejected" || event === "back") ? [event] : [],
  );
}

/**
 * Has checks find these backends dead, as the Worker's first requests; then they are in this mode, and have seen nothing.
 * `dead` is how they are while they are found so.
 */
export async function takeDown(
  lb: LoadBalancer,
  ids: readonly Id[],
  mode: Mode,
  dead: Mode = { kind: "status", status: 503 },
): Promise<void> {
  // One after the other: a failure that comes while a check is under way would call for one more.
  for (const id of ids) {
    lb[id].mode = dead;
    await lb.worker.fetch("/", boundTo(id));
    await until("it is ejected", () => changesOf(lb, id).at(-1) === "ejected");
  }
  await sleep(300); // By then a check of each may begin again.
  for (const backend of lb.backends) {
    backend.seen.length = 0;
    backend.checks = 0;
  }
  for (const id of ids) lb[id].mode = mode;
}
