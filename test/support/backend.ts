import { once } from "node:events";
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { type WebSocket, WebSocketServer } from "ws";
import { sha256 } from "./hashing.ts";
import { freePort } from "./ports.ts";

/** How a backend answers. */
export type Behaviour =
  | { readonly kind: "well" }
  /** Answers with this status. */
  | { readonly kind: "status"; readonly status: number }
  /** Is out, and its proxy or platform answers in its place. */
  | { readonly kind: "outage"; readonly answer: Outage }
  /** Accepts, reads, and never answers. */
  | { readonly kind: "hang" }
  /** Accepts, reads, and answers nothing until it is in another mode; then all that has come is answered as that one does. */
  | { readonly kind: "frozen" }
  /** Resets every new connection before anything has come, and every other one as `reset` does. */
  | { readonly kind: "reset-on-accept" }
  /** Resets every connection as soon as a request line has come. */
  | { readonly kind: "reset" }
  /** Reads the whole request, then resets the connection. */
  | { readonly kind: "reset-after-body" }
  /** Answers as usual, but only after this time. */
  | { readonly kind: "slow"; readonly ms: number }
  /** Sends headers and the first bytes of a body, and no more. */
  | { readonly kind: "stall" };

/**
 * How a backend behaves on every route; where `health` is set, that is how its health route behaves instead. Without it the
 * health route is prompt while the app is slow or stalls.
 */
export type Mode = Behaviour & { readonly health?: Behaviour };

/** What stands in for an app that is out: Traefik's page, a bot wall, a login, Caddy's empty answer, ngrok's page. */
export const OUTAGES = ["404", "403", "redirect", "empty", "page"] as const;
export type Outage = (typeof OUTAGES)[number];

const OUTAGE_ANSWERS: Record<Outage, [status: number, headers: OutgoingHttpHeaders, body: string]> = {
  "404": [404, { "Content-Type": "text/plain" }, "404 page not found"],
  "403": [403, { "Content-Type": "text/html" }, "<!doctype html><title>Are you a robot?</title>"],
  redirect: [302, { Location: "https://login.example.net/suspended" }, ""],
  empty: [200, { "Content-Length": 0 }, ""],
  page: [200, { "Content-Type": "text/html" }, "<!doctype html><title>This app is sleeping</title>"],
};

/** AIOStreams' own answer. */
const HEALTHY = '{"success":true,"detail":"OK"}';

/** What a backend was asked, as it arrived. */
export interface Seen {
  readonly method: string;
  readonly url: string;
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
  /** How its health route behaves at its next checks, one each; after these as `mode` says. */
  readonly nextChecks: Behaviour[] = [];
  /** How far away a route is, in ms: the answer, whatever it is, comes so much later. */
  delayMs: (path: string) => number = () => 0;
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
  #port = 0;
  readonly #server: Server;
  readonly #webSocketServer = new WebSocketServer({
    noServer: true,
    maxPayload: 64 * 1024 * 1024,
    handleProtocols: (protocols) => [...protocols][0] ?? false,
  });

  /** `maxHeaderSize` is in bytes; Node's own default, and so that of AIOStreams, is 16 KiB. */
  constructor(id: string, handler?: Handler, maxHeaderSize = 128 * 1024) {
    this.id = id;
    this.handler = handler;
    this.#server = createServer({ maxHeaderSize });
    this.#server.on("connection", (socket: Socket) => {
      if (this.mode.kind === "reset-on-accept") return void socket.resetAndDestroy();
      this.connections.add(socket);
      socket.on("close", () => this.connections.delete(socket));
      socket.on("error", () => {});
    });
    this.#server.on("request", (request, response) => void this.#onRequest(request, response));
    this.#server.on("upgrade", (request, socket, head) => void this.#onUpgrade(request, socket as Socket, head));
    this.#webSocketServer.on("headers", (headers) => headers.push(`X-Served-By-Backend: ${id}`));
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
      if (port === 0) return this.start(); // Another process took it at the same moment.
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

  /** Listens, is well, and has been asked nothing. */
  async restart(): Promise<void> {
    this.reset();
    if (!this.#server.listening) await this.start();
  }

  /** Forgets what it was asked, and is well again. */
  reset(): void {
    this.mode = { kind: "well" };
    this.nextChecks.length = 0;
    this.delayMs = () => 0;
    this.handler = undefined;
    this.onRequest = undefined;
    this.seen.length = 0;
    this.checks = 0;
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => {});
    const isCheck = request.url === HEALTH_PATH;
    if (isCheck) this.checks++;
    else if (this.onRequest) return this.onRequest(request, response);
    const next = isCheck ? this.nextChecks.shift() : undefined;
    const behaviour = () => next ?? (isCheck ? healthOf(this.mode) : this.mode);
    if (/^reset(-on-accept)?$/.test(behaviour().kind)) return void request.socket.resetAndDestroy();

    let body: Buffer;
    try {
      body = Buffer.concat(await request.toArray());
    } catch {
      return; // The sender went away halfway.
    }
    const { method = "", url = "", headers } = request;
    if (!isCheck) this.seen.push({ method, url, headers, body });
    await this.#arrive(url, behaviour);
    await this.#answer(behaviour(), request, response, async () => {
      if (isCheck) return void response.writeHead(200, { "Content-Type": "application/json" }).end(HEALTHY);
      if (this.handler) return this.handler(request, response, body);
      const echo: Echo = { id: this.id, method, url, headers, bytes: body.length, sha256: sha256(body) };
      response.writeHead(200, { "Content-Type": "application/json", "X-Served-By-Backend": this.id });
      response.end(JSON.stringify(echo));
    });
  }

  async #onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const { method = "", url = "", headers } = request;
    socket.on("error", () => {});
    this.seen.push({ method, url, headers, body: head });
    await this.#arrive(url, () => this.mode);
    // One that hangs never answers, but it sees when the other side is gone.
    if (this.mode.kind === "hang") return void socket.resume().on("end", () => socket.end());
    // Node detaches the answer that this connection carried before only when it has been told that all of it is written.
    while ("_httpMessage" in socket && socket._httpMessage && !socket.destroyed) await nextTurn();
    if (socket.destroyed) return;
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.on("finish", () => socket.end());
    await this.#answer(this.mode, request, response, () => {
      response.detachSocket(socket);
      this.#webSocketServer.handleUpgrade(request, socket, head, (webSocket) => {
        this.#webSocketServer.emit("connection", webSocket, request);
      });
    });
  }

  /** Resolves once the backend turns to what has come. */
  async #arrive(path: string, behaviour: () => Behaviour): Promise<void> {
    const delayMs = this.delayMs(path);
    if (delayMs > 0) await sleep(delayMs);
    while (behaviour().kind === "frozen" && this.#server.listening) await sleep(5);
  }

  async #answer(
    behaviour: Behaviour,
    request: IncomingMessage,
    response: ServerResponse,
    serve: () => void | Promise<void>,
  ): Promise<void> {
    switch (behaviour.kind) {
      case "well":
        return serve();
      case "slow":
        await sleep(behaviour.ms);
        return serve();
      case "status": {
        const { status } = behaviour;
        return void response.writeHead(status, { "Content-Type": "text/plain" }).end(`${this.id} says ${status}`);
      }
      case "outage": {
        const [status, headers, body] = OUTAGE_ANSWERS[behaviour.answer];
        return void response.writeHead(status, headers).end(body);
      }
      case "stall":
        return void response.writeHead(200, { "Content-Length": "1000" }).write("the beginning");
      case "hang":
      case "frozen":
        return;
      case "reset":
      case "reset-on-accept":
      case "reset-after-body":
        return void request.socket.resetAndDestroy();
    }
  }
}

/** How the health route of a backend in this mode behaves. */
function healthOf(mode: Mode): Behaviour {
  return mode.health ?? (mode.kind === "slow" || mode.kind === "stall" ? { kind: "well" } : mode);
}
