import { once } from "node:events";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, loadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { handshake } from "../support/raw-http.ts";
import { inTime, until } from "../support/waiting.ts";

const PROBE_AFTER_MS = 100;

describe("an answer that takes 10 s, with every setting as it is delivered", () => {
  const lb = loadBalancer();

  it("comes from its own backend, which is well, and from no other", async () => {
    lb.cf.mode = { kind: "slow", ms: 10_000 };
    expect(await lb.servedBy(boundTo("cf"))).toBe("cf");
    expect(lb.cf.seen).toHaveLength(1);
    expect(lb.cf.checks).toBeGreaterThan(0);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
    expect(lb.worker.log).toEqual([]);
  });
});

describe("a slow answer from a backend that is well", () => {
  const lb = loadBalancer({ PROBE_AFTER: PROBE_AFTER_MS });
  const SLOW_MS = 10 * PROBE_AFTER_MS;

  it.each(["GET", "POST", "DELETE"])("is waited for: %s", async (method) => {
    lb.cf.mode = { kind: "slow", ms: SLOW_MS };
    const answer = await lb.worker.fetch("/slow", boundTo("cf", { method, body: "x".repeat(10) }));
    expect(JSON.parse(answer.text)).toMatchObject({ id: "cf", method, bytes: 10 });
    expect(lb.cf.seen).toHaveLength(1);
    expect(lb.cf.checks).toBeGreaterThan(1);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
    expect(lb.worker.log).toEqual([]);
  });

  it("is waited for: a WebSocket", async () => {
    lb.cf.mode = { kind: "slow", ms: SLOW_MS };
    expect((await handshake(lb.worker, "/socket", boundTo("cf"))).statusCode).toBe(101);
    expect(lb.cf.seen).toHaveLength(1);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
  });

  it("is waited for also where the backend has no health route", async () => {
    lb.cf.onRequest = (_, response) => void setTimeout(() => response.end("at last"), SLOW_MS);
    lb.cf.mode = { kind: "status", status: 404 };
    expect((await lb.worker.fetch("/slow", boundTo("cf"))).text).toBe("at last");
    expect(lb.cf.checks).toBeGreaterThan(1);
  });

  it("keeps nobody else from that backend", async () => {
    lb.cf.onRequest = (request, response) => {
      const answer = () => response.end(JSON.stringify({ id: "cf" }));
      if (request.url === "/slow") setTimeout(answer, SLOW_MS);
      else answer();
    };
    const slow = lb.worker.fetch("/slow", boundTo("cf"));
    await until("it is being asked about", () => lb.cf.checks > 1);
    expect(await lb.isUp("cf")).toBe(true);
    expect((await slow).status).toBe(200);
  });
});

describe("a lone backend that is slow", () => {
  const lb = loadBalancer({ BACKEND_DUCK: "", BACKEND_KOYEB: "", PROBE_AFTER: 50 });

  it("is waited for without a check, since there is nothing better to do", async () => {
    lb.cf.mode = { kind: "slow", ms: 1_000 };
    expect(await lb.servedBy()).toBe("cf");
    expect(lb.cf.checks).toBe(0);
  });
});

describe("an answer that comes in time", () => {
  const lb = loadBalancer();

  it("costs no check", async () => {
    for (let i = 0; i < 20; i++) await lb.servedBy({ ip: `192.0.2.${i}` });
    expect(lb.backends.map(({ checks }) => checks)).toEqual([0, 0, 0]);
  });
});

describe("a backend that is silent, its health route failing", () => {
  const lb = loadBalancer({ PROBE_AFTER: PROBE_AFTER_MS });

  it.each([
    ["GET", 0],
    ["POST", 100_000],
  ])("is left for another: %s", async (method, length) => {
    const body = noise(length);
    lb.cf.mode = { kind: "hang", healthStatus: 503 };
    const answer = await lb.worker.fetch("/", boundTo("cf", { method, body }));
    const echo = JSON.parse(answer.text) as Echo;
    expect(echo).toMatchObject({ method, sha256: sha256(body) });
    expect(echo.id).not.toBe("cf");
    expect(await lb.isUp("cf")).toBe(false);
  });

  it("is left for another: a WebSocket", async () => {
    lb.cf.mode = { kind: "hang", healthStatus: 503 };
    const { statusCode, headers } = await handshake(lb.worker, "/socket", boundTo("cf"));
    expect(statusCode).toBe(101);
    expect(headers["x-served-by-backend"]).not.toBe("cf");
  });

  it("gets no say any more when it answers after all", async () => {
    let answerLate = () => {};
    lb.cf.onRequest = (_, response) => {
      answerLate = () => response.writeHead(200).end("too late");
    };
    lb.cf.mode = { kind: "hang", healthStatus: 503 };
    for (const backend of [lb.duck, lb.koyeb]) backend.mode = { kind: "slow", ms: 500 };
    const answer = lb.worker.fetch("/", boundTo("cf"));
    await until("another is asked", () => lb.duck.seen.length + lb.koyeb.seen.length > 0);
    answerLate();
    expect(["duck", "koyeb"]).toContain(JSON.parse((await answer).text).id);
  });

  it("keeps none of 200 connections once their requests are over", async () => {
    const abandoned = new Set<Socket>();
    let asked = 0;
    lb.cf.mode = { kind: "hang", healthStatus: 503 };
    lb.cf.onRequest = ({ socket }) => {
      asked++;
      abandoned.add(socket);
      socket.on("close", () => abandoned.delete(socket));
    };
    const served = await Promise.all(Array.from({ length: 200 }, () => lb.servedBy(boundTo("cf"))));
    expect(asked).toBe(200);
    expect(served).not.toContain("cf");
    await until("every connection is closed", () => abandoned.size === 0);
  });
});

describe("BACKEND_TIMEOUT", () => {
  const lb = loadBalancer({ PROBE_AFTER: PROBE_AFTER_MS, BACKEND_TIMEOUT: 4 * PROBE_AFTER_MS });

  it("ends the wait for headers even where the health route is well", async () => {
    lb.cf.mode = { kind: "hang", healthy: true };
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    expect(lb.cf.seen).toHaveLength(1);
  });

  it("evicts no backend for one slow route: whoever is well is back at once", async () => {
    lb.cf.mode = { kind: "hang", healthy: true };
    await lb.servedBy(boundTo("cf"));
    await until("it is back", () => lb.worker.log.some(({ event }) => event === "back"));
    expect(lb.worker.log.map(({ event, reason }) => `${event}: ${reason}`)).toContain("ejected: timeout");
    lb.cf.mode = { kind: "well" };
    expect(await lb.isUp("cf")).toBe(true);
  });

  it("is answered 504 when no backend sends headers", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "hang", healthy: true };
    expect((await lb.worker.fetch("/")).status).toBe(504);
    expect(lb.backends.map(({ seen }) => seen.length)).toEqual([1, 1, 1]);
  });
});

describe.each([
  ["a new client", {}],
  ["a client whose session is there", boundTo("cf")],
])("once the headers have come, no timer cuts what %s gets", (_, client) => {
  const lb = loadBalancer({ PROBE_AFTER: 50, BACKEND_TIMEOUT: 100 });
  const LONG_MS = 1_000;

  it("a body that comes slowly", async () => {
    for (const backend of lb.backends) {
      backend.handler = async (_request, response) => {
        response.writeHead(200, { "Content-Length": 10 });
        for (let i = 0; i < 10; i++) {
          response.write(String(i));
          await sleep(LONG_MS / 10);
        }
        response.end();
      };
    }
    expect((await lb.worker.fetch("/film", client)).text).toBe("0123456789");
  });

  it("a body that is silent for long", async () => {
    for (const backend of lb.backends) {
      backend.handler = async (_request, response) => {
        response.writeHead(200).write("the beginning");
        await sleep(LONG_MS);
        response.end(", the end");
      };
    }
    expect(await text(await lb.worker.open("/film", client))).toBe("the beginning, the end");
  });

  it("events that are rare", async () => {
    for (const backend of lb.backends) {
      backend.handler = async (_request, response) => {
        response.writeHead(200, { "Content-Type": "text/event-stream" }).write("data: 1\n\n");
        await sleep(LONG_MS);
        response.end("data: 2\n\n");
      };
    }
    expect((await lb.worker.fetch("/events", client)).text).toBe("data: 1\n\ndata: 2\n\n");
  });

  it("a WebSocket on which nothing is said", async () => {
    const webSocket = await lb.worker.webSocket("/socket", client);
    await sleep(LONG_MS);
    webSocket.send("still there");
    const [message] = await once(webSocket, "message");
    expect(String(message)).toBe("still there");
    webSocket.close();
  });

  it("and no check is sent", async () => {
    for (const backend of lb.backends) {
      backend.handler = async (_request, response) => {
        response.writeHead(200).write("the beginning");
        await sleep(LONG_MS);
        response.end();
      };
    }
    await inTime(20_000, "the answer", lb.worker.fetch("/film", client));
    expect(lb.backends.map(({ checks }) => checks)).toEqual([0, 0, 0]);
  });
});
