import { describe, expect, it } from "vitest";
import { boundTo, changesOf, HINTS_ONLY, type LoadBalancer, startLoadBalancer } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

/** Has every backend carry a request out and break its connection then. Returns who was asked. */
function breakAfterBody(lb: LoadBalancer): string[] {
  const asked: string[] = [];
  for (const backend of lb.backends) {
    backend.onRequest = (request) => {
      asked.push(backend.id);
      request.resume().on("end", () => request.socket.resetAndDestroy());
    };
  }
  return asked;
}

describe.concurrent("a request that makes its backend break the connection", () => {
  it.each(["POST", "PATCH"])("is carried out at most once by each backend: %s", async (method) => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, MAX_RETRIES: 10 });
    const asked = breakAfterBody(lb);
    expect((await lb.worker.fetch("/", boundTo("cf", { method, body: "a=1" }))).status).toBe(502);
    expect(asked.sort()).toEqual(["cf", "duck", "koyeb"]);
  });

  it("is carried out once by a lone backend: POST", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, BACKEND_DUCK: "", BACKEND_KOYEB: "" });
    const asked = breakAfterBody(lb);
    const answers = Array.from({ length: 5 }, () => lb.worker.fetch("/", { method: "POST", body: "a=1" }));
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(5).fill(502));
    expect(asked).toHaveLength(5);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it.each(["GET", "PUT", "DELETE", "OPTIONS"])("is asked once more of each, and no more: %s", async (method) => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, MAX_RETRIES: 10 });
    const asked = breakAfterBody(lb);
    expect((await lb.worker.fetch("/", boundTo("cf", { method }))).status).toBe(502);
    expect(asked.sort()).toEqual(["cf", "cf", "duck", "duck", "koyeb", "koyeb"]);
  });
});

describe.concurrent("with RETRY_NON_IDEMPOTENT=false", () => {
  const vars = { ...HINTS_ONLY, RETRY_NON_IDEMPOTENT: false };

  describe.each(["POST", "PATCH"])("a %s", (method) => {
    const options = boundTo("cf", { method, body: "a=1" });

    it("is repeated where its backend cannot have seen it", async () => {
      await using lb = await startLoadBalancer(vars);
      for (const status of [521, 523, 525, 526, 530]) {
        lb.cf.mode = { kind: "status", status, healthStatus: 200 };
        expect(await lb.servedBy(options), String(status)).not.toBe("cf");
        lb.cf.mode = { kind: "well" };
        expect(await lb.isUp("cf")).toBe(true);
      }
    });

    it("is not repeated where its backend may have seen it: the client gets the failure", async () => {
      await using lb = await startLoadBalancer(vars);
      const statuses = [500, 501, 502, 503, 504, 505, 520, 522, 524, 529];
      for (const status of statuses) {
        lb.cf.mode = { kind: "status", status, healthStatus: 200 };
        const answer = await lb.worker.fetch("/", options);
        if ([520, 522, 524].includes(status)) expect(answer.status, "no page of Cloudflare's").toBe(502);
        else expect(answer).toMatchObject({ status, text: `cf says ${status}` });
      }
      lb.cf.onRequest = ({ socket }) => void socket.resetAndDestroy();
      expect((await lb.worker.fetch("/", options)).status).toBe(502);
      lb.cf.onRequest = ({ socket }) => void socket.end("garbage\r\n\r\n");
      expect((await lb.worker.fetch("/", options)).status).toBe(502);
      expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
      expect(lb.cf.seen).toHaveLength(statuses.length);
      await until("that had it checked", () => lb.cf.checks > 0);
      expect(changesOf(lb, "cf")).toEqual([]);
    });

    it("is not repeated elsewhere after a failure in between either", async () => {
      await using lb = await startLoadBalancer(vars);
      lb.cf.mode = { kind: "status", status: 521, healthStatus: 200 };
      for (const backend of [lb.duck, lb.koyeb]) backend.mode = { kind: "status", status: 503, healthStatus: 200 };
      expect((await lb.worker.fetch("/", options)).text).toMatch(/(duck|koyeb) says 503/);
      expect([...lb.duck.seen, ...lb.koyeb.seen]).toHaveLength(1);
    });
  });

  it("all others are repeated", async () => {
    await using lb = await startLoadBalancer(vars);
    for (const status of [500, 503, 522]) {
      lb.cf.mode = { kind: "status", status, healthStatus: 200 };
      for (const method of ["GET", "PUT", "DELETE"]) {
        expect(await lb.servedBy(boundTo("cf", { method }))).not.toBe("cf");
      }
      lb.cf.mode = { kind: "well" };
      expect(await lb.isUp("cf")).toBe(true);
    }
  });
});

describe.concurrent("where nothing may be repeated, a frozen backend is found by its check", () => {
  it.each([
    ["MAX_RETRIES=0", { MAX_RETRIES: 0 }, "GET"],
    ["RETRY_NON_IDEMPOTENT=false", { RETRY_NON_IDEMPOTENT: false }, "POST"],
  ])("so that only the first clients wait: %s", async (_, vars, method) => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, ...vars });
    lb.cf.mode = { kind: "frozen" };
    const leaves = new AbortController();
    const waiting = Array.from({ length: 3 }, () =>
      lb.worker.fetch("/", boundTo("cf", { method, signal: leaves.signal })).catch(() => "left"),
    );
    await until("it is found down", () => changesOf(lb, "cf").length > 0);
    // BACKEND_TIMEOUT is a hundred seconds.
    for (let i = 0; i < 10; i++) expect(await lb.servedBy(boundTo("cf", { method }))).not.toBe("cf");
    expect(lb.cf.seen).toHaveLength(waiting.length);
    leaves.abort();
    expect(await Promise.all(waiting)).toEqual(["left", "left", "left"]);
  });
});
