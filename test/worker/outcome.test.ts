import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import { boundTo, HINTS_ONLY, IDS, type Id, type LoadBalancer, startLoadBalancer } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

const APPLICATION_ERRORS = [500, 501, 505, 507, 599];
const UNAVAILABLE = [502, 503, 504, 528, 529];
const CLOUDFLARE_PAGES = [520, 521, 522, 523, 524, 525, 526, 527, 530];

/** So that nothing is checked for its silence either. */
const FAILURES_ONLY = { ...HINTS_ONLY, PROBE_AFTER: 60_000 };

function another(id: Id): Id {
  return IDS.find((other) => other !== id) as Id;
}

/** Resolves once a backend has been checked; a hint that comes too soon after a check waits for the next request. */
async function checked(lb: LoadBalancer, id: Id, checksBefore: number): Promise<void> {
  await until("it is checked", async () => {
    await lb.servedBy(boundTo(another(id)));
    return lb[id].checks > checksBefore;
  });
}

describe.concurrent("a status below 500", () => {
  it("is relayed as it is, is no failure, and calls for no check", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    for (const status of [200, 201, 206, 301, 302, 400, 401, 403, 404, 408, 409, 418, 429, 451, 499]) {
      lb.cf.mode = { kind: "status", status };
      expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status, text: `cf says ${status}` });
    }
    expect(lb.backends.map(({ checks }) => checks)).toEqual([0, 0, 0]);
    expect(lb.worker.output).toBe("");
  });
});

describe.concurrent("an attempt that fails", () => {
  it.each([
    ["by an application error", APPLICATION_ERRORS],
    ["by being unavailable", UNAVAILABLE],
    ["by a page of Cloudflare's", CLOUDFLARE_PAGES],
  ])(
    "%s costs the client nothing, and has the backend checked, which ejects nobody whose check is good",
    async (_, statuses) => {
      await using lb = await startLoadBalancer(FAILURES_ONLY);
      for (const [i, status] of statuses.entries()) {
        const id = IDS[i % 3] as Id;
        const { checks } = lb[id];
        lb[id].mode = { kind: "status", status, healthStatus: 200 };
        expect(await lb.servedBy(boundTo(id)), String(status)).not.toBe(id);
        await checked(lb, id, checks);
        lb[id].mode = { kind: "well" };
        expect(await lb.isUp(id), String(status)).toBe(true);
      }
      expect(lb.worker.log.map(({ event, status }) => [event, status])).toEqual(
        statuses.map((status) => ["failover", status]),
      );
    },
  );

  const breaks: [string, string, (request: IncomingMessage, response: ServerResponse) => void][] = [
    ["a reset", "network error", ({ socket }) => void socket.resetAndDestroy()],
    ["an end without an answer", "network error", ({ socket }) => void socket.end()],
    ["garbage", "network error", ({ socket }) => void socket.end("no HTTP at all\r\n\r\n")],
    ["half a head", "network error", ({ socket }) => void socket.end("HTTP/1.1 200 OK\r\nContent-Le")],
    [
      "a 101 that nobody asked for",
      "unexpected upgrade",
      ({ socket }) =>
        void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ],
  ];

  it.each(breaks)("by %s does likewise", async (_, reason, onRequest) => {
    await using lb = await startLoadBalancer(FAILURES_ONLY);
    for (const method of ["GET", "POST"]) {
      const { checks } = lb.cf;
      lb.cf.onRequest = onRequest;
      expect(await lb.servedBy(boundTo("cf", { method }))).not.toBe("cf");
      await checked(lb, "cf", checks);
      lb.cf.onRequest = undefined;
      expect(await lb.isUp("cf")).toBe(true);
    }
    expect(lb.worker.log.map(({ event, reason }) => [event, reason])).toEqual([
      ["failover", reason],
      ["failover", reason],
    ]);
  });

  it("is answered elsewhere also where that answer is 404", async () => {
    await using lb = await startLoadBalancer(FAILURES_ONLY);
    lb.cf.mode = { kind: "status", status: 503 };
    for (const backend of [lb.duck, lb.koyeb]) backend.mode = { kind: "status", status: 404 };
    expect((await lb.worker.fetch("/", boundTo("cf"))).status).toBe(404);
  });
});

describe.concurrent("a request that every backend fails at", () => {
  it("gets the last backend's own answer, whatever the status, and ejects nobody", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    let status = 0;
    let asked = 0;
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) =>
        void response.writeHead(status, { "X-Kind": "own" }).end(`answer ${++asked}`);
    }
    for (status of [...APPLICATION_ERRORS, ...UNAVAILABLE]) {
      asked = 0;
      const answer = await lb.worker.fetch("/%E0%A4%A");
      expect(answer).toMatchObject({ status, text: "answer 3", session: undefined });
      expect(answer.headers["x-kind"]).toBe("own");
    }
    expect(lb.worker.log.filter(({ event }) => event === "ejected")).toEqual([]);
  });

  it("gets 502, never a page of Cloudflare's, which names the backend", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    let status = 0;
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) => void response.writeHead(status).end(`<h1>${backend.url} is down</h1>`);
    }
    for (status of CLOUDFLARE_PAGES) {
      const answer = await lb.worker.fetch("/", { method: status % 2 ? "POST" : "GET" });
      expect(answer.status, String(status)).toBe(502);
      expect(answer.text).not.toMatch(/127\.0\.0\.1|<h1>/);
      expect(answer.headers["retry-after"]).toMatch(/^\d+$/);
    }
  });

  it("by a 101 that nobody asked for gets 502, and nothing is thrown that nobody catches", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    for (const backend of lb.backends) {
      backend.onRequest = ({ socket }) =>
        void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    }
    const answers = ["GET", "POST", "HEAD"].map((method) => lb.worker.fetch("/", { method }));
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([502, 502, 502]);
  });

  it("gets the answer that is a backend's own, where the later ones are Cloudflare's pages or none", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    lb.cf.mode = { kind: "status", status: 503, healthStatus: 200 };
    for (const mode of [{ kind: "status", status: 520, healthStatus: 200 }, { kind: "reset" }] as const) {
      for (const backend of [lb.duck, lb.koyeb]) backend.mode = mode;
      expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 503, text: "cf says 503" });
    }
  });

  it("has each kept answer let go as soon as a later one replaces it", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    let asked = 0;
    let letGo = 0;
    let answer = () => {};
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) => {
        if (++asked === 3) {
          answer = () => response.end("an answer");
          return;
        }
        response.on("close", () => letGo++);
        response.writeHead(503).write("the beginning of a page without an end");
      };
    }
    const answered = lb.worker.fetch("/");
    await until("the third is asked, and the first let go", () => asked === 3 && letGo === 1);
    answer();
    expect(await answered).toMatchObject({ status: 200, text: "an answer" });
    await until("the second is let go as well", () => letGo === 2);
  });
});

describe.concurrent("the Worker's own statuses", () => {
  it("are short, never cached, and can be read by a player on another site", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    const { status, headers, text } = await lb.worker.fetch("/");
    expect(status).toBe(502);
    expect(headers).toMatchObject({
      "content-type": "text/plain; charset=utf-8",
      "cache-control": "no-store",
      "access-control-allow-origin": "*",
      "retry-after": expect.stringMatching(/^\d+$/),
    });
    expect(text.length).toBeLessThan(200);
  });
});
