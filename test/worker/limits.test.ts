import { describe, expect, it } from "vitest";
import type { Snapshot } from "../../src/status/types.ts";
import type { Mode } from "../support/backend.ts";
import { boundTo, CHECKS_ON_REQUEST, IDS, type LoadBalancer, startLoadBalancer } from "../support/fixture.ts";
import { figuresOf, PLATFORM } from "../support/platform.ts";
import { head, rawConnection } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import type { Vars } from "../support/workerd.ts";

const BROKEN: Mode = { kind: "status", status: 500, health: { kind: "well" } };

/** The Worker with Cloudflare's limits and a cache, before so many backends. */
function start(count: number, vars: Vars = {}): Promise<LoadBalancer> {
  const ids = Array.from({ length: count }, (_, i) => `b${i + 1}`);
  return startLoadBalancer(vars, { ids, hasCache: true, ...PLATFORM });
}

/** Asks as clients of these backends, all at once. */
function ask(lb: LoadBalancer, ...ids: string[]): Promise<string[]> {
  return Promise.all(ids.map((id) => lb.servedBy(boundTo(id, { ip: `192.0.2.${id.slice(1)}` }))));
}

/**
 * No subrequest was refused, so none of these backends was ejected for a check that could not be made; and none has waited for
 * a connection that hangs, which takes three seconds. For an instant one may have to: until the attempt whose place it takes is
 * aborted.
 */
async function expectWithinLimits({ worker }: LoadBalancer, ...working: string[]): Promise<void> {
  for (const figures of await figuresOf(worker)) {
    expect(figures.refused, JSON.stringify(figures)).toBe(0);
    expect(figures.queuedMsMax, JSON.stringify(figures)).toBeLessThan(2_000);
  }
  // Such a check would look like this; on a busy machine one may also have had no answer.
  const refused = worker.log.filter(({ reason }) => reason === "check: network error");
  expect(refused.filter(({ backend = "" }) => working.includes(backend))).toEqual([]);
}

describe.concurrent("at most 50 subrequests and six connections are used where", () => {
  it("three backends answer 500 after long, and PROBE_AFTER is as short as can be", async () => {
    await using lb = await start(3, { PROBE_AFTER: 1 });
    for (const backend of lb.backends) {
      backend.handler = (_, response) => void setTimeout(() => response.writeHead(500).end(backend.id), 2_000);
    }
    expect((await lb.worker.fetch("/")).status).toBe(500);
    await expectWithinLimits(lb);
  });

  it("eleven backends answer 500, and none is ejected for a check that could not be made", async () => {
    await using lb = await start(11, { MAX_RETRIES: 10 });
    for (const backend of lb.backends) backend.mode = BROKEN;
    await until("each of them has been asked", async () => {
      expect((await lb.worker.fetch("/")).status).toBe(500);
      return lb.backends.every(({ seen }) => seen.length > 0);
    });
    await expectWithinLimits(lb, ...lb.backends.map(({ id }) => id));
  });

  it("the only one of thirty that works is found, while the others refuse connections", async () => {
    await using lb = await start(30);
    const alive = lb.backend("b30");
    await Promise.all(lb.backends.map((backend) => backend !== alive && backend.kill()));
    await until("it is found", async () => (await lb.worker.fetch("/")).status === 200);
    for (const { id } of lb.backends.slice(20)) expect(await ask(lb, id)).toEqual(["b30"]);
    await expectWithinLimits(lb, "b30");
  });

  it.each([
    ["with checks by age", {}],
    ["with checks on request alone", CHECKS_ON_REQUEST],
  ])("the only one of eight that works is reached, while the others and the cache are silent: %s", async (_, vars) => {
    await using lb = await start(8, { ...vars, PROBE_AFTER: 100, MAX_RETRIES: 10 });
    lb.cache.mode = { kind: "hang" };
    for (const backend of lb.backends.slice(0, 7)) backend.mode = { kind: "hang" };
    expect(await ask(lb, "b1", "b4", "b8")).toEqual(["b8", "b8", "b8"]);
    await expectWithinLimits(lb, "b8");
  });

  it("thirty backends are silent, and serve again when they answer", async () => {
    await using lb = await start(30, { PROBE_AFTER: 100, BACKEND_TIMEOUT: 5_000, BACKEND_DOWN_TIME: 100 });
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const ips = [1, 2, 3, 4].map((i) => ({ ip: `192.0.2.${i}` }));
    const answers = await Promise.all(ips.map((options) => lb.worker.fetch("/", options)));
    expect(answers.map(({ status }) => status)).toEqual([504, 504, 504, 504]);
    for (const backend of lb.backends) backend.mode = { kind: "well" };
    for (const options of ips) expect((await lb.worker.fetch("/", options)).status).toBe(200);
    await expectWithinLimits(lb);
  });

  it("the status page is asked about thirteen backends, of which one answers", async () => {
    await using lb = await start(13, { STATUS_PATH: "/status" });
    for (const backend of lb.backends.slice(0, 12)) backend.mode = { kind: "hang" };
    await until("it shows that one alone as up", async () => {
      const { backends } = JSON.parse((await lb.worker.fetch("/status?format=json")).text) as Snapshot;
      return backends.every(({ id, state }) => (state === "up") === (id === "b13"));
    });
    await expectWithinLimits(lb, "b13");
  });
});

describe.concurrent("when a client that goes away takes its invocation along", () => {
  /** Asks as a client of this backend, and hangs up once this is so. */
  async function leave({ worker }: LoadBalancer, id: string, when: () => boolean): Promise<void> {
    const socket = await rawConnection(worker, head("GET", "/", { Cookie: `aiostreams_backend=${id}` }));
    await until("it is time to leave", when);
    socket.resetAndDestroy();
  }

  const hasLeft = async ({ worker }: LoadBalancer) => (await figuresOf(worker)).some(({ hasLeft }) => hasLeft);

  it("a check that it caused goes on, and its result is shared", async () => {
    await using lb = await startLoadBalancer(
      { ...CHECKS_ON_REQUEST, PROBE_AFTER: 100 },
      { hasCache: true, ...PLATFORM },
    );
    lb.cf.mode = { kind: "hang" };
    await leave(lb, "cf", () => lb.cf.checks > 0);
    await until("it is ejected", () => lb.changes("cf").length > 0);
    await until("that is shared", () => lb.cache.operations.some(({ text }) => text.includes("no answer")));
    await until("it is known to have left", () => hasLeft(lb));
  });

  // Shared results would be read first, and what a promise begins after a reading the emulated platform cannot tell.
  it("checks by age that it caused go on", async () => {
    await using lb = await startLoadBalancer({ SHARE_HEALTH: false, PROBE_AFTER: 60_000 }, PLATFORM);
    for (const backend of lb.backends) backend.mode = { kind: "frozen" };
    await leave(lb, "cf", () => lb.backends.every(({ checks }) => checks > 0));
    await until("it is known to have left", () => hasLeft(lb));
    for (const backend of lb.backends) backend.mode = { kind: "status", status: 503 };
    await until("each has a result", () => IDS.every((id) => lb.changes(id).length > 0));
  });
});
