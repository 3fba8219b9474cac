import { once } from "node:events";
import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { Backend, type Echo } from "../support/backend.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, IDS, loadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { handshake, head } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import { backendVars, PRIMARY_DOMAIN, Worker } from "../support/worker.ts";

// What is not here: CONNECT and methods that the runtime does not know. It answers these itself, before the Worker runs.

const IP = "192.0.2.1";

/** Sends these bytes and resolves to all that comes back until the connection ends or has been quiet for a while. */
async function converse(worker: Worker, bytes: string | Buffer): Promise<string> {
  const socket = connect(worker.port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("error", () => {});
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.setTimeout(1_000, () => socket.destroy());
  socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  await new Promise((resolve) => socket.on("close", resolve));
  return Buffer.concat(chunks).toString("latin1");
}

/** The statuses of the answers in what a connection carried. */
function statuses(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.[01] (\d{3}) /gm)].map(([, status]) => Number(status));
}

describe("hostile input", () => {
  const lb = loadBalancer();
  /** A backend that no variable names: whatever reaches it was sent where it must not go. */
  let stranger: Backend;

  beforeEach(async () => {
    stranger = await new Backend("stranger").start();
  });

  afterEach(async () => {
    expect(stranger.connections.size, "a host that is not configured is never connected to").toBe(0);
    expect(stranger.seen).toEqual([]);
    expect(lb.worker.log, "nobody is ejected, and no request fails over").toEqual([]);
    for (const id of IDS) expect(await lb.servedBy(boundTo(id)), "everybody keeps the session").toBe(id);
    await stranger.kill();
  });

  const seen = () => lb.backends.flatMap((backend) => backend.seen);

  it("refuses a malformed request line or header before any backend sees it", async () => {
    const rest = `Host: ${PRIMARY_DOMAIN}\r\nTest-Scheme: https\r\n`;
    const lines = [
      "GET",
      "GET /",
      "GET / HTTP/9.9",
      "GET / HTTP/1.1 x",
      "GET  / HTTP/1.1",
      " GET / HTTP/1.1",
      "GET /a b HTTP/1.1",
      "GET /\0 HTTP/1.1",
      "GET /\xff HTTP/1.1",
      "/ HTTP/1.1",
      "PRI * HTTP/2.0",
      "\x16\x03\x01\x00\x05hello",
    ].map((line) => `${line}\r\n${rest}\r\n`);
    const headers = ["X A: b", ": b", "X-A", "X-A: b\r\n folded", "X-A: a\rb", "X-A: a\0b", "\xe9: a"].map(
      (line) => `GET / HTTP/1.1\r\n${rest}${line}\r\n\r\n`,
    );
    for (const text of [...lines, ...headers]) {
      expect(statuses(await converse(lb.worker, text)), JSON.stringify(text)).toEqual([400]);
    }
    expect(seen()).toEqual([]);
  });

  it("survives header bombs", async () => {
    const many = Array.from({ length: 5_000 }, (_, i) => `X-${i}: ${i}\r\n`).join("");
    const long = `X-Long: ${"a".repeat(200_000)}\r\n`;
    for (const bomb of [many, long, many + long]) {
      const text = `${head("GET", "/").slice(0, -2)}${bomb}\r\n`;
      for (const status of statuses(await converse(lb.worker, text))) expect(status).toBe(431);
    }
    expect(seen()).toEqual([]);
  });

  it("lets no request through that is hidden in the body of another", async () => {
    const hidden = head("GET", "/hidden", { Connection: "close" });
    const framings: [framing: string, body: string][] = [
      ["Content-Length: 3\r\nContent-Length: 5", `abc${hidden}`],
      ["Content-Length: 3, 3", `abc${hidden}`],
      ["Content-Length: +3", `abc${hidden}`],
      ["Content-Length: 0x3", `abc${hidden}`],
      ["Content-Length: -1", hidden],
      [`Content-Length: ${5 + hidden.length}\r\nTransfer-Encoding: chunked`, `0\r\n\r\n${hidden}`],
      ["Content-Length: 4\r\nTransfer-Encoding: chunked", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: xchunked", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: chunked, identity", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding : chunked", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: chunked", `3\r\nabcX0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: chunked", `fffffffffffffffff\r\n${hidden}`],
      [`Content-Length: ${hidden.length}`, hidden],
    ];
    for (const method of ["GET", "HEAD", "POST"]) {
      for (const [framing, body] of framings) {
        await converse(lb.worker, `${head(method, "/first").slice(0, -2)}${framing}\r\n\r\n${body}`);
      }
    }
    expect(seen().map(({ url }) => url)).toContain("/first");
    expect(seen().map(({ url }) => url)).not.toContain("/hidden");
  });

  it("never answers a request that is not HTTP at all with an error of its own", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 400 }), async (bytes) => {
        const text = await converse(lb.worker, Buffer.from([...bytes, 13, 10, 13, 10]));
        for (const status of statuses(text)) expect([400, 421, 501]).toContain(status);
      }),
      { numRuns: 200 },
    );
  });

  it("serves no host but its own, whatever that looks like", async () => {
    const ask = async (host: string) => (await lb.worker.fetch("/", { host, ip: IP })).status;
    const foreign = [
      `127.0.0.1:${stranger.port}`,
      `user@${PRIMARY_DOMAIN}`,
      `user:password@${PRIMARY_DOMAIN}`,
      `${PRIMARY_DOMAIN}@127.0.0.1:${stranger.port}`,
      `127.0.0.1:${stranger.port}#@${PRIMARY_DOMAIN}`,
      `${PRIMARY_DOMAIN}.evil.example`,
      `evil-${PRIMARY_DOMAIN}`,
      `.${PRIMARY_DOMAIN}`,
      `${PRIMARY_DOMAIN}..`,
      `${PRIMARY_DOMAIN}:x`,
      "[::1]",
    ];
    for (const host of foreign) expect(await ask(host), host).toBe(421);
    for (const host of foreign) {
      expect((await lb.worker.fetch("/", { host, scheme: "http" })).status, `http: ${host}`).toBe(421);
    }
  });

  it("goes nowhere that the target of a request names, whatever its form", async () => {
    const targets = [
      `http://127.0.0.1:${stranger.port}/`,
      `https://127.0.0.1:${stranger.port}/`,
      `http://user:password@127.0.0.1:${stranger.port}/`,
      `//127.0.0.1:${stranger.port}/`,
      `/\\127.0.0.1:${stranger.port}/`,
      `/@127.0.0.1:${stranger.port}/`,
      `:${stranger.port}/`,
      `@127.0.0.1:${stranger.port}/`,
      `127.0.0.1:${stranger.port}`,
      "*",
    ];
    for (const target of targets) {
      for (const host of [PRIMARY_DOMAIN, `127.0.0.1:${stranger.port}`]) {
        const text = await converse(lb.worker, head("GET", target, { Host: host, Connection: "close" }));
        for (const status of statuses(text)) expect([200, 400, 421], target).toContain(status);
      }
    }
  });

  it("leaves a backend's own paths to the backend: dot segments end at its root", async () => {
    for (const path of ["/../../etc/passwd", "/a/../../../etc/passwd"]) {
      const text = await converse(lb.worker, head("GET", path, { Connection: "close" }));
      expect(statuses(text)).toEqual([200]);
    }
    expect(seen().map(({ url }) => url)).toEqual(["/etc/passwd", "/etc/passwd"]);
  });

  it.each([8, 32])("carries a header of %i KiB byte for byte", async (kib) => {
    const value = noise(kib * 1024)
      .toString("base64")
      .slice(0, kib * 1024);
    const { status, text } = await lb.worker.fetch("/", { ip: IP, headers: { "X-Large": value } });
    expect(status).toBe(200);
    expect((JSON.parse(text) as Echo).headers["x-large"]).toBe(value);
  });

  it("answers a WebSocket handshake without a key or with a wrong version, and holds no backend's socket open for it", async () => {
    const broken = [
      { "Sec-WebSocket-Key": "" },
      { "Sec-WebSocket-Version": "12" },
      { "Sec-WebSocket-Version": "" },
      { "Sec-WebSocket-Key": "\xff\xfe", "Sec-WebSocket-Version": "13" },
      { Connection: "close" },
    ];
    for (const headers of broken) {
      const response = await handshake(lb.worker, "/", { ip: IP, headers });
      expect([101, 200, 400, 426], JSON.stringify(headers)).toContain(response.statusCode);
      response.destroy();
    }
    await until("no socket is open", () => lb.backends.every(({ webSockets }) => webSockets.size === 0));
  });

  it("takes a POST that asks for a WebSocket for the POST that it is", async () => {
    const body = noise(5_000);
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "x",
    };
    const { status, text } = await lb.worker.fetch("/upload", { method: "POST", body, ip: IP, headers });
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ method: "POST", url: "/upload", sha256: sha256(body) });
  });

  it("takes a list of addresses, or text that is none, for one client", async () => {
    for (const ip of [
      "192.0.2.1, 198.51.100.2",
      "::",
      ":::::::::::::::",
      "\xff\xfe",
      "a".repeat(5_000),
      "::ffff:1.2.3.4%eth0",
    ]) {
      const backends = new Set([await lb.servedBy({ ip }), await lb.servedBy({ ip }), await lb.servedBy({ ip })]);
      expect(backends.size, ip).toBe(1);
    }
  });

  it("passes 3,000 generated requests on as they are", { timeout: 180_000 }, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    await fc.assert(
      fc.asyncProperty(fc.array(validRequest, { minLength: 50, maxLength: 50 }), async (requests) => {
        await Promise.all(requests.map((request) => expectVerbatim(lb.worker, agent, request)));
      }),
      { numRuns: 60 },
    );
    agent.destroy();
  });

  it("answers whatever path and cookie it is sent, without an error of its own", { timeout: 120_000 }, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const wild = fc.record({
      path: fc.string({ unit: latin1(0x21), maxLength: 60 }).map((rest) => `/${rest}`),
      cookie: fc.string({ unit: latin1(0x20), maxLength: 60 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(wild, { minLength: 50, maxLength: 50 }), async (requests) => {
        for (const { path, cookie } of requests) {
          const headers = { Cookie: `aiostreams_backend=${cookie}` };
          const { response } = await send(lb.worker, agent, { method: "GET", path, headers, body: Buffer.alloc(0) });
          expect([200, 400], path).toContain(response.statusCode);
          for (const line of response.headers["set-cookie"] ?? []) {
            expect(line).toMatch(
              /^aiostreams_backend=(cf|duck|koyeb); Path=\/; HttpOnly; Secure; SameSite=Lax; Max-Age=\d+$/,
            );
          }
        }
      }),
      { numRuns: 40 },
    );
    agent.destroy();
  });
});

/** A request whose every byte has to arrive. */
interface ValidRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

/** Any character of ISO 8859-1 from `first` on, but for DEL. */
function latin1(first: number): fc.Arbitrary<string> {
  return fc
    .integer({ min: first, max: 0xff })
    .filter((code) => code !== 0x7f)
    .map((code) => String.fromCharCode(code));
}

const TOKEN = [..."!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"];
/** What RFC 3986 allows in a path or query, and what else clients send as it is. */
const PATH = [..."/?%:@!$&'()*+,;=-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ[]|"];

const validRequest: fc.Arbitrary<ValidRequest> = fc.record({
  method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"),
  path: fc
    .string({ unit: fc.constantFrom(...PATH), maxLength: 80 })
    .map((rest) => `/${rest}`)
    // `fetch` itself resolves dot segments, as browsers do (RFC 3986, section 6.2.2.3).
    .filter((path) => !/\/\.{1,2}(\/|\?|$)/.test(path)),
  // The runtime leaves out a well-known header whose value is empty.
  headers: fc.dictionary(headerName(), fc.string({ unit: latin1(0x20), maxLength: 60 }).filter(isNotBlank), {
    maxKeys: 6,
  }),
  body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

function isNotBlank(value: string): boolean {
  return /[^ \t]/.test(value);
}

function headerName(): fc.Arbitrary<string> {
  const known = [
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Cookie",
    "If-None-Match",
    "If-Modified-Since",
    "Origin",
  ];
  const others = [
    "Range",
    "Referer",
    "User-Agent",
    "X-Client-IP",
    "X-AIOStreams-User-IP",
    "Cache-Control",
    "Forwarded",
  ];
  const own = fc.string({ unit: fc.constantFrom(...TOKEN), minLength: 1, maxLength: 20 }).map((rest) => `x-t-${rest}`);
  return fc
    .oneof(
      own,
      fc.constantFrom(...known, ...others).map((name) => name.toLowerCase()),
    )
    .map((name) => name.toLowerCase());
}

async function send(worker: Worker, agent: Agent, { method, path, headers, body }: ValidRequest) {
  const hasBody = method !== "GET" && method !== "HEAD" && body.length > 0;
  const request = httpRequest({
    port: worker.port,
    method,
    path,
    agent,
    headers: {
      Host: PRIMARY_DOMAIN,
      "Test-Scheme": "https",
      "CF-Connecting-IP": IP,
      ...(hasBody && { "Content-Length": body.length }),
      ...headers,
    },
  });
  request.end(hasBody ? body : undefined);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const text = Buffer.concat(await response.toArray()).toString();
  return { response, text, sent: hasBody ? body : Buffer.alloc(0) };
}

/** Headers that the Worker or the connection sets. */
const ADDED = new Set([
  "host",
  "connection",
  "content-length",
  "transfer-encoding",
  "cf-connecting-ip",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
]);

/** What the runtime adds to a request with a range, since that bypasses the cache. */
const CACHE_BYPASS = new Set(["cache-control", "pragma"]);

async function expectVerbatim(worker: Worker, agent: Agent, request: ValidRequest): Promise<void> {
  const { response, text, sent } = await send(worker, agent, request);
  expect(response.statusCode, text).toBe(200);
  if (request.method === "HEAD") return;
  const echo = JSON.parse(text) as Echo;
  const isRange = "range" in request.headers;
  // White space around a value is no part of it (RFC 9110, section 5.5).
  const expected = Object.entries(request.headers).map(([name, value]) => [
    name,
    value.replace(/^[ \t]+|[ \t]+$/g, ""),
  ]);
  const arrived = Object.entries(echo.headers).filter(
    ([name]) => !ADDED.has(name) && (name in request.headers || !(isRange && CACHE_BYPASS.has(name))),
  );
  expect({ ...echo, headers: Object.fromEntries(arrived) }).toMatchObject({
    method: request.method,
    url: request.path,
    sha256: sha256(sent),
  });
  expect(Object.fromEntries(arrived)).toEqual(Object.fromEntries(expected));
}

describe("backends that refuse what is too large", () => {
  let servers: Server[];
  let worker: Worker;

  /** Node's own limits, as AIOStreams has them: it answers a header of more than 16 KiB by 431 and hangs up. */
  beforeEach(async () => {
    servers = IDS.map((id) =>
      createServer((request, response) => {
        const bytes = Number(/^\/large\/(\d+)$/.exec(request.url ?? "")?.[1] ?? 0);
        response.writeHead(200, { "X-Large": "a".repeat(bytes) }).end(id);
      }).listen(0, "127.0.0.1"),
    );
    await Promise.all(servers.map((server) => once(server, "listening")));
    const backends = servers.map((server, i) => {
      return { id: String(IDS[i]), url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
    });
    worker = await Worker.start(inject("script"), backendVars(backends));
  });

  afterEach(async () => {
    for (const id of IDS) expect((await worker.fetch("/", boundTo(id))).text, "everybody keeps the session").toBe(id);
    expect(worker.log, "nobody is ejected").toEqual([]);
    expect(worker.output).not.toMatch(/uncaught/i);
    await worker.stop();
    for (const server of servers) server.close();
  });

  it.each([17, 32, 100])("relays the 431 for a header of %i KiB", async (kib) => {
    for (const method of ["GET", "POST"]) {
      const text = `${head(method, "/", { Connection: "close" }).slice(0, -2)}X-Large: ${"a".repeat(kib * 1024)}\r\nContent-Length: 3\r\n\r\nabc`;
      for (let i = 0; i < 10; i++) expect(statuses(await converse(worker, text))).toEqual([431]);
    }
  });

  it("relays the 431 for a path of 20 KiB", async () => {
    expect((await worker.fetch(`/${"a".repeat(20_000)}`, { ip: IP })).status).toBe(431);
  });

  it.each([8, 32, 100])("relays a response header of %i KiB", async (kib) => {
    const text = await converse(worker, head("GET", `/large/${kib * 1024}`, { Connection: "close" }));
    expect(statuses(text)).toEqual([200]);
    expect(text.toLowerCase()).toContain(`x-large: ${"a".repeat(kib * 1024)}\r\n`);
  });
});
