import type { ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import type { Mode } from "../support/backend.ts";
import { boundTo, changesOf, HINTS_ONLY, type LoadBalancer, startLoadBalancer, takeDown } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

/** What a wrong `SECRET_KEY` does. */
const BROKEN: Mode = { kind: "status", status: 500, healthStatus: 200 };

/** A request of one of `cf`'s clients. */
async function ask(lb: LoadBalancer, client: number): Promise<number> {
  return (await lb.worker.fetch("/", boundTo("cf", { ip: `192.0.2.${client}` }))).status;
}

describe.concurrent("a backend that fails everybody behind a good health route", () => {
  it("is out after five failures in a row, for BACKEND_DOWN_TIME, whatever its checks find meanwhile", async () => {
    await using lb = await startLoadBalancer({ HEALTH_CHECK_INTERVAL: 1_000, BACKEND_DOWN_TIME: 3_000 });
    lb.cf.mode = BROKEN;
    for (let client = 1; client <= 5; client++) expect(await ask(lb, client)).toBe(200);
    await until("it is ejected", () => changesOf(lb, "cf").length === 1);
    const sinceMs = performance.now();
    expect(lb.worker.log).toContainEqual({ event: "ejected", backend: "cf", reason: "failures in a row", ray: null });
    expect(lb.cf.seen).toHaveLength(5);
    const { checks } = lb.cf;
    lb.cf.mode = { kind: "well" };
    await until("somebody is sent there again", async () => {
      expect(await ask(lb, 1)).toBe(200);
      return lb.cf.seen.length > 5;
    });
    expect(performance.now() - sinceMs).toBeGreaterThan(2_500);
    expect(lb.cf.checks - checks, "it was found good more than once meanwhile").toBeGreaterThan(1);
    await until("it is logged", () => changesOf(lb, "cf").length === 2);
    expect(changesOf(lb, "cf")).toEqual(["ejected", "back"]);
  });

  it("moves the sessions of its clients once it is out, and not before", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    lb.cf.mode = BROKEN;
    const sessions: (string | undefined)[] = [];
    for (let client = 1; client <= 6; client++) {
      sessions.push((await lb.worker.fetch("/", boundTo("cf", { ip: `192.0.2.${client}` }))).session);
    }
    const moved = expect.stringMatching(/duck|koyeb/);
    expect(sessions).toEqual([undefined, undefined, undefined, undefined, moved, moved]);
    expect(lb.cf.seen).toHaveLength(5);
  });

  it("is out also when all of them come at once", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    lb.cf.mode = BROKEN;
    const statuses = await Promise.all(Array.from({ length: 20 }, (_, client) => ask(lb, client)));
    expect(statuses).toEqual(Array(20).fill(200));
    const { length } = lb.cf.seen;
    await Promise.all(Array.from({ length: 20 }, (_, client) => ask(lb, client)));
    expect(lb.cf.seen).toHaveLength(length);
    await until("it is logged", () => changesOf(lb, "cf").length > 0);
    expect(changesOf(lb, "cf")).toEqual(["ejected"]);
  });

  it("is better than none: it gets the requests when all others are dead, and is back when it answers", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    lb.cf.mode = BROKEN;
    for (let client = 1; client <= 5; client++) await ask(lb, client);
    await until("it is ejected", () => changesOf(lb, "cf").length === 1);
    lb.cf.mode = { kind: "well" };
    await Promise.all([lb.duck.kill(), lb.koyeb.kill()]);
    expect(await lb.servedBy(boundTo("duck", { method: "POST", body: "a=1" }))).toBe("cf");
    await until("it is back", async () => {
      await ask(lb, 1);
      return changesOf(lb, "cf").includes("back");
    });
  });
});

describe.concurrent("failures do not count", () => {
  it("when an answer below 500 comes in between", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    for (let round = 0; round < 4; round++) {
      lb.cf.mode = BROKEN;
      for (let client = 1; client <= 4; client++) expect(await ask(lb, client)).toBe(200);
      lb.cf.mode = { kind: "status", status: 404, healthStatus: 200 };
      expect(await ask(lb, 9)).toBe(404);
    }
    expect(lb.cf.seen).toHaveLength(20);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("when every backend fails at the same request", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    for (const backend of lb.backends) backend.mode = BROKEN;
    const statuses = await Promise.all(Array.from({ length: 20 }, (_, client) => ask(lb, client)));
    expect(statuses).toEqual(Array(20).fill(500));
    for (const backend of lb.backends) backend.mode = { kind: "well" };
    for (const { id } of lb.backends) {
      expect(await lb.servedBy(boundTo(id))).toBe(id);
      expect(changesOf(lb, id)).toEqual([]);
    }
  });

  it("when they are one client's own, and the backend answers others", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.1" }))).toBe("cf");
    lb.cf.mode = BROKEN;
    for (let i = 0; i < 20; i++) expect(await ask(lb, 66)).toBe(200);
    lb.cf.mode = { kind: "well" };
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.1" }))).toBe("cf");
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("when they are one household's: all addresses of an IPv6 /64 are one client", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.1" }))).toBe("cf");
    lb.cf.mode = BROKEN;
    for (let i = 0; i < 20; i++) await lb.worker.fetch("/", boundTo("cf", { ip: `2001:db8::${i}` }));
    lb.cf.mode = { kind: "well" };
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.1" }))).toBe("cf");
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("when they are one client's own but for a connection of another that breaks, and the backend answers others", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    let isStale = true;
    lb.cf.onRequest = ({ url, socket }, response) => {
      if (url === "/attack") return void response.writeHead(500).end();
      if (url === "/stale" && isStale) {
        isStale = false;
        return void socket.resetAndDestroy();
      }
      response.end(JSON.stringify({ id: "cf" }));
    };
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.1" }))).toBe("cf");
    for (let i = 0; i < 4; i++) await lb.worker.fetch("/attack", boundTo("cf", { ip: "203.0.113.66" }));
    expect((await lb.worker.fetch("/stale", boundTo("cf", { ip: "192.0.2.50" }))).status).toBe(200);
    expect(isStale).toBe(false);
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.1" }))).toBe("cf");
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("when an answer below 500 came in between, though the backends that stepped in answered only after it", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 60_000 });
    lb.cf.onRequest = ({ url, socket }, response) =>
      url === "/broken" ? void socket.resetAndDestroy() : void response.end(JSON.stringify({ id: "cf" }));
    const waiting: ServerResponse[] = [];
    for (const other of [lb.duck, lb.koyeb]) other.onRequest = (_, response) => void waiting.push(response);
    const answers = [1, 2, 3, 4, 5].map((client) =>
      lb.worker.fetch("/broken", boundTo("cf", { ip: `192.0.2.${client}`, method: "POST", body: "a=1" })),
    );
    await until("all five have failed", () => waiting.length === 5);
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.9" }))).toBe("cf");
    for (const response of waiting) response.end();
    for (const other of [lb.duck, lb.koyeb]) other.onRequest = undefined;
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(5).fill(200));
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.9" }))).toBe("cf");
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("to those who are down anyhow", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, ["cf"], { kind: "well" });
    for (let client = 1; client <= 10; client++) expect(await ask(lb, client)).toBe(200);
    expect(changesOf(lb, "cf")).toEqual(["ejected"]);
    expect(lb.cf.seen).toEqual([]);
  });

  it("of a bystander whose connection breaks beside an attack, though it is the only other client", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    let broken = 0;
    lb.cf.onRequest = (request, response) => {
      if (request.url === "/attack") response.writeHead(500).end();
      else if (request.url === "/stale" && broken++ === 0) request.socket.resetAndDestroy();
      else response.end('{"id":"cf"}');
    };
    const bystander = boundTo("cf", { ip: "192.0.2.1" });
    for (let i = 0; i < 10; i++) await lb.servedBy(bystander);
    for (let i = 0; i < 4; i++) await lb.worker.fetch("/attack", boundTo("cf", { ip: "203.0.113.66" }));
    await lb.worker.fetch("/stale", bystander);
    expect(await lb.servedBy(bystander)).toBe("cf");
    expect(changesOf(lb, "cf")).toEqual([]);
  });
});
