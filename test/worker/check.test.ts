import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { boundTo, changesOf, HINTS_ONLY, type LoadBalancer, SECRET, startLoadBalancer } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

const ROUTE = "/healthz?full=1";

const GOOD = [200, 201, 202, 204, 206];

/** Makes a route of one's own of the health route, so that a test decides what it answers. Every other one of `cf` answers 503. */
function answerChecks(lb: LoadBalancer, answer: (request: IncomingMessage, response: ServerResponse) => void): void {
  lb.cf.onRequest = (request, response) => {
    if (request.url === ROUTE) answer(request, response);
    else response.writeHead(503).end();
  };
}

describe.concurrent("a check", () => {
  it("is good when it is answered 2xx, and bad when it is answered anything else", async () => {
    await using lb = await startLoadBalancer({ HEALTH_CHECK_INTERVAL: 0, BACKEND_DOWN_TIME: 0 });
    const changes: string[] = [];
    for (const healthStatus of [300, 301, 302, 304, 307, 400, 401, 403, 404, 429, 500, 502, 503, 521]) {
      lb.cf.mode = { kind: "status", status: 500, healthStatus };
      await lb.worker.fetch("/", boundTo("cf"));
      await until(`${healthStatus} is bad`, async () => {
        await lb.worker.fetch("/", boundTo("duck"));
        return changesOf(lb, "cf").length > changes.length;
      });
      changes.push("ejected");
      lb.cf.mode = { kind: "status", status: 200, healthStatus: GOOD[changes.length % GOOD.length] ?? 200 };
      await until("2xx is good", async () => {
        await lb.worker.fetch("/", boundTo("cf"));
        return changesOf(lb, "cf").length > changes.length;
      });
      changes.push("back");
      // So that no five failures are in a row.
      expect((await lb.worker.fetch("/", boundTo("cf"))).text).toBe("cf says 200");
    }
    expect(changesOf(lb, "cf")).toEqual(changes);
    const reasons = lb.worker.log.flatMap(({ event, reason }) => (event === "ejected" ? [reason] : []));
    expect(new Set(reasons)).toEqual(new Set(["check: bad status"]));
  });

  it("asks HEALTH_CHECK_PATH, follows no redirect, and carries nothing of the user's request", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, HEALTH_CHECK_PATH: ROUTE });
    const checks: IncomingMessage[] = [];
    answerChecks(lb, (request, response) => {
      checks.push(request);
      response.writeHead(302, { Location: `${lb.duck.url}/login` }).end();
    });
    const headers = { Authorization: `Basic ${SECRET}`, Cookie: `aiostreams_backend=cf; session=${SECRET}` };
    await lb.worker.fetch(`/${SECRET}`, { ip: "192.0.2.1", headers, method: "POST", body: SECRET });
    await until("it is ejected", () => changesOf(lb, "cf").length > 0);
    expect(checks.map(({ method, url }) => `${method} ${url}`)).toEqual([`GET ${ROUTE}`]);
    const [check] = checks;
    expect(check?.rawHeaders.join()).not.toMatch(new RegExp(`${SECRET}|192\\.0\\.2`));
    for (const name of ["authorization", "cookie", "x-forwarded-for", "x-real-ip", "cf-connecting-ip"]) {
      expect(check?.headers[name]).toBeUndefined();
    }
    expect(lb.duck.seen.map(({ url }) => url).concat(lb.koyeb.seen.map(({ url }) => url))).toEqual([`/${SECRET}`]);
  });

  it("asks once more at once after a network error: a stale connection ejects nobody", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, HEALTH_CHECK_PATH: ROUTE });
    let checks = 0;
    answerChecks(lb, ({ socket }, response) => {
      if (++checks === 1) socket.resetAndDestroy();
      else response.end();
    });
    await lb.worker.fetch("/", boundTo("cf"));
    await until("it is asked again", () => checks === 2);
    lb.cf.onRequest = undefined;
    for (let i = 0; i < 5; i++) expect(await lb.isUp("cf")).toBe(true);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("asks no third time", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, HEALTH_CHECK_PATH: ROUTE });
    let checks = 0;
    answerChecks(lb, ({ socket }) => {
      checks++;
      socket.resetAndDestroy();
    });
    await lb.worker.fetch("/", boundTo("cf"));
    await until("it is ejected", () => changesOf(lb, "cf").length > 0);
    expect(lb.worker.log).toContainEqual({
      event: "ejected",
      backend: "cf",
      reason: "check: network error",
      ray: null,
    });
    expect(checks).toBe(2);
  });

  it("waits three seconds for an answer", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, HEALTH_CHECK_PATH: ROUTE });
    let sinceMs = 0;
    let openMs = 0;
    answerChecks(lb, ({ socket }) => {
      sinceMs = performance.now();
      socket.on("close", () => {
        openMs = performance.now() - sinceMs;
      });
    });
    await lb.worker.fetch("/", boundTo("cf"));
    await until("it is ejected", () => changesOf(lb, "cf").length > 0);
    expect(lb.worker.log).toContainEqual(expect.objectContaining({ event: "ejected", reason: "check: no answer" }));
    await until("its connection is closed", () => openMs > 0);
    expect(openMs).toBeGreaterThan(2_000);
    expect(openMs).toBeLessThan(10_000);
  });

  it("is made one at a time, and a hint while it is under way leads to one more", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, HEALTH_CHECK_PATH: ROUTE });
    let answer = () => {};
    let checks = 0;
    answerChecks(lb, (_, response) => {
      if (++checks === 1) answer = () => response.end();
      else response.end();
    });
    for (let i = 0; i < 4; i++) expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    await until("it has begun", () => checks > 0);
    await sleep(300); // Longer than two checks are apart.
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    expect(checks).toBe(1);
    answer();
    const others = async () => {
      await lb.servedBy(boundTo("duck"));
      await sleep(10);
    };
    await until("there is one more", async () => {
      await others();
      return checks === 2;
    });
    for (let i = 0; i < 40; i++) await others(); // Longer than two checks are apart.
    expect(checks).toBe(2);
  });

  it("is made four times a second at most, however many requests fail", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    const startedMs = performance.now();
    for (const backend of lb.backends) backend.mode = { kind: "status", status: 500, healthStatus: 200 };
    const failing: Promise<unknown>[] = [];
    while (performance.now() - startedMs < 2_000) {
      failing.push(lb.worker.fetch("/"));
      await sleep(20);
    }
    await Promise.all(failing);
    const elapsedMs = performance.now() - startedMs;
    for (const { checks } of lb.backends) {
      expect(checks).toBeGreaterThan(1);
      expect(checks).toBeLessThanOrEqual(1 + elapsedMs / 250);
    }
  });

  it("begins after the request's own attempt", async () => {
    await using lb = await startLoadBalancer({ HEALTH_CHECK_PATH: ROUTE });
    const order: (string | undefined)[] = [];
    lb.cf.onRequest = ({ url }, response) => {
      order.push(url);
      response.end();
    };
    await lb.worker.fetch("/first", boundTo("cf"));
    await until("it is checked, since nothing is known of it", () => order.length === 2);
    expect(order).toEqual(["/first", ROUTE]);
  });
});
