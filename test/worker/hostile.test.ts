import { once } from "node:events";
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import fc from "fast-check";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { Backend, type Echo } from "../support/backend.ts";
import { IDS, type LoadBalancer, PATIENT, sharedLoadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { handshake, head, rawFetch } from "../support/raw-http.ts";
import { PRIMARY_DOMAIN, type Worker } from "../support/worker.ts";

// What is not here: requests that are malformed, and methods that the runtime does not know. It answers these itself, before the
// Worker runs.

const IP = "192.0.2.1";
const SESSION_COOKIE = /^aiostreams_backend=(cf|duck|koyeb); Path=\/; HttpOnly; Secure; SameSite=Lax; Max-Age=86400$/;

/** Sends these bytes and resolves to all that comes back until the connection ends or has been quiet for so long. */
async function converse(worker: Worker, text: string, quietMs = 1_000): Promise<string> {
  const socket = connect(worker.port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("error", () => {});
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.setTimeout(quietMs, () => socket.destroy());
  socket.write(Buffer.from(text, "latin1"));
  await new Promise((resolve) => socket.on("close", resolve));
  return Buffer.concat(chunks).toString("latin1");
}

/** The statuses of the answers in what a connection carried. */
function statuses(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.[01] (\d{3}) /gm)].map(([, status]) => Number(status));
}

async function expectUntroubled(lb: LoadBalancer): Promise<void> {
  expect(lb.worker.log, "no backend is ejected, and no request fails over").toEqual([]);
  for (const id of IDS) await expect.poll(() => lb.isUp(id)).toBe(true);
}

describe("hostile input", () => {
  const lb = sharedLoadBalancer(PATIENT);
  /** A backend that no variable names: what reaches it was sent where it must not go. */
  const stranger = new Backend("stranger");
  const seen = () => lb.backends.flatMap((backend) => backend.seen);

  beforeAll(async () => {
    await stranger.start();
    return () => stranger.kill();
  });

  afterEach(async () => {
    expect(stranger.connections.size, "a host that is not configured is never connected to").toBe(0);
    expect(stranger.seen).toEqual([]);
    await expectUntroubled(lb);
  });

  it("gets no request through that is hidden in the body of another", async () => {
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
    const texts = ["GET", "HEAD", "POST"].flatMap((method) =>
      framings.map(([framing, body]) => `${head(method, "/first").slice(0, -2)}${framing}\r\n\r\n${body}`),
    );
    await Promise.all(texts.map((text) => converse(lb.worker, text)));
    expect(seen().map(({ url }) => url)).toContain("/first");
    expect(seen().map(({ url }) => url)).not.toContain("/hidden");
  });

  it("leads nowhere by the target of a request or its Host, whatever their form", async () => {
    const address = `127.0.0.1:${stranger.port}`;
    const targets = ["http://", "https://", "http://user:password@", "//", "/\\", "/@", "@", ""];
    const hosts = [PRIMARY_DOMAIN, address, `${PRIMARY_DOMAIN}@${address}`, `${address}#@${PRIMARY_DOMAIN}`];
    const texts = [...targets.map((before) => `${before}${address}`), "*"].flatMap((target) =>
      hosts.map((host) => head("GET", target, { Host: host, Connection: "close" })),
    );
    for (const text of await Promise.all(texts.map((text) => converse(lb.worker, text)))) {
      for (const status of statuses(text)) expect([200, 400, 421]).toContain(status);
    }
    const headers = { "X-Forwarded-Host": address, "X-Host": address };
    expect((await lb.worker.fetch("/", { ip: IP, headers })).status).toBe(200);
  });

  it("is no session where a cookie names no backend, and writes no header that it spells", async () => {
    const own = await lb.servedBy({ ip: IP });
    const forged = [
      `127.0.0.1:${stranger.port}`,
      stranger.url,
      `cf@127.0.0.1:${stranger.port}`,
      lb.cf.url,
      "CF",
      "__proto__",
      "constructor",
      "0",
      "",
      '"cf"',
      "%63%66",
      "cf%0d%0aX-Injected: 1",
      "x\x85X-Injected: 1",
      'x"; Domain=evil.example; X-Injected',
    ];
    for (const value of forged) {
      const answer = await lb.worker.fetch("/", { ip: IP, headers: { Cookie: `aiostreams_backend=${value}` } });
      expect([answer.status, answer.session], value).toEqual([200, own]);
      expect(answer.headers["set-cookie"], value).toEqual([expect.stringMatching(SESSION_COOKIE)]);
      expect(answer.rawHeaders.join("\n"), value).not.toMatch(/injected|evil/i);
    }
  });

  it("ends at a backend's root where a path has dot segments", async () => {
    for (const path of ["/../../etc/passwd", "/a/../../../etc/passwd"]) {
      expect((await rawFetch(lb.worker, "GET", path)).status).toBe(200);
    }
    expect(seen().map(({ url }) => url)).toEqual(["/etc/passwd", "/etc/passwd"]);
  });

  it.each([
    { "Sec-WebSocket-Key": "" },
    { "Sec-WebSocket-Version": "12" },
    { "Sec-WebSocket-Version": "" },
    { "Sec-WebSocket-Key": "\xff\xfe" },
    { Connection: "close" },
  ])("holds no backend's socket open by a broken WebSocket handshake: %j", async (headers) => {
    const response = await handshake(lb.worker, "/", { ip: IP, headers });
    expect([101, 200, 400, 426]).toContain(response.statusCode);
    response.destroy();
    await expect.poll(() => lb.backends.every(({ webSockets }) => webSockets.size === 0)).toBe(true);
  });

  it("reaches a backend as it is, where it is a valid request: 500 of them", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    await fc.assert(
      fc.asyncProperty(fc.array(validRequest, { minLength: 50, maxLength: 50 }), async (requests) => {
        await Promise.all(requests.map((request) => expectVerbatim(lb.worker, agent, request)));
      }),
      { numRuns: 10 },
    );
    agent.destroy();
  });
});

describe("a backend that refuses what is too large", () => {
  const lb = sharedLoadBalancer(PATIENT, { startBackend: (id) => new Backend(id, undefined, 16 * 1024).start() });

  it("has its 431 relayed, and stays up", async () => {
    const headers = { Connection: "close", "X-Large": "a".repeat(32 * 1024) };
    for (const request of [head("GET", "/", headers), `${head("POST", "/", { ...headers, "Content-Length": 3 })}abc`]) {
      for (let i = 0; i < 5; i++) expect(statuses(await converse(lb.worker, request, 30_000))).toEqual([431]);
    }
    await expectUntroubled(lb);
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

const TOKEN = [..."!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"];
/** What RFC 3986 allows in a path or query, and what else clients send as it is. */
const PATH = [..."/?%:@!$&'()*+,;=-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ[]|"];
const KNOWN =
  `accept accept-encoding authorization cookie if-none-match if-modified-since origin range referer user-agent
  x-client-ip x-aiostreams-user-ip cache-control`.split(/\s+/);

const headerName = fc.oneof(
  fc.string({ unit: fc.constantFrom(...TOKEN), minLength: 1, maxLength: 20 }).map((rest) => `x-t-${rest}`),
  fc.constantFrom(...KNOWN),
);
/** The runtime leaves out a well-known header whose value is empty. */
const headerValue = fc.string({ unit: latin1(0x20), maxLength: 60 }).filter((value) => /[^ \t]/.test(value));

const validRequest: fc.Arbitrary<ValidRequest> = fc.record({
  method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"),
  path: fc
    .string({ unit: fc.constantFrom(...PATH), maxLength: 80 })
    .map((rest) => `/${rest}`)
    // `fetch` itself resolves dot segments, as browsers do (RFC 3986, section 6.2.2.3).
    .filter((path) => !/\/\.{1,2}(\/|\?|$)/.test(path)),
  headers: fc.dictionary(headerName, headerValue, { maxKeys: 6 }),
  body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

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

/** Headers that the Worker, the runtime or the connection sets; those of the last line only where the client does not. */
const ADDED = new Set(
  `host connection content-length transfer-encoding cf-connecting-ip
  x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip
  cache-control pragma`.split(/\s+/),
);

async function expectVerbatim(worker: Worker, agent: Agent, request: ValidRequest): Promise<void> {
  const { response, text, sent } = await send(worker, agent, request);
  expect(response.statusCode, text).toBe(200);
  if (request.method === "HEAD") return;
  const { headers, ...echo } = JSON.parse(text) as Echo;
  expect(echo).toMatchObject({ method: request.method, url: request.path, sha256: sha256(sent) });
  const arrived = Object.entries(headers).filter(([name]) => name in request.headers || !ADDED.has(name));
  // White space around a value is no part of it (RFC 9110, section 5.5).
  const expected = Object.entries(request.headers).map(([name, value]) => [
    name,
    value.replace(/^[ \t]+|[ \t]+$/g, ""),
  ]);
  expect(Object.fromEntries(arrived)).toEqual(Object.fromEntries(expected));
}
