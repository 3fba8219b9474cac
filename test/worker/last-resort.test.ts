import { describe, expect, it } from "vitest";
import { boundTo, changesOf, HINTS_ONLY, IDS, startLoadBalancer, takeDown } from "../support/fixture.ts";
import { inTime, until } from "../support/waiting.ts";

const SOON = { ...HINTS_ONLY, PROBE_AFTER: 100 };

describe.concurrent("when no backend is up", () => {
  it("the first one that turns out to be up again gets the request, whatever the others do", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, IDS, { kind: "frozen" });
    lb.koyeb.mode = { kind: "well" };
    const answer = await lb.worker.fetch("/", boundTo("cf", { method: "POST", body: "a=1" }));
    expect(answer).toMatchObject({ status: 200, session: "koyeb" });
    expect(
      [lb.cf, lb.duck].map(({ seen }) => seen.length),
      "nobody tried them out",
    ).toEqual([0, 0]);
    expect(
      [lb.cf, lb.duck].map(({ checks }) => checks),
      "they were checked side by side",
    ).toEqual([1, 1]);
    expect(lb.koyeb.seen).toHaveLength(1);
    await until("it is logged", () => changesOf(lb, "koyeb").length === 2);
    expect(changesOf(lb, "koyeb")).toEqual(["ejected", "back"]);
    // The others have to show for themselves that they are back.
    for (const id of ["cf", "duck"]) expect(changesOf(lb, id)).toEqual(["ejected"]);
    const next = await Promise.all(Array.from({ length: 10 }, () => lb.servedBy(boundTo("cf"))));
    expect(next).toEqual(Array(10).fill("koyeb"));
  });

  it("the one that works is found by every request, however many come at once", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    for (const id of IDS) expect((await lb.worker.fetch("/", boundTo(id))).status).toBe(502);
    await until("all are ejected", () => IDS.every((id) => changesOf(lb, id).length === 1));
    await lb.koyeb.start();
    const served = await Promise.all(Array.from({ length: 20 }, (_, i) => lb.servedBy({ ip: `192.0.2.${i}` })));
    expect(served).toEqual(Array(20).fill("koyeb"));
  });

  it("one that was found down a moment ago is looked at anew, since it may just have come back", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await lb.cf.kill();
    await lb.worker.fetch("/", boundTo("cf"));
    await until("it is ejected", () => changesOf(lb, "cf").length === 1);
    await lb.cf.start();
    for (const backend of [lb.duck, lb.koyeb]) backend.mode = { kind: "status", status: 503 };
    expect(await lb.servedBy(boundTo("cf"))).toBe("cf");
  });

  it("and all are dead, the client is told so, and many at once cost a handful of checks", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, IDS, { kind: "reset" });
    const startedMs = performance.now();
    const answers = await Promise.all(Array.from({ length: 40 }, () => lb.worker.fetch("/")));
    // Each asks twice, since its connection breaks.
    const checksMax = 2 * (1 + (performance.now() - startedMs) / 250);
    for (const { status, headers, text } of answers) {
      expect(status).toBe(502);
      expect(headers["retry-after"]).toMatch(/^\d+$/);
      expect(headers["cache-control"]).toBe("no-store");
      expect(text).not.toContain("127.0.0.1");
    }
    for (const { checks } of lb.backends) expect(checks).toBeLessThanOrEqual(checksMax);
  });

  it("and their checks fail although they answer, each client is served by its own, blindly", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    const ips = Array.from({ length: 12 }, (_, i) => `198.51.100.${i}`);
    const homes = () => Promise.all(ips.map((ip) => lb.servedBy({ ip })));
    const before = await homes();
    expect(new Set(before).size).toBe(3);
    // A stopped database does this to every backend.
    await takeDown(lb, IDS, { kind: "status", status: 200, healthStatus: 500 });
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) => void response.end(JSON.stringify({ id: backend.id }));
    }
    expect(await homes()).toEqual(before);
    for (const id of IDS) {
      const { text, session } = await lb.worker.fetch("/", boundTo(id));
      expect([JSON.parse(text).id, session]).toEqual([id, undefined]);
      expect(changesOf(lb, id)).toEqual(["ejected"]);
    }
  });

  it("those whose checks were silent are tried last, blindly, even for their own clients", async () => {
    await using lb = await startLoadBalancer(SOON);
    await takeDown(lb, ["cf"], { kind: "hang" }, { kind: "frozen" });
    await takeDown(lb, ["duck", "koyeb"], { kind: "status", status: 200, healthStatus: 500 });
    lb.cf.onRequest = (_, response) => void response.end("cf after all");
    expect((await lb.worker.fetch("/", boundTo("cf"))).text).toMatch(/(duck|koyeb) says 200/);
    for (const backend of [lb.duck, lb.koyeb]) backend.mode = { kind: "reset" };
    expect((await lb.worker.fetch("/", boundTo("cf"))).text).toBe("cf after all");
  });

  it("one that is silent may still answer: it is waited for until BACKEND_TIMEOUT, and then the client is told", async () => {
    await using lb = await startLoadBalancer({ ...SOON, BACKEND_TIMEOUT: 2_000 });
    await takeDown(lb, IDS, { kind: "frozen" });
    for (const backend of [lb.duck, lb.koyeb]) backend.mode = { kind: "reset" };
    const answer = await lb.worker.fetch("/", boundTo("cf"));
    expect(answer.status).toBe(504);
    expect(answer.headers["retry-after"]).toMatch(/^\d+$/);
    expect(lb.cf.seen).toHaveLength(1);
  });

  it("one that has become silent is not waited for either, when a working one has broken the connection", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 100 });
    await takeDown(lb, ["duck", "koyeb"], { kind: "frozen" });
    lb.cf.onRequest = (request) => void request.resume().on("end", () => request.socket.resetAndDestroy());
    const answers = ["GET", "POST"].map((method) => lb.worker.fetch("/", boundTo("cf", { method })));
    for (const { status } of await inTime(20_000, "a 502", Promise.all(answers))) expect(status).toBe(502);
  });

  it("somebody is asked all the same where nothing is retried", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, MAX_RETRIES: 0 });
    await takeDown(lb, IDS, { kind: "status", status: 200, healthStatus: 500 });
    expect((await lb.worker.fetch("/", boundTo("cf"))).text).toBe("cf says 200");
  });
});
