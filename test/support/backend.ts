import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { type WebSocket, WebSocketServer } from "ws";
import { sha256 } from "./hashing.ts";
import { freePort } from "./ports.ts";

/** How a backend behaves; every state but `well` also says what its health route does. */
export type Mode =
  | { readonly kind: "well" }
  /** Answers every route with this status; the health route too, unless `healthStatus` says otherwise. */
  | { readonly kind: "status"; readonly status: number; readonly healthStatus?: number }
  /** Accepts, reads, and never answers; the health route is silent too unless `healthy`, or answers `healthStatus`. */
  | { readonly kind: "hang"; readonly healthy?: boolean; readonly healthStatus?: number }
  /** Accepts, reads, and answers nothing until it is in another mode; then all that has come is answered as that one does. */
  | { readonly kind: "frozen" }
  /** Resets every new connection before anything has come, and every other one as `reset` does. */
  | { readonly kind: "reset-on-accept" }
  /** Resets every connection as soon as a request line has come. */
  | { readonly kind: "reset" }
  /** Reads the whole request, then resets the connection. */
  | { readonly kind: "reset-after-body" }
  /** Answers as usual, but only after this time; the health route stays prompt. */
  | { readonly kind: "slow"; readonly ms: number }
  /** Sends headers and the first bytes of a body, and no more. */
  | { readonly kind: "stall" };

/** What a backend was asked, as it arrived. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  /** Names and values in turn, as they stood on the wire. */
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

/** What the `/echo` route answers: enough to check that a request arrived whole. */
export interface Echo {
  readonly id: string;
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly bytes: number;
  readonly sha256: string;
}

export type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void | Promise<void>;

export const HEALTH_PATH = "/api/v1/health";

/**
 * A real HTTP and WebSocket server on a port of 127.0.0.1 that can be told how to fail. Without a `handler` it answers
 * every path with an `Echo`. A WebSocket sends back what it gets, and closes with the code and reason that
 * `close:<code>:<reason>` asks for.
 */
export class Backend {
  readonly id: string;
  mode: Mode = { kind: "well" };
  /** All that it was asked, but for its health route. */
  readonly seen: Seen[] = [];
  /** How often its health route was asked. */
  checks = 0;
  /** The sockets that are open to it now. */
  readonly connections = new Set<Socket>();
  readonly webSockets = new Set<WebSocket>();
  handler: Handler | undefined;
  /** Takes every request but its health route's before the body is read, whatever the mode, and is not counted as seen. */
  onRequest: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  /** What its 101 carries besides: lines such as `Set-Cookie: a=1`. */
  upgradeHeaders: string[] = [];
  #port = 0;
  readonly #server = createServer({ maxHeaderSize: 128 * 1024 });
  readonly #webSocketServer = new WebSocketServer({
    noServer: true,
    maxPayload: 64 * 1024 * 1024,
    handleProtocols: (protocols) => [...protocols][0] ?? false,
  });

  constructor(id: string, handler?: Handler) {
    this.id = id;
    this.handler = handler;
    this.#server.on("connection", (socket: Socket) => {
      if (this.mode.kind === "reset-on-accept") return void socket.resetAndDestroy();
      this.connections.add(socket);
      socket.on("close", () => this.connections.delete(socket));
      socket.on("error", () => {});
    });
    this.#server.on("request", (request, response) => void this.#onRequest(request, response));
    this.#server.on("upgrade", (request, socket, head) => void this.#onUpgrade(request, socket, head));
    this.#webSocketServer.on("headers", (headers) => headers.push(`X-Served-By-Backend: ${id}`));
    this.#webSocketServer.on("headers", (headers) => headers.push(...this.upgradeHeaders));
    this.#webSocketServer.on("connection", (webSocket) => {
      this.webSockets.add(webSocket);
      webSocket.on("close", () => this.webSockets.delete(webSocket));
      webSocket.on("error", () => {});
      webSocket.on("message", (data, isBinary) => {
        const close = isBinary ? null : /^close:(\d+):(.*)$/.exec(String(data));
        if (close) webSocket.close(Number(close[1]), close[2]);
        else webSocket.send(data, { binary: isBinary });
      });
    });
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Listens; after a `kill`, on the same port again. */
  async start(port = this.#port): Promise<this> {
    this.#server.listen(port || (await freePort()), "127.0.0.1");
    try {
      await once(this.#server, "listening");
    } catch (error) {
      if (port === 0) return this.start(); // Somebody else took it at the same moment.
      throw error;
    }
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** Stops as a process does that is killed: the port is closed and every connection is reset. */
  async kill(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.connections) socket.resetAndDestroy();
    await closed;
  }

  /** Forgets what it was asked, and is well again. */
  reset(): void {
    this.mode = { kind: "well" };
    this.handler = undefined;
    this.onRequest = undefined;
    this.upgradeHeaders = [];
    this.seen.length = 0;
    this.checks = 0;
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => {});
    const isCheck = request.url === HEALTH_PATH;
    if (isCheck) this.checks++;
    else if (this.onRequest) return this.onRequest(request, response);
    let { mode } = this;
    if (mode.kind === "reset" || mode.kind === "reset-on-accept") return void request.socket.resetAndDestroy();

    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // The sender went away halfway.
    }
    const body = Buffer.concat(chunks);
    const { method = "", url = "", headers, rawHeaders } = request;
    if (!isCheck) this.seen.push({ method, url, rawHeaders, headers, body });

    mode = await this.#thawed();
    if (mode.kind === "reset-after-body") return void request.socket.resetAndDestroy();
    if (mode.kind === "hang" && isCheck && mode.healthStatus) return void response.writeHead(mode.healthStatus).end();
    if (mode.kind === "hang" && !(isCheck && mode.healthy)) return;
    if (mode.kind === "status") {
      const status = isCheck ? (mode.healthStatus ?? mode.status) : mode.status;
      return void response.writeHead(status, { "Content-Type": "text/plain" }).end(`${this.id} says ${status}`);
    }
    if (isCheck) return void response.writeHead(200, { "Content-Type": "application/json" }).end('{"success":true}');
    if (mode.kind === "slow") await sleep(mode.ms);
    if (mode.kind === "stall") {
      return void response.writeHead(200, { "Content-Length": "1000" }).write("the beginning");
    }
    if (this.handler) return this.handler(request, response, body);
    const echo: Echo = { id: this.id, method, url, headers, bytes: body.length, sha256: sha256(body) };
    response.writeHead(200, { "Content-Type": "application/json", "X-Served-By-Backend": this.id });
    response.end(JSON.stringify(echo));
  }

  /** Its mode, once that is not `frozen`. */
  async #thawed(): Promise<Mode> {
    while (this.mode.kind === "frozen" && this.#server.listening) await sleep(5);
    return this.mode;
  }

  async #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { method = "", url = "", headers, rawHeaders } = request;
    socket.on("error", () => {});
    this.seen.push({ method, url, rawHeaders, headers, body: head });
    const mode = await this.#thawed();
    if (mode.kind.startsWith("reset")) return void request.socket.resetAndDestroy();
    // It never answers, but it sees when the other side is gone.
    if (mode.kind === "hang") return void socket.resume().on("end", () => socket.end());
    if (mode.kind === "status") {
      return void socket.end(`HTTP/1.1 ${mode.status} No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno`);
    }
    if (mode.kind === "slow") await sleep(mode.ms);
    this.#webSocketServer.handleUpgrade(request, socket, head, (webSocket) => {
      this.#webSocketServer.emit("connection", webSocket, request);
    });
  }
}

/** Starts one backend for each id. */
export function startBackends<Id extends string>(...ids: Id[]): Promise<Backend[]> {
  return Promise.all(ids.map((id) => new Backend(id).start()));
}
