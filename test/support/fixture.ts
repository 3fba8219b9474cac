import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject } from "vitest";
import { LoadBalancer, type LoadBalancerOptions } from "./load-balancer.ts";
import type { Vars } from "./workerd.ts";

export { addresses, boundTo, IDS, type Id, LoadBalancer } from "./load-balancer.ts";

/** Text that stands in the path, the query, a header and the cookie of a test's requests; no log may hold it. */
export const SECRET = "s3cr3t";

/** For tests that are not about time: nothing is checked but after a failure, and no wait is too long on a busy machine. */
export const PATIENT = { HEALTH_CHECK_INTERVAL: 0, PROBE_AFTER: 60_000, BACKEND_DOWN_TIME: 0 };

/** The same, and a backend that is down is checked on request only. */
export const CHECKS_ON_REQUEST = { ...PATIENT, BACKEND_DOWN_TIME: 3_600_000 };

/** Each invocation lives on after its answer: what is let go then was let go by the Worker, not by the runtime. */
export const LINGERING = { wrappers: [join(import.meta.dirname, "../worker/lingering.js")] };

/** New backends and new isolates with these variables, for one test alone: such tests can run side by side. */
export function startLoadBalancer(vars: Vars = {}, options: LoadBalancerOptions = {}): Promise<LoadBalancer> {
  return newLoadBalancer(vars, options).start();
}

/** New backends and new isolates with these variables before each test of the suite that calls it, and none after. */
export function loadBalancer(vars: Vars = {}, options: LoadBalancerOptions = {}): LoadBalancer {
  const lb = newLoadBalancer(vars, options);
  beforeEach(async () => void (await lb.start()));
  afterEach(() => lb.stop());
  return lb;
}

/**
 * One for all tests of the suite that calls it, for a start takes a third of a second of a core. Its backends are well again
 * before each test, and have seen nothing; what an isolate knows of them stays, and so does its log.
 */
export function sharedLoadBalancer(vars: Vars = {}, options: LoadBalancerOptions = {}): LoadBalancer {
  const lb = newLoadBalancer(vars, options);
  beforeAll(async () => void (await lb.start()));
  beforeEach(() => Promise.all(lb.backends.map((backend) => backend.restart())));
  afterAll(() => lb.stop());
  return lb;
}

class TestedLoadBalancer extends LoadBalancer {
  override async stop(): Promise<void> {
    const { isolates } = this;
    await super.stop();
    for (const { output } of isolates) expect(output, "the log holds no secret").not.toContain(SECRET);
  }
}

function newLoadBalancer(vars: Vars, options: LoadBalancerOptions): LoadBalancer {
  return new TestedLoadBalancer(inject("script"), vars, options);
}
