// Not autocannon: it brings 64 packages, cuts the requests that are under way when its time is over, and cannot compare a body.
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { WebSocket } from "ws";
import type { Case } from "./cases.ts";

/**
 * The load generator: closed loops, one per connection, each of which sends its next request when the last is answered.
 *
 * It drives undici's lowest call. Per request undici cost 50 µs of CPU, autocannon 57, Node's http 63, and wrk 1 (which is
 * no npm package), beside a proxy's 200: any of them leaves the subject the limit.
 */
export interface Load {
  run(seconds: number): Promise<Sample>;
  close(): Promise<void>;
}

export interface Sample {
  /** How many exchanges were completed. */
  readonly count: number;
  readonly elapsedMs: number;
  readonly latenciesMs: readonly number[];
  readonly errors: number;
  /** What was wrong with the first exchange that failed. */
  readonly firstError: string | undefined;
}

export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: Buffer;
}

/** What has to come back; anything else is an error. */
export interface Expected {
  readonly status: number;
  readonly bytes: number;
  /** The whole body, where it is short enough to be compared. */
  readonly body?: string;
  /** Whether it sets a cookie. */
  readonly setsCookie: boolean;
}

export interface Exchange {
  readonly request: HttpRequest;
  readonly expected: Expected;
}

/** Requests of a case, in turn over its connections. */
export function openHttp(
  port: number,
  { connections, traffic, everyMs }: Pick<Case, "connections" | "traffic" | "everyMs">,
  next: (index: number) => Exchange,
): Load {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections, pipelining: 1, bodyTimeout: 10_000 });
  let index = 0;
  const exchange = () => {
    const { request, expected } = next(index++);
    return traffic === "download" ? download(port, request, expected) : send(pool, request, expected);
  };
  return { run: (seconds) => inLoops(connections, seconds, () => exchange, everyMs), close: () => pool.close() };
}

export async function openWebSockets(
  port: number,
  connections: number,
  headers: (index: number) => Record<string, string>,
  message: string,
): Promise<Load> {
  const sockets = Array.from(
    { length: connections },
    (_, index) => new WebSocket(`ws://127.0.0.1:${port}/socket`, { headers: headers(index), perMessageDeflate: false }),
  );
  await Promise.all(sockets.map((socket) => once(socket, "open")));
  return {
    run: (seconds) => inLoops(connections, seconds, (loop) => () => echo(sockets[loop] as WebSocket, message)),
    close: async () => {
      const closed = sockets.map((socket) => once(socket, "close"));
      for (const socket of sockets) socket.close();
      await Promise.all(closed);
    },
  };
}

/** Runs one loop per connection until the time is over, and lets what is under way then end. With `everyMs` they go in turn. */
async function inLoops(
  connections: number,
  seconds: number,
  exchangeOf: (loop: number) => () => Promise<string | undefined>,
  everyMs = 0,
): Promise<Sample> {
  const latenciesMs: number[] = [];
  let errors = 0;
  let firstError: string | undefined;
  const startMs = performance.now();
  const endMs = startMs + seconds * 1_000;
  const loop = async (index: number, exchange: () => Promise<string | undefined>) => {
    for (let turn = 0; performance.now() < endMs; turn++) {
      const dueMs = startMs + (turn + index / connections) * everyMs;
      if (dueMs > endMs) return;
      if (everyMs > 0) await sleep(Math.max(0, dueMs - performance.now()));
      const sentMs = performance.now();
      const error = await exchange();
      latenciesMs.push(performance.now() - sentMs);
      if (error === undefined) continue;
      errors++;
      firstError ??= error;
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, index) => loop(index, exchangeOf(index))));
  const elapsedMs = performance.now() - startMs;
  return { count: latenciesMs.length - errors, elapsedMs, latenciesMs, errors, firstError };
}

/** One exchange; resolves to what is wrong with its answer, if anything is. */
function send(pool: Pool, request: HttpRequest, expected: Expected): Promise<string | undefined> {
  return new Promise((resolve) => {
    let error: string | undefined;
    let bytes = 0;
    const chunks: Buffer[] = [];
    pool.dispatch(request, {
      onRequestStart() {},
      onResponseStart(_, status, headers) {
        const setsCookie = headers["set-cookie"] !== undefined;
        if (status !== expected.status) error = `status ${status} instead of ${expected.status}`;
        else if (setsCookie !== expected.setsCookie) error = setsCookie ? "a cookie where none is due" : "no cookie";
      },
      onResponseData(_, chunk) {
        bytes += chunk.length;
        if (expected.body !== undefined) chunks.push(chunk);
      },
      onResponseEnd() {
        if (bytes !== expected.bytes) error ??= `${bytes} bytes instead of ${expected.bytes}`;
        else if (chunks.length > 0 && Buffer.concat(chunks).toString() !== expected.body) error ??= "another body";
        resolve(error);
      },
      onResponseError(_, failure) {
        resolve(failure.message);
      },
    });
  });
}

/**
 * One download, by a connection of its own; the headers are taken to come in one piece, as workerd sends them. The socket
 * reads into one buffer again and again: undici, which makes a new one of every piece, used 3 ms of CPU per MiB where this
 * uses 0.9, and would be the limit.
 */
function download(port: number, request: HttpRequest, expected: Expected): Promise<string | undefined> {
  return new Promise((resolve) => {
    let head: string | undefined;
    let bodyBytes = 0;
    const socket = connect({
      host: "127.0.0.1",
      port,
      onread: {
        buffer: Buffer.alloc(256 * 1024),
        callback(length, buffer) {
          bodyBytes += length;
          if (head === undefined) {
            const end = Buffer.from(buffer).indexOf("\r\n\r\n") + 4;
            head = Buffer.from(buffer.subarray(0, end)).toString("latin1").toLowerCase();
            bodyBytes -= end;
          }
          return true;
        },
      },
    });
    const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`${request.method} ${request.path} HTTP/1.1\r\nConnection: close\r\n${lines.join("")}\r\n`);
    socket.on("error", (error) => resolve(error.message));
    socket.on("close", () => {
      if (!head?.startsWith("http/1.1 200 ")) resolve(`"${head?.split("\r\n")[0]}" instead of status 200`);
      else if (head.includes("\r\nset-cookie:") !== expected.setsCookie) resolve("a cookie too many or too few");
      else resolve(bodyBytes === expected.bytes ? undefined : `${bodyBytes} bytes instead of ${expected.bytes}`);
    });
  });
}

/** One message there and back. */
function echo(socket: WebSocket, message: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const onMessage = (data: Buffer) => settle(String(data) === message ? undefined : "another message");
    const onClose = () => settle("the socket was closed");
    const settle = (error: string | undefined) => {
      socket.off("message", onMessage);
      socket.off("close", onClose);
      resolve(error);
    };
    socket.on("message", onMessage);
    socket.on("close", onClose);
    if (socket.readyState === WebSocket.OPEN) socket.send(message);
    else settle("the socket is not open");
  });
}
