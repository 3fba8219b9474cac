import { createHash } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, expect, inject } from "vitest";
import { type Echo, Origin } from "./origin.ts";
import { type Options, PRIMARY_DOMAIN, Worker } from "./worker.ts";

export type Id = "cf" | "duck" | "koyeb";
export const IDS: readonly Id[] = ["cf", "duck", "koyeb"];

/** Text that stands in the path, the query, a header and the cookie of a test's requests; no log may hold it. */
export const SECRET = "s3cr3t";

/** The Worker and three backends. A test binds its client to `cf` and breaks that one; `duck` and `koyeb` are the others. */
export interface LoadBalancer {
  worker: Worker;
  cf: Origin;
  duck: Origin;
  koyeb: Origin;
  /** All three, in the order of their ids. */
  origins: Origin[];
  /** The backend that serves a request. */
  servedBy(options?: Options): Promise<string>;
  /** Whether the Worker sends user traffic to a backend now. */
  isUp(id: Id): Promise<boolean>;
}

/** Three new backends and a new Worker with these variables before each test of the suite that calls it, and none after. */
export function loadBalancer(vars: Record<string, string | number | boolean> = {}): LoadBalancer {
  const lb = {
    async servedBy(options: Options = {}) {
      const { status, text } = await lb.worker.fetch("/who", options);
      expect(status, text).toBe(200);
      return (JSON.parse(text) as Echo).id;
    },
    async isUp(id: Id) {
      return (await lb.servedBy(boundTo(id))) === id;
    },
  } as LoadBalancer;

  beforeEach(async () => {
    lb.origins = await Promise.all(IDS.map((id) => new Origin(id).start()));
    for (const id of IDS) lb[id] = lb.origins[IDS.indexOf(id)] as Origin;
    lb.worker = await Worker.start(inject("script"), { ...backendVars(lb.origins), ...vars });
  });

  afterEach(async () => {
    await lb.worker.stop();
    await Promise.all(lb.origins.map((origin) => origin.kill()));
    expect(lb.worker.output, "nothing is thrown that nobody catches").not.toMatch(/uncaught/i);
    expect(lb.worker.output, "the log holds no secret").not.toContain(SECRET);
  });

  return lb;
}

/** The variables that configure these origins as backends. */
export function backendVars(origins: readonly { id: string; url: string }[]): Record<string, string> {
  return Object.fromEntries(origins.map(({ id, url }) => [`BACKEND_${id.toUpperCase()}`, url]));
}

/** The options of a client whose session is on this backend. */
export function boundTo<More extends Options>(id: string, options?: More) {
  return Object.assign({}, options, { headers: { Cookie: `aiostreams_backend=${id}`, ...options?.headers } });
}

export function sha256(bytes: Buffer | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes of which no two parts are alike, so that a part that is lost, doubled or out of place is seen. */
export function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 0x9e3779b9 ^ length;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** The bytes in pieces, for a body that is sent without a length. */
export async function* pieces(bytes: Buffer, size = 64 * 1024, pauseMs = 0): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) {
    if (pauseMs > 0) await sleep(pauseMs);
    yield bytes.subarray(start, start + size);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Rejects where a promise takes longer: for what must not wait. */
export function inTime<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const late = sleep(ms).then(() => Promise.reject(new Error(`${what} took more than ${ms} ms`)));
  late.catch(() => {});
  return Promise.race([promise, late]);
}

/** The status line and headers of a request as text, for what an HTTP client would not send, or would not send half. */
export function head(method: string, path: string, headers: OutgoingHttpHeaders = {}): string {
  const lines = Object.entries({ Host: PRIMARY_DOMAIN, "Test-Scheme": "https", ...headers });
  return `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

/** A connection to the Worker on which this text has been sent. */
export async function rawConnection(worker: Worker, text: string | Buffer): Promise<Socket> {
  const socket = connect(worker.port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  await new Promise((resolve) => socket.write(text, resolve));
  return socket;
}

/** Sends a request exactly as it is written and resolves to all that comes back. */
export async function rawFetch(worker: Worker, method: string, path: string, headers: OutgoingHttpHeaders = {}) {
  const socket = await rawConnection(worker, head(method, path, { ...headers, Connection: "close" }));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, end).split("\r\n");
  const location = lines.find((line) => /^location:/i.test(line))?.replace(/^location:\s*/i, "");
  return { status: Number(statusLine.split(" ")[1]), location, text, body: text.slice(end + 4) };
}

/** The headers that ask for a WebSocket (RFC 6455, section 1.3). */
export const UPGRADE = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** Asks for a WebSocket and resolves at the answer's headers, whatever its status. */
export function handshake(worker: Worker, path: string, options: Options = {}): Promise<IncomingMessage> {
  const request = httpRequest({
    host: "127.0.0.1",
    port: worker.port,
    path,
    agent: false,
    headers: {
      Host: PRIMARY_DOMAIN,
      "Test-Scheme": "https",
      ...UPGRADE,
      ...(options.ip !== undefined && { "CF-Connecting-IP": options.ip }),
      ...options.headers,
    },
    ...(options.signal && { signal: options.signal }),
  });
  return new Promise((resolve, reject) => {
    request.on("error", reject);
    request.on("response", resolve);
    request.on("upgrade", (response, socket) => {
      socket.on("error", () => {});
      socket.destroy();
      resolve(response);
    });
    request.end();
  });
}
