import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { Backend, type Echo, type Handler } from "../support/backend.ts";
import { noise, pieces } from "../support/bytes.ts";
import { boundTo, IDS, loadBalancer, SECRET } from "../support/fixture.ts";
import { handshake, head, rawConnection, rawFetch } from "../support/raw-http.ts";
import { inTime, until } from "../support/waiting.ts";
import { type LogLine, PRIMARY_DOMAIN, Worker } from "../support/worker.ts";

const IP = "192.0.2.1";
const SESSION_COOKIE = /^aiostreams_backend=(cf|duck|koyeb); Path=\/; HttpOnly; Secure; SameSite=Lax; Max-Age=86400$/;

describe("what it keeps out", () => {
  const lb = loadBalancer();
  /** A server that no variable names. */
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

  it("redirects to its own host and to no other, whatever the path says", async () => {
    const paths = [
      "/",
      "//evil.example/",
      "/\\evil.example/",
      "/@evil.example",
      "/.evil.example",
      "/%2f%2fevil.example",
      "/?//evil",
    ];
    for (const path of paths) {
      for (const method of ["GET", "POST"]) {
        const { status, location = "" } = await rawFetch(lb.worker, method, path, { "Test-Scheme": "http" });
        expect(status, path).toBe(method === "GET" ? 301 : 308);
        expect(location, path).toBe(`https://${PRIMARY_DOMAIN}${path}`);
        expect(new URL(location).host, path).toBe(PRIMARY_DOMAIN);
      }
    }
  });

  it("redirects nobody who came by another host name", async () => {
    for (const host of [
      "evil.example",
      `evil.example#@${PRIMARY_DOMAIN}`,
      `${PRIMARY_DOMAIN}.evil.example`,
      strangerHost(),
    ]) {
      const { status, location } = await rawFetch(lb.worker, "GET", "/", { "Test-Scheme": "http", Host: host });
      expect(status, host).toBe(421);
      expect(location, host).toBeUndefined();
    }
  });

  it("is led to no other server by a host header", async () => {
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

  it("is led to no server by a cookie that names none of its backends, and takes it for no cookie", async () => {
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

  it("pins nobody to a backend that is down: the session moves on and waits for nothing", async () => {
    await lb.cf.kill();
    await lb.servedBy(boundTo("cf")); // Finds out that it is down.
    await lb.cf.start();
    lb.cf.mode = { kind: "hang" };
    for (let i = 0; i < 5; i++) {
      const answer = await inTime(
        2_000,
        "a request bound to a backend that is down",
        lb.worker.fetch("/", boundTo("cf")),
      );
      expect(answer.status).toBe(200);
      expect(["duck", "koyeb"]).toContain(answer.session);
    }
    expect(lb.cf.seen, "the backend that is down is not asked").toEqual([]);
  });

  it("goes by the address that Cloudflare saw, not by one that the client writes", async () => {
    const own = await lb.servedBy({ ip: IP });
    for (let i = 1; i <= 20; i++) {
      const forged = `198.51.100.${i}`;
      const { text } = await lb.worker.fetch("/", {
        ip: IP,
        headers: {
          "X-Forwarded-For": forged,
          "X-Real-IP": forged,
          "True-Client-IP": forged,
          Forwarded: `for=${forged}`,
          "X-Client-IP": forged,
        },
      });
      const { id, headers } = JSON.parse(text) as Echo;
      expect(id).toBe(own);
      expect(headers["x-forwarded-for"]).toBe(IP);
      expect(headers["x-real-ip"]).toBe(IP);
    }
  });

  it("passes on no address at all where Cloudflare named none", async () => {
    const { text } = await lb.worker.fetch("/", { headers: { "X-Forwarded-For": "1.2.3.4", "X-Real-IP": "1.2.3.4" } });
    const { headers } = JSON.parse(text) as Echo;
    expect(headers["x-forwarded-for"]).toBeUndefined();
    expect(headers["x-real-ip"]).toBeUndefined();
  });
});

describe("what it keeps to itself", () => {
  const lb = loadBalancer({ BACKEND_DOWN_TIME: 200, PROBE_AFTER: 100, BACKEND_TIMEOUT: 600 });

  const secretive = (options = {}) =>
    lb.worker.fetch(`/stremio/${SECRET}/manifest.json?key=${SECRET}`, {
      method: "POST",
      body: SECRET,
      ...boundTo("cf", {
        headers: {
          Cookie: `aiostreams_backend=cf; a=${SECRET}`,
          Authorization: SECRET,
          "X-Secret": SECRET,
          "CF-Ray": "ray",
        },
      }),
      ...options,
    });
  const events = () => new Set(lb.worker.log.map(({ event }: LogLine) => event));

  it("logs every event without path, query, header or body, and without a backend's address", async () => {
    await lb.cf.kill();
    expect((await secretive()).status).toBe(200);
    await Promise.all([lb.duck.kill(), lb.koyeb.kill()]);
    expect((await secretive()).status).toBe(502);
    await Promise.all(lb.backends.map((backend) => backend.start()));
    await until("the log tells of all events", async () => {
      await secretive();
      return ["ejected", "failover", "exhausted", "back"].every((event) => events().has(event));
    });

    const { output } = lb.worker;
    expect(output).not.toContain(SECRET);
    expect(output).not.toContain("/stremio");
    for (const { port } of lb.backends) expect(output).not.toContain(String(port));
    for (const line of lb.worker.log) {
      for (const field of Object.keys(line)) {
        expect(["event", "backend", "reason", "status", "attempt", "ray"]).toContain(field);
      }
    }
  });

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

  it.each([520, 521, 522, 523, 524, 525, 526, 527, 530])("relays no error page of Cloudflare's: %i", async (status) => {
    const page = `<title>${PRIMARY_DOMAIN} | ${status}</title> the host secret-backend.example is not reachable`;
    for (const backend of lb.backends) backend.handler = (_, response) => void response.writeHead(status).end(page);
    const answer = await lb.worker.fetch("/", { ip: IP });
    expect(answer.status).toBe(502);
    expect(answer.text).not.toContain("secret-backend");
  });

  it("rewrites a redirect that would tell a client the backend's address", async () => {
    for (const backend of lb.backends) {
      backend.handler = (_, response) =>
        void response.writeHead(302, { Location: `${backend.url}/configure?a=1#b` }).end();
    }
    const { location, text } = await rawFetch(lb.worker, "GET", "/");
    expect(location).toBe(`https://${PRIMARY_DOMAIN}/configure?a=1#b`);
    for (const { port } of lb.backends) expect(text).not.toContain(String(port));
  });
});

describe("a configuration that cannot work", () => {
  it("is answered without what was found in it", async () => {
    const worker = await Worker.start(inject("script"), {
      BACKEND_CF: "https://user:hunter2@secret-backend.example/path",
      BACKEND_TIMEOUT: "hunter2",
    });
    try {
      const { status, text } = await worker.fetch("/");
      expect(status).toBe(500);
      expect(text).toContain("BACKEND_CF");
      expect(text).toContain("BACKEND_TIMEOUT");
      expect(text).not.toMatch(/hunter2|secret-backend/);
    } finally {
      await worker.stop();
    }
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

  it("evicts nobody by a URL that every backend answers with 500", async () => {
    misbehave((_, response) => void response.writeHead(500).end());
    for (let i = 0; i < 10; i++) expect((await lb.worker.fetch("/attack", attack)).status).toBe(500);
    await expectHarmless();
  });

  it("evicts nobody by a URL that every backend answers with 503", async () => {
    misbehave((_, response) => void response.writeHead(503).end());
    for (let i = 0; i < 10; i++) expect((await lb.worker.fetch("/attack", attack)).status).toBe(503);
    await expectHarmless();
  });

  it("gets a backend that answers only its own URL with 500 back at once for all others", async () => {
    lb.cf.handler = (request, response) =>
      void response.writeHead(request.url === "/attack" ? 500 : 200).end(JSON.stringify({ id: "cf" }));
    expect((await lb.worker.fetch("/attack", attack)).status).toBe(200);
    await until("the backend is back", () => lb.isUp("cf"), 2_000);
  });

  it("evicts nobody by a URL that is slow for as long as it likes to wait", async () => {
    misbehave((_, response) => void setTimeout(() => response.end("late"), 500));
    const answers = await Promise.all(Array.from({ length: 5 }, () => lb.worker.fetch("/attack", attack)));
    expect(answers.map(({ text }) => text)).toEqual(Array(5).fill("late"));
    await expectHarmless();
  });

  it("gets every backend back at once for all others after a URL that no backend ever answers", async () => {
    misbehave(() => {});
    expect((await lb.worker.fetch("/attack", attack)).status).toBe(504);
    for (const id of IDS) await until("the backend is back", () => lb.isUp(id), 2_000);
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
