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
  /** All of it, with the public domain. */
  readonly url: string;
  /** What was to be stored; empty for a reading. */
  readonly text: string;
}

interface Entry {
  readonly text: string;
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
    // A serialized response: the lines of its headers, then its body, which holds no empty line.
    const [head = "", text = ""] = String(Buffer.concat(await request.toArray())).split("\r\n\r\n");
    this.operations.push({ url, text });
    const { mode } = this;
    if (mode.kind === "hang") return;
    if (mode.kind === "reset") return void socket.resetAndDestroy();
    if (mode.kind === "status") return void response.writeHead(mode.status).end();

    // Caches by other names are kept apart, as at Cloudflare.
    const key = `${headers["cf-cache-namespace"] ?? ""} ${url}`;
    if (method === "GET") return this.#read(key, response);
    // The Worker deletes nothing, so this is a PUT. Without `max-age` Cloudflare keeps nothing.
    const [, maxAge = 0] = /^cache-control:.*max-age=(\d+)/im.exec(head) ?? [];
    this.#entries.set(key, { text, expiresMs: Date.now() + Number(maxAge) * 1_000 });
    response.writeHead(204).end();
  }

  #read(key: string, response: ServerResponse): void {
    const { mode } = this;
    const hit = { "CF-Cache-Status": "HIT", "Content-Type": "application/json" };
    if (mode.kind === "stall") return void response.writeHead(200, { ...hit, "Content-Length": 1_000 }).write("{");
    const entry = this.#entries.get(key);
    const stored = entry && Date.now() < entry.expiresMs ? entry.text : undefined;
    const text = mode.kind === "contents" ? mode.text : stored;
    // RFC 9111, section 5.2.1.7: the answer to `only-if-cached` where nothing is stored.
    if (text === undefined) return void response.writeHead(504, { "CF-Cache-Status": "MISS" }).end();
    // What was stored had a known length, or it would not have been taken.
    response.writeHead(200, { ...hit, "Content-Length": Buffer.byteLength(text) }).end(text);
  }
}
