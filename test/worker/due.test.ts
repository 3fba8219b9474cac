import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import {
  boundTo,
  changesOf,
  HINTS_ONLY,
  IDS,
  type LoadBalancer,
  startLoadBalancer,
  takeDown,
} from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

/** Clients of every backend come and go for a while. Returns for how long. */
async function traffic(lb: LoadBalancer, ms: number): Promise<number> {
  const startedMs = performance.now();
  while (performance.now() - startedMs < ms) {
    for (const id of IDS) expect((await lb.worker.fetch("/", boundTo(id))).status).toBe(200);
    await sleep(20);
  }
  return performance.now() - startedMs;
}

describe.concurrent("a check by age", () => {
  it("is due when a request passes and the last finding is older than HEALTH_CHECK_INTERVAL, not before", async () => {
    await using lb = await startLoadBalancer({ HEALTH_CHECK_INTERVAL: 1_000 });
    const ms = await traffic(lb, 3_300);
    for (const { checks } of lb.backends) {
      expect(checks).toBeGreaterThan(1);
      expect(checks).toBeLessThanOrEqual(1 + ms / 1_000);
    }
    expect(lb.worker.log).toEqual([]);
  });

  it("finds a backend dead, and alive again, without any request that failed", async () => {
    await using lb = await startLoadBalancer({ HEALTH_CHECK_INTERVAL: 1_000, BACKEND_DOWN_TIME: 3_600_000 });
    lb.cf.mode = { kind: "status", status: 200, healthStatus: 503 };
    await until("it is ejected", async () => {
      await lb.worker.fetch("/", boundTo("duck"));
      return changesOf(lb, "cf").length === 1;
    });
    lb.cf.mode = { kind: "well" };
    await until("it is back", async () => {
      await lb.worker.fetch("/", boundTo("duck"));
      return changesOf(lb, "cf").length === 2;
    });
    expect(changesOf(lb, "cf")).toEqual(["ejected", "back"]);
    expect(lb.cf.seen).toEqual([]);
  });

  it("is made for nobody while no request passes", async () => {
    await using lb = await startLoadBalancer({ HEALTH_CHECK_INTERVAL: 1_000 });
    await lb.worker.fetch("/");
    await until("all are checked", () => lb.backends.every(({ checks }) => checks === 1));
    await sleep(2_500);
    expect(lb.backends.map(({ checks }) => checks)).toEqual([1, 1, 1]);
    await lb.worker.fetch("/");
    await until("all are checked", () => lb.backends.every(({ checks }) => checks === 2));
  });

  it("makes no user wait: the health route is silent, and requests are answered meanwhile", async () => {
    await using lb = await startLoadBalancer();
    lb.cf.mode = { kind: "hang" };
    lb.cf.onRequest = (_, response) => void response.end();
    for (let i = 0; i < 5; i++) await lb.worker.fetch("/", boundTo("cf"));
    expect(lb.cf.checks).toBe(1);
    expect(changesOf(lb, "cf"), "the check goes on").toEqual([]);
  });

  it("is never made with HEALTH_CHECK_INTERVAL=0", async () => {
    await using lb = await startLoadBalancer({ HEALTH_CHECK_INTERVAL: 0 });
    await traffic(lb, 2_000);
    expect(lb.backends.map(({ checks }) => checks)).toEqual([0, 0, 0]);
  });
});

describe.concurrent("BACKEND_DOWN_TIME", () => {
  const DOWN_TIME_MS = 1_000;
  const vars = { HEALTH_CHECK_INTERVAL: 0, BACKEND_DOWN_TIME: DOWN_TIME_MS };

  it("has a backend that is down checked once in each, and no user is sent there before it is good", async () => {
    await using lb = await startLoadBalancer(vars);
    await takeDown(lb, ["cf"], { kind: "status", status: 503 });
    const ms = await traffic(lb, 3_300);
    expect(lb.cf.checks).toBeGreaterThan(1);
    expect(lb.cf.checks).toBeLessThanOrEqual(1 + ms / DOWN_TIME_MS);
    expect(lb.cf.seen).toEqual([]);
    lb.cf.mode = { kind: "well" };
    await until("it is back", async () => lb.isUp("cf"));
    expect(changesOf(lb, "cf")).toEqual(["ejected", "back"]);
  });

  it("sends nobody to one that hangs, however short it is", async () => {
    await using lb = await startLoadBalancer({ ...vars, BACKEND_DOWN_TIME: 0 });
    await takeDown(lb, ["cf"], { kind: "frozen" });
    const ms = await traffic(lb, 4_000);
    expect(lb.cf.seen).toEqual([]);
    expect(lb.cf.checks).toBeGreaterThan(0);
    expect(lb.cf.checks).toBeLessThanOrEqual(1 + ms / 2_000);
  });

  it("gives a backend exactly the clients back that it had", async () => {
    await using lb = await startLoadBalancer({ ...vars, BACKEND_DOWN_TIME: 200 });
    const ips = Array.from({ length: 30 }, (_, i) => `203.0.113.${i}`);
    const homes = () => Promise.all(ips.map((ip) => lb.servedBy({ ip })));
    const before = await homes();
    await lb.cf.kill();
    const during = await homes();
    expect(during).not.toContain("cf");
    for (const [i, id] of before.entries()) if (id !== "cf") expect(during[i]).toBe(id);
    await lb.cf.start();
    await until("it is back", () => lb.isUp("cf"));
    expect(await homes()).toEqual(before);
  });
});

describe.concurrent("an answer below 500 from a backend that is down", () => {
  it("has it checked, and does not bring it back by itself", async () => {
    // So that the requests which wait are not asked of another as well.
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 60_000 });
    const answers: (() => void)[] = [];
    lb.cf.onRequest = (_, response) => void answers.push(() => response.end("from before"));
    const slow = [lb.worker.fetch("/1", boundTo("cf")), lb.worker.fetch("/2", boundTo("cf"))];
    await until("it has the requests", () => answers.length === 2);
    lb.cf.onRequest = undefined;
    await takeDown(lb, ["cf"], { kind: "status", status: 503 });

    answers[0]?.();
    expect((await slow[0])?.text).toBe("from before");
    await until("it is checked", () => lb.cf.checks === 1);
    expect(await lb.isUp("cf")).toBe(false);

    await sleep(300); // Two checks are not made closer to each other.
    lb.cf.mode = { kind: "well" };
    answers[1]?.();
    await slow[1];
    await until("it is back", () => changesOf(lb, "cf").includes("back"));
    expect(lb.cf.checks).toBe(2);
    expect(await lb.isUp("cf")).toBe(true);
  });
});
