import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { freePort } from "./ports.ts";

/** How the cache behaves. */
export type CacheMode =
  | { readonly kind: "well" }
  /** Accepts and reads, and never answers. */
  | { readonly kind: "hang" }
  /** Answers every reading with the beginning of an entry, and no more. */
  | { readonly kind: "stall" }
  /** Answers everything with this status. */
  | { readonly kind: "status"; readonly status: number }
  /** Answers every reading with this text, whatever was written. */
  | { readonly kind: "contents"; readonly text: string }
  /** Resets every connection. */
  | { readonly kind: "reset" };

/** One operation, as it arrived. */
export interface CacheOperation {
  readonly kind: "reading" | "write";
  /** All of it, with the public domain. */
  readonly url: string;
  /** What was to be stored; empty for a reading. */
  readonly text: string;
  readonly atMs: number;
}

interface Entry {
  readonly head: readonly string[];
  readonly body: Buffer;
  readonly expiresMs: number;
}

/**
 * A cache for Workers under workerd, which speaks the protocol of its `cacheApiOutbound`
 * (https://github.com/cloudflare/workerd/blob/main/src/workerd/api/cache.c%2B%2B). Several workerd processes that share one
 * stand for the isolates of one data centre. It runs inside the process that starts it, and keeps nothing.
 */
export class CacheService {
  mode: CacheMode = { kind: "well" };
  readonly operations: CacheOperation[] = [];
  readonly #entries = new Map<string, Entry>();
  readonly #connections = new Set<Socket>();
  #port = 0;
  // workerd may name the host in the request line alone.
  readonly #server = createServer({ requireHostHeader: false });

  private constructor() {
    this.#server.on("connection", (socket: Socket) => {
      this.#connections.add(socket);
      socket.on("close", () => this.#connections.delete(socket));
      socket.on("error", () => {});
    });
    this.#server.on("request", (request, response) => void this.#answer(request, response).catch(() => {}));
  }

  static async start(): Promise<CacheService> {
    const service = new CacheService();
    service.#port = await freePort();
    service.#server.listen(service.#port, "127.0.0.1");
    await once(service.#server, "listening");
    return service;
  }

  /** What a Worker's `cacheService` has to be. */
  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get readings(): CacheOperation[] {
    return this.operations.filter(({ kind }) => kind === "reading");
  }

  get writes(): CacheOperation[] {
    return this.operations.filter(({ kind }) => kind === "write");
  }

  /** The texts that it holds, by URL. */
  get entries(): Map<string, string> {
    const living = [...this.#entries].filter(([, { expiresMs }]) => Date.now() < expiresMs);
    return new Map(living.map(([key, { body }]) => [key.slice(key.indexOf(" ") + 1), body.toString()]));
  }

  /** From now on it refuses connections; those that are open are reset. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#connections) socket.resetAndDestroy();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", headers, socket } = request;
    const url = new URL(request.url ?? "", `https://${headers.host}`).href;
    const stored = Buffer.concat(await request.toArray());
    const { head, body } = parseResponse(stored);
    const isReading = method === "GET";
    if (isReading || method === "PUT") {
      const kind = isReading ? "reading" : "write";
      this.operations.push({ kind, url, text: body.toString(), atMs: Date.now() });
    }
    const { mode } = this;
    if (mode.kind === "hang") return;
    if (mode.kind === "reset") return void socket.resetAndDestroy();
    if (mode.kind === "status") return void response.writeHead(mode.status).end();

    // Caches by other names are kept apart, as at Cloudflare.
    const key = `${headers["cf-cache-namespace"] ?? ""} ${url}`;
    if (isReading) return this.#read(key, response);
    if (method === "PUT") {
      this.#entries.set(key, { head, body, expiresMs: Date.now() + maxAgeMs(head) });
      return void response.writeHead(204).end();
    }
    const isPurged = method === "PURGE" && this.#entries.delete(key);
    response.writeHead(isPurged ? 200 : 404).end();
  }

  #read(key: string, response: ServerResponse): void {
    const { mode } = this;
    const hit = { "CF-Cache-Status": "HIT", "Content-Type": "application/json" };
    if (mode.kind === "contents") {
      // What was stored had a known length, or it would not have been taken.
      return void response.writeHead(200, { ...hit, "Content-Length": Buffer.byteLength(mode.text) }).end(mode.text);
    }
    if (mode.kind === "stall") return void response.writeHead(200, { ...hit, "Content-Length": 1_000 }).write("{");
    const entry = this.#entries.get(key);
    if (!entry || Date.now() >= entry.expiresMs) {
      // RFC 9111, section 5.2.1.7: the answer to `only-if-cached` where nothing is stored.
      return void response.writeHead(504, { "CF-Cache-Status": "MISS" }).end();
    }
    response.writeHead(200, [...entry.head, "CF-Cache-Status", "HIT"]).end(entry.body);
  }
}

/** A serialized response: its headers, names and values in turn, and its body. */
function parseResponse(bytes: Buffer): Pick<Entry, "head" | "body"> {
  const end = bytes.indexOf("\r\n\r\n");
  const [, ...lines] = bytes.toString("latin1", 0, Math.max(end, 0)).split("\r\n");
  const head = lines.flatMap((line) => {
    const [, name = "", value = ""] = /^([^:]+):\s*(.*)$/.exec(line) ?? [];
    // Its chunks are those of the stored response, which has none.
    return /^(connection|transfer-encoding)$/i.test(name) ? [] : [name, value];
  });
  return { head, body: bytes.subarray(end === -1 ? bytes.length : end + 4) };
}

/** Without `max-age` Cloudflare keeps nothing. */
function maxAgeMs(head: readonly string[]): number {
  const cacheControl = head.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === "cache-control");
  return Number(/max-age=(\d+)/.exec(head[cacheControl + 1] ?? "")?.[1] ?? 0) * 1_000;
}
