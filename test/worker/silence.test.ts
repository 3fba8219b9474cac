import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { boundTo, changesOf, HINTS_ONLY, type LoadBalancer, startLoadBalancer, takeDown } from "../support/fixture.ts";
import { handshake } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";

const SOON = { ...HINTS_ONLY, PROBE_AFTER: 200 };

/** What must not be carried out twice on suspicion. */
const CAUTIOUS = [
  { method: "POST", body: "a=1" },
  { method: "POST" },
  { method: "PUT", body: "a=1" },
  { method: "PATCH", body: "a=1" },
  { method: "DELETE" },
  { method: "OPTIONS" },
];

function events(lb: LoadBalancer): string[] {
  return lb.worker.log.map(({ event }) => event);
}

describe.concurrent("a GET whose backend is silent, as is its check", () => {
  it("is answered by another, long before the check has ended; the next ones wait for nothing", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    lb.cf.mode = { kind: "frozen" };
    const answer = await lb.worker.fetch("/", boundTo("cf"));
    expect((JSON.parse(answer.text) as Echo).id).not.toBe("cf");
    if (changesOf(lb, "cf").length === 0) expect(answer.session, "a suspect keeps its clients").toBeUndefined();
    const more = await Promise.all(Array.from({ length: 20 }, () => lb.servedBy(boundTo("cf"))));
    expect(more).not.toContain("cf");
    while (changesOf(lb, "cf").length === 0) {
      expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
      await sleep(20);
    }
    expect((await lb.worker.fetch("/", boundTo("cf"))).session).toMatch(/duck|koyeb/);
    expect(events(lb)[0], "it went on before the check had ended").toBe("failover");
    expect(lb.cf.seen, "nobody else waited").toHaveLength(1);
    expect(lb.cf.checks).toBe(1);
  });

  it("costs the many that are under way hardly more than one check", async () => {
    await using lb = await startLoadBalancer(SOON);
    lb.cf.mode = { kind: "frozen" };
    const served = await Promise.all(Array.from({ length: 30 }, () => lb.servedBy(boundTo("cf"))));
    expect(served).not.toContain("cf");
    expect(events(lb)[0]).toBe("failover");
    expect(lb.cf.checks).toBeLessThan(5);
  });

  it("gets the first answer: that of its own backend, when it wakes up before the other one answers", async () => {
    await using lb = await startLoadBalancer(SOON);
    lb.cf.mode = { kind: "frozen" };
    let finish = () => {};
    lb.cf.handler = (_, response) => {
      response.write("cf begins");
      finish = () => response.end(" and ends");
    };
    const hedges: Socket[] = [];
    for (const backend of [lb.duck, lb.koyeb]) backend.onRequest = ({ socket }) => void hedges.push(socket);
    const answer = lb.worker.open("/", boundTo("cf"));
    await until("another is asked as well", () => hedges.length === 1);
    lb.cf.mode = { kind: "well" };
    const body = text(await answer);
    await until("the other one is let go, while the answer goes on", () => hedges.every(({ destroyed }) => destroyed));
    finish();
    expect(await body).toBe("cf begins and ends");
    expect(hedges).toHaveLength(1);
    expect(lb.cf.seen).toHaveLength(1);
  });

  it("leaves no connection behind", async () => {
    await using lb = await startLoadBalancer(SOON);
    lb.cf.mode = { kind: "frozen" };
    const served = await Promise.all(Array.from({ length: 50 }, () => lb.servedBy(boundTo("cf"))));
    expect(served).not.toContain("cf");
    await until("every connection is closed", () => lb.cf.connections.size === 0);
  });

  it("does not take a 5xx for the first answer", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    lb.cf.mode = { kind: "frozen" };
    let asked = 0;
    for (const backend of [lb.duck, lb.koyeb]) {
      backend.onRequest = (_, response) => void response.writeHead(++asked === 1 ? 503 : 200).end(`answer ${asked}`);
    }
    expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 200, text: "answer 2" });
  });

  it("has two attempts open at a time: a third takes the place of one whose backend is found down", async () => {
    await using lb = await startLoadBalancer(SOON);
    lb.cf.mode = { kind: "frozen" };
    let second: Socket | undefined;
    const [duck, koyeb] = [lb.duck, lb.koyeb];
    for (const [one, other] of [
      [duck, koyeb],
      [koyeb, duck],
    ] as const) {
      one.onRequest = ({ socket }) => {
        one.mode = { kind: "frozen" };
        other.onRequest = undefined;
        second = socket;
      };
    }
    expect((await lb.worker.fetch("/", boundTo("cf"))).status).toBe(200);
    await until("it is logged", () => events(lb).length >= 3);
    expect(events(lb).slice(0, 3)).toEqual(["failover", "ejected", "failover"]);
    await until("the one in the middle is let go", () => second?.destroyed === true);
  });
});

describe.concurrent("a request that must not be carried out twice on suspicion", () => {
  async function send(lb: LoadBalancer): Promise<(string | string[] | undefined)[]> {
    const requests = CAUTIOUS.map(async (options) => {
      const answer = await lb.worker.fetch(`/${options.method}`, boundTo("cf", options));
      return (JSON.parse(answer.text) as Echo).id;
    });
    const socket = handshake(lb.worker, "/socket", boundTo("cf"));
    return Promise.all([...requests, socket.then(({ headers }) => headers["x-served-by-backend"])]);
  }

  it("waits until the check has found its backend down, and is then carried out elsewhere, once", async () => {
    await using lb = await startLoadBalancer(SOON);
    lb.cf.mode = { kind: "frozen" };
    const served = await send(lb);
    expect(served).not.toContain("cf");
    expect(lb.cf.seen).toHaveLength(CAUTIOUS.length + 1);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toHaveLength(CAUTIOUS.length + 1);
    await until("all is logged", () => events(lb).length === CAUTIOUS.length + 2);
    expect(events(lb)[0], "nobody moved before").toBe("ejected");
  });

  it("is carried out once, by its own backend, if that wakes up before the check ends", async () => {
    await using lb = await startLoadBalancer(SOON);
    lb.cf.mode = { kind: "frozen" };
    const sent = send(lb);
    // By then the check has been silent for a second.
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    lb.cf.mode = { kind: "well" };
    expect(new Set(await sent)).toEqual(new Set(["cf"]));
    expect(lb.cf.seen).toHaveLength(CAUTIOUS.length + 2);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toHaveLength(1);
  });
});

describe.concurrent("a backend that is busy: its routes are slow, its check is prompt", () => {
  it("is waited for, by every kind of request, and asked once", async () => {
    await using lb = await startLoadBalancer({ ...SOON, PROBE_AFTER: 50 });
    lb.cf.mode = { kind: "slow", ms: 3_000 };
    const requests = [{ method: "GET" }, { method: "HEAD" }, ...CAUTIOUS];
    const [socket, ...answers] = await Promise.all([
      handshake(lb.worker, "/socket", boundTo("cf")),
      ...requests.map((options) => lb.worker.fetch("/slow", boundTo("cf", options))),
    ]);
    expect(socket.statusCode).toBe(101);
    expect(answers.map(({ status, headers }) => [status, headers["x-served-by-backend"]])).toEqual(
      requests.map(() => [200, "cf"]),
    );
    expect(lb.cf.seen).toHaveLength(requests.length + 1);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
    expect(lb.worker.log).toEqual([]);
  });

  it("is checked at twice the time each time, so that a long wait costs a handful of checks", async () => {
    await using lb = await startLoadBalancer(SOON);
    lb.cf.mode = { kind: "slow", ms: 6_000 };
    expect(await lb.servedBy(boundTo("cf"))).toBe("cf");
    // At 100, 300, 700, 1500 and 3100 ms and no more; four a second would be 24.
    expect(lb.cf.checks).toBeGreaterThan(2);
    expect(lb.cf.checks).toBeLessThan(8);
    expect(lb.worker.log).toEqual([]);
  });

  it("is not ejected when its check takes long as well: viewers go elsewhere, sessions stay, uploads are kept", async () => {
    await using lb = await startLoadBalancer({ ...SOON, HEALTH_CHECK_PATH: "/health" });
    lb.cf.onRequest = async ({ url }, response) => {
      await sleep(url === "/health" ? 2_000 : 2_500);
      response.end(JSON.stringify({ id: "cf" }));
    };
    const upload = lb.servedBy(boundTo("cf", { method: "POST", body: "a=1" }));
    const viewed = await lb.worker.fetch("/", boundTo("cf"));
    expect((JSON.parse(viewed.text) as Echo).id).not.toBe("cf");
    expect(viewed.session).toBeUndefined();
    expect(await upload).toBe("cf");
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("needs no check at all while it answers others", async () => {
    await using lb = await startLoadBalancer({ ...SOON, PROBE_AFTER: 500 });
    let isOver = false;
    lb.cf.onRequest = (request: IncomingMessage, response: ServerResponse) => {
      if (request.url === "/slow") setTimeout(() => response.end(), 3_000);
      else response.end();
    };
    const others = async () => {
      while (!isOver) await lb.worker.fetch("/", boundTo("cf"));
    };
    const slow = lb.worker.fetch("/slow", boundTo("cf")).finally(() => {
      isOver = true;
    });
    await Promise.all([slow, others()]);
    expect(lb.cf.checks).toBe(0);
    expect(lb.worker.log).toEqual([]);
  });

  it("is left by a GET that has waited, once it is frozen", async () => {
    await using lb = await startLoadBalancer(SOON);
    lb.cf.mode = { kind: "hang", healthy: true };
    const answer = lb.servedBy(boundTo("cf"));
    await until("it has been checked twice", () => lb.cf.checks === 2);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
    lb.cf.mode = { kind: "frozen" };
    expect(await answer).not.toBe("cf");
    expect(events(lb)[0], "it went on before the check had ended").toBe("failover");
  });
});

describe.concurrent("an attempt for which there is nowhere better to go", () => {
  it("is not given up: the only backend that works stalls for four seconds, and all are answered", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, ["duck", "koyeb"], { kind: "well" });
    await Promise.all([lb.duck.kill(), lb.koyeb.kill()]);
    lb.cf.mode = { kind: "frozen" };
    const stalled = Promise.all(Array.from({ length: 5 }, (_, i) => lb.servedBy({ ip: `192.0.2.${i}` })));
    await sleep(4_500); // Longer than it takes to find it down.
    lb.cf.mode = { kind: "well" };
    expect(await stalled).toEqual(Array(5).fill("cf"));
    expect(lb.cf.seen, "each was asked once").toHaveLength(5);
  });

  it("is not given up either where the others are silent too", async () => {
    await using lb = await startLoadBalancer(SOON);
    await takeDown(lb, ["duck", "koyeb"], { kind: "frozen" });
    lb.cf.mode = { kind: "frozen" };
    const stalled = Promise.all(
      Array.from({ length: 5 }, (_, i) =>
        lb.worker.fetch(`/${i}`, { ip: `192.0.2.${i}`, method: i % 2 ? "POST" : "GET" }),
      ),
    );
    await until("it is found down", () => changesOf(lb, "cf").includes("ejected"));
    lb.cf.mode = { kind: "well" };
    expect((await stalled).map(({ text }) => (JSON.parse(text) as Echo).id)).toEqual(Array(5).fill("cf"));
  });
});
