import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Backend, type Echo, type Handler } from "../support/backend.ts";
import { noise, pieces } from "../support/bytes.ts";
import { boundTo, IDS, loadBalancer } from "../support/fixture.ts";
import { handshake, head, rawConnection, rawFetch } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import { PRIMARY_DOMAIN } from "../support/worker.ts";

const IP = "192.0.2.1";
const SESSION_COOKIE = /^aiostreams_backend=(cf|duck|koyeb); Path=\/; HttpOnly; Secure; SameSite=Lax; Max-Age=86400$/;

describe("what it keeps out", () => {
  const lb = loadBalancer();
  /** A backend that no variable names. */
  let stranger: Backend;
  const strangerHost = () => `127.0.0.1:${stranger.port}`;

  beforeEach(async () => {
    stranger = await new Backend("stranger").start();
  });

  afterEach(async () => {
    expect(stranger.connections.size).toBe(0);
    expect(stranger.seen).toEqual([]);
    await stranger.kill();
  });

  it("is led to no other backend by a host header", async () => {
    const headers = {
      Forwarded: `host=${strangerHost()}`,
      "X-Forwarded-Host": strangerHost(),
      "X-Host": strangerHost(),
    };
    const { status, text } = await lb.worker.fetch("/", { ip: IP, headers });
    expect(status).toBe(200);
    const echo = JSON.parse(text) as Echo;
    expect(echo.headers["x-forwarded-host"]).toBe(PRIMARY_DOMAIN);
    expect(lb.backends.map(({ port }) => `127.0.0.1:${port}`)).toContain(echo.headers.host);

    expect((await lb.worker.fetch("/", { host: strangerHost() })).status).toBe(421);
    expect(lb.backends.flatMap(({ seen }) => seen)).toHaveLength(1);
  });

  it("is led nowhere else by a cookie that names none of its backends, and takes it for no cookie", async () => {
    const own = await lb.servedBy({ ip: IP });
    const forged = [
      strangerHost(),
      stranger.url,
      `//${strangerHost()}`,
      `cf@${strangerHost()}`,
      `cf.${strangerHost()}`,
      lb.cf.url,
      "CF",
      "__proto__",
      "constructor",
      "0",
      "",
      '"cf"',
      "%63%66",
    ];
    for (const value of forged) {
      const answer = await lb.worker.fetch("/", { ip: IP, headers: { Cookie: `aiostreams_backend=${value}` } });
      expect(answer.status, value).toBe(200);
      expect((JSON.parse(answer.text) as Echo).id, value).toBe(own);
      expect(answer.session, value).toBe(own);
    }
  });

  it("writes no header that a cookie spells", async () => {
    const values = [
      "cf%0d%0aX-Injected: 1",
      "x\x85X-Injected: 1",
      'x"; Domain=evil.example; X-Injected',
      "x,X-Injected: 1",
    ];
    for (const value of values) {
      const { status, rawHeaders, headers } = await lb.worker.fetch("/", {
        ip: IP,
        headers: { Cookie: `aiostreams_backend=${value}` },
      });
      expect(status).toBe(200);
      expect(rawHeaders.join("\n"), value).not.toMatch(/injected|evil/i);
      expect(headers["set-cookie"], value).toHaveLength(1);
      expect(headers["set-cookie"]?.[0], value).toMatch(SESSION_COOKIE);
    }
    const bare = await rawFetch(lb.worker, "GET", "/", { Cookie: "aiostreams_backend=x\rX-Injected: 1" });
    expect(bare.status).toBe(400);
    expect(bare.text).not.toMatch(/^x-injected/im);
  });

  it("writes no header that a path spells into a Location", async () => {
    const path = "/%0d%0aSet-Cookie:%20a=1%0aX-Injected:%201";
    const redirect = await rawFetch(lb.worker, "GET", path, { "Test-Scheme": "http" });
    expect(redirect.location).toBe(`https://${PRIMARY_DOMAIN}${path}`);
    expect(redirect.text).not.toMatch(/^(set-cookie|x-injected)/im);

    for (const backend of lb.backends) {
      backend.handler = (request, response) =>
        void response.writeHead(302, { Location: backend.url + request.url }).end();
    }
    const rewritten = await rawFetch(lb.worker, "GET", path);
    expect(rewritten.location).toBe(`https://${PRIMARY_DOMAIN}${path}`);
    expect(rewritten.text.match(/^set-cookie:.*$/gim)).toHaveLength(1);
    expect(rewritten.text).not.toMatch(/^x-injected/im);
  });
});

describe("what it keeps to itself", () => {
  const lb = loadBalancer({ PROBE_AFTER: 100, BACKEND_TIMEOUT: 600 });

  it("names no backend's address in the session cookie or in an answer of its own", async () => {
    const names = () =>
      new RegExp(["127\\.0\\.0\\.1", "localhost", ...lb.backends.map(({ port }) => String(port))].join("|"));
    const all = async (path: string, headers = {}) => (await rawFetch(lb.worker, "GET", path, headers)).text;

    const served = await lb.worker.fetch("/", { ip: IP });
    expect(served.headers["set-cookie"]?.[0]).toMatch(SESSION_COOKIE);
    expect(served.headers["set-cookie"]?.[0]).not.toMatch(names());

    expect(await all("/", { Host: "evil.example" })).toMatch(/^HTTP\/1.1 421/);
    expect(await all("/", { Host: "evil.example" })).not.toMatch(names());
    expect(await all("/", { "Test-Scheme": "http" })).not.toMatch(names());

    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const timeout = await all("/");
    expect(timeout).toMatch(/^HTTP\/1.1 504/);
    expect(timeout).not.toMatch(names());

    await Promise.all(lb.backends.map((backend) => backend.kill()));
    const unreachable = await all("/");
    expect(unreachable).toMatch(/^HTTP\/1.1 502/);
    expect(unreachable).not.toMatch(names());
  });
});

describe("one client alone", () => {
  const lb = loadBalancer({ PROBE_AFTER: 100, BACKEND_TIMEOUT: 1_500 });
  const attack = boundTo("cf", { ip: "203.0.113.66" });

  /** Answers the attacker's path like this, and everybody else's as ever. */
  function misbehave(handler: Handler): void {
    for (const backend of lb.backends) {
      backend.handler = (request, response, body) =>
        request.url === "/attack"
          ? handler(request, response, body)
          : void response.end(JSON.stringify({ id: backend.id }));
    }
  }

  /** Nobody was ejected, not even for a moment: every other client is where it was. */
  async function expectHarmless(): Promise<void> {
    expect(lb.worker.log.filter(({ event }) => event === "ejected")).toEqual([]);
    for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
  }

  it("evicts nobody by a URL that is slow for as long as it likes to wait", async () => {
    misbehave((_, response) => void setTimeout(() => response.end("late"), 500));
    const answers = await Promise.all(Array.from({ length: 5 }, () => lb.worker.fetch("/attack", attack)));
    expect(answers.map(({ text }) => text)).toEqual(Array(5).fill("late"));
    await expectHarmless();
  });

  it("evicts nobody by hanging up before the answer", async () => {
    let reached = 0;
    misbehave(() => void reached++);
    for (let i = 1; i <= 10; i++) {
      const socket = await rawConnection(lb.worker, head("GET", "/attack", { Cookie: "aiostreams_backend=cf" }));
      await until("the request has come", () => reached >= i);
      socket.resetAndDestroy();
    }
    await until("nobody is asked any more", () => lb.backends.every(({ connections }) => connections.size <= 1));
    await expectHarmless();
  });

  it("evicts nobody by hanging up in the middle of an upload", async () => {
    for (const length of [1_000, 900_000, 5_000_000]) {
      const start = head("POST", "/attack", { Cookie: "aiostreams_backend=cf", "Content-Length": length });
      const socket = await rawConnection(lb.worker, Buffer.concat([Buffer.from(start), noise(length / 2)]));
      socket.resetAndDestroy();
      await once(socket, "close");
    }
    await expectHarmless();
  });

  it("evicts nobody by a body that is too large for every backend", async () => {
    for (const backend of lb.backends) {
      backend.onRequest = (request, response) => {
        if (request.url === "/attack") response.writeHead(413, { Connection: "close" }).end("too large");
        else response.end(JSON.stringify({ id: backend.id }));
      };
    }
    for (let i = 0; i < 5; i++) {
      const body = pieces(noise(3_000_000));
      await lb.worker.fetch("/attack", { ...attack, method: "POST", body }).catch(() => {});
    }
    await expectHarmless();
  });

  it("evicts nobody by WebSockets that it aborts, open or not", async () => {
    for (let i = 0; i < 10; i++) {
      const webSocket = await lb.worker.webSocket("/attack", attack);
      webSocket.on("error", () => {});
      webSocket.terminate();
    }
    lb.cf.mode = { kind: "slow", ms: 300 };
    for (let i = 0; i < 5; i++) {
      const seen = lb.cf.seen.length;
      const abort = new AbortController();
      const asked = handshake(lb.worker, "/attack", { ...attack, signal: abort.signal });
      asked.catch(() => {});
      await until("the handshake has come", () => lb.cf.seen.length > seen);
      abort.abort();
    }
    lb.cf.mode = { kind: "well" };
    await until("no socket is open", () => lb.cf.webSockets.size === 0);
    await expectHarmless();
  });

  it("evicts nobody by open connections on which it says nothing", async () => {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => rawConnection(lb.worker, "GET /attack HT")));
    await expectHarmless();
    for (const socket of sockets) socket.destroy();
  });
});
