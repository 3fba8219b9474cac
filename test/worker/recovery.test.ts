import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { boundTo, IDS, loadBalancer } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

const AN_HOUR_MS = 3_600_000;

type Fixture = ReturnType<typeof loadBalancer>;

/** Has `cf` ejected for a 503; the client gets its answer elsewhere. */
async function ejectCf(lb: Fixture): Promise<void> {
  lb.cf.mode = { kind: "status", status: 503 };
  expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
  expect(lb.cf.seen).toHaveLength(1);
}

function isBack(lb: Fixture): boolean {
  return lb.worker.log.some(({ event, backend }) => event === "back" && backend === "cf");
}

describe("a backend whose down time has passed", () => {
  const DOWN_TIME_MS = 300;
  const lb = loadBalancer({ BACKEND_DOWN_TIME: DOWN_TIME_MS });

  it("gets one check and no user from 40 requests at once", async () => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "hang" };
    await sleep(DOWN_TIME_MS);
    const served = await Promise.all(Array.from({ length: 40 }, () => lb.servedBy(boundTo("cf"))));
    expect(served).not.toContain("cf");
    await until("it is checked", () => lb.cf.checks > 0);
    expect(lb.cf.checks).toBe(1);
    expect(lb.cf.seen).toHaveLength(1);
  });

  it("gets no second check while the first is under way", async () => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "hang" };
    await sleep(DOWN_TIME_MS);
    await lb.servedBy(boundTo("cf"));
    await until("it is checked", () => lb.cf.checks > 0);
    await sleep(DOWN_TIME_MS); // However short the down time is.
    for (let i = 0; i < 10; i++) await lb.servedBy(boundTo("cf"));
    expect(lb.cf.checks).toBe(1);
  });

  it("is back within the check that the next request starts, without a user who tried it out", async () => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "well" };
    await sleep(DOWN_TIME_MS);
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    await until("it is back", () => isBack(lb));
    expect(lb.cf.checks).toBe(1);
    expect(lb.cf.seen).toHaveLength(1);
    expect(await lb.isUp("cf")).toBe(true);
  });

  it.each([204, 302, 401, 404, 429])("is back if its health route answers %i", async (healthStatus) => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "status", status: 200, healthStatus };
    await sleep(DOWN_TIME_MS);
    await lb.worker.fetch("/", boundTo("cf"));
    await until("it is back", () => isBack(lb));
    expect((await lb.worker.fetch("/", boundTo("cf"))).text).toBe("cf says 200");
  });

  it("gets back exactly the clients that it had", async () => {
    const ips = Array.from({ length: 30 }, (_, i) => `203.0.113.${i}`);
    const homes = () => Promise.all(ips.map((ip) => lb.servedBy({ ip })));
    const before = await homes();
    await lb.cf.kill();
    expect(await homes()).not.toContain("cf");
    await lb.cf.start();
    await until("it is back", async () => (await lb.servedBy()) !== "" && isBack(lb));
    expect(await homes()).toEqual(before);
  });
});

describe("a backend that is still sick when it is checked", () => {
  const DOWN_TIME_MS = 1_000;
  const lb = loadBalancer({ BACKEND_DOWN_TIME: DOWN_TIME_MS });

  it("stays out for another down time, with one check in each", async () => {
    await ejectCf(lb);
    for (const checks of [1, 2]) {
      await sleep(DOWN_TIME_MS);
      for (let i = 0; i < 20; i++) expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
      expect(lb.cf.checks).toBe(checks);
    }
    expect(lb.cf.seen).toHaveLength(1);
    lb.cf.mode = { kind: "well" };
    await until("it is back", async () => (await lb.servedBy(boundTo("duck"))) === "duck" && isBack(lb));
  });
});

describe("a backend that hangs", () => {
  const lb = loadBalancer({ BACKEND_DOWN_TIME: 100, PROBE_AFTER: 100 });

  it("costs no user anything after its first failure, however long it hangs", async () => {
    lb.cf.mode = { kind: "hang" };
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    expect(lb.cf.seen).toHaveLength(1);
    const checksBefore = lb.cf.checks;
    const untilMs = Date.now() + 4_500; // Long enough for a lease to end and for the next check to begin.
    while (Date.now() < untilMs) {
      expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
      await sleep(20);
    }
    expect(lb.cf.seen).toHaveLength(1);
    expect(lb.cf.checks - checksBefore).toBe(2);
  });
});

describe("backends of which none is up", () => {
  const lb = loadBalancer({ BACKEND_DOWN_TIME: AN_HOUR_MS });

  it("are all tried again by the next request", async () => {
    const home = await lb.servedBy({ ip: "192.0.2.9" });
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    expect((await lb.worker.fetch("/")).status).toBe(502);
    await Promise.all(lb.backends.map((backend) => backend.start()));
    expect(await lb.servedBy({ ip: "192.0.2.9" })).toBe(home);
    for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
  });

  it("are found by a request however few of them work", async () => {
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    await lb.worker.fetch("/");
    await lb.koyeb.start();
    for (let i = 0; i < 5; i++) expect(await lb.servedBy({ ip: `192.0.2.${i}` })).toBe("koyeb");
  });
});

describe("a backend that is out", () => {
  const lb = loadBalancer({ BACKEND_DOWN_TIME: AN_HOUR_MS });

  it("is the last resort of a request that all others failed, and is back when it answers", async () => {
    await lb.duck.kill();
    await lb.koyeb.kill();
    for (const id of ["duck", "koyeb"]) expect(await lb.servedBy(boundTo(id))).toBe("cf");
    await lb.duck.start();
    await lb.koyeb.start();
    await lb.cf.kill();
    const served = await lb.servedBy(boundTo("cf"));
    expect(["duck", "koyeb"]).toContain(served);
    expect(await lb.servedBy(boundTo(served))).toBe(served);
  });

  it("is not brought back by an answer to a request from before it failed", async () => {
    let answer = () => {};
    lb.cf.handler = (_request, response) => {
      answer = () => response.end("from before");
    };
    const slow = lb.worker.fetch("/slow", boundTo("cf"));
    await until("it has the request", () => lb.cf.seen.length === 1);
    lb.cf.handler = undefined;
    lb.cf.mode = { kind: "status", status: 503 };
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    answer();
    expect((await slow).text).toBe("from before");
    expect(isBack(lb)).toBe(false);
    expect(await lb.isUp("cf")).toBe(false);
  });

  it("is not asked before those that are up", async () => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "well" };
    lb.duck.mode = { kind: "status", status: 503 };
    expect(await lb.servedBy(boundTo("duck"))).toBe("koyeb");
    expect(lb.cf.seen).toHaveLength(1);
  });

  it("gets no check before its time", async () => {
    await ejectCf(lb);
    for (let i = 0; i < 20; i++) await lb.servedBy(boundTo("cf"));
    expect(lb.cf.checks).toBe(0);
  });
});

describe("BACKEND_DOWN_TIME=0", () => {
  const lb = loadBalancer({ BACKEND_DOWN_TIME: 0, PROBE_AFTER: 100 });

  it("has a backend checked by the very next request", async () => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "well" };
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    await until("it is back", () => isBack(lb));
    expect(await lb.isUp("cf")).toBe(true);
  });

  it("sends no user to a backend that hangs", async () => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "hang" };
    for (let i = 0; i < 20; i++) expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    expect(lb.cf.seen).toHaveLength(1);
    expect(lb.cf.checks).toBe(1);
  });
});

describe("HEALTH_CHECK_PATH", () => {
  const lb = loadBalancer({ BACKEND_DOWN_TIME: 0, HEALTH_CHECK_PATH: "/healthz?full=1" });

  it("is what a check asks, with nothing of the user's request", async () => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "well" };
    const headers = { Authorization: "Basic dXNlcg==", Cookie: "aiostreams_backend=cf; theme=dark" };
    await lb.servedBy({ ip: "192.0.2.1", headers });
    await until("it is back", () => isBack(lb));
    const [check] = lb.cf.seen.filter(({ url }) => url === "/healthz?full=1");
    expect(check?.method).toBe("GET");
    for (const name of ["authorization", "cookie", "x-forwarded-for", "x-real-ip", "cf-connecting-ip"]) {
      expect(check?.headers[name]).toBeUndefined();
    }
  });

  it("is asked for what it answers itself, not for where it redirects to", async () => {
    await ejectCf(lb);
    lb.cf.mode = { kind: "well" };
    lb.cf.handler = (_, response) => void response.writeHead(302, { Location: "/login" }).end();
    await lb.servedBy(boundTo("duck"));
    await until("it is back", () => isBack(lb));
    expect(lb.cf.seen.map(({ url }) => url)).toEqual(["/who", "/healthz?full=1"]);
  });
});
