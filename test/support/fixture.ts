import { afterEach, beforeEach, expect, inject } from "vitest";
import { Backend, type Echo } from "./backend.ts";
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

/** Three new backends and a new Worker with these variables before each test of the suite that calls it, and none after. */
export function loadBalancer(vars: Vars = {}, options: StartOptions = {}): LoadBalancer {
  const lb = {
    async servedBy(options: Options = {}) {
      const { status, text } = await lb.worker.fetch("/who", options);
      expect(status, text).toBe(200);
      return (JSON.parse(text) as Echo).id;
    },
    async isUp(id: Id) {
      return (await lb.servedBy(boundTo(id))) === id;
    },
  } as LoadBalancer;

  beforeEach(async () => {
    lb.backends = await Promise.all(IDS.map((id) => new Backend(id).start()));
    for (const id of IDS) lb[id] = lb.backends[IDS.indexOf(id)] as Backend;
    lb.worker = await Worker.start(inject("script"), { ...backendVars(lb.backends), ...vars }, options);
  });

  afterEach(async () => {
    await lb.worker.stop();
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    expect(lb.worker.output, "nothing is thrown that nobody catches").not.toMatch(/uncaught/i);
    expect(lb.worker.output, "the log holds no secret").not.toContain(SECRET);
  });

  return lb;
}

/** The options of a client whose session is on this backend. */
export function boundTo<More extends Options>(id: string, options?: More) {
  return Object.assign({}, options, { headers: { Cookie: `aiostreams_backend=${id}`, ...options?.headers } });
}
