import { once } from "node:events";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { connect, type Socket } from "node:net";
import { type Options, PRIMARY_DOMAIN, type Worker } from "./worker.ts";
import { SCHEME_HEADER } from "./workerd.ts";

/** The status line and headers of a request as text, for what an HTTP client would not send, or would not send half. */
export function head(method: string, path: string, headers: OutgoingHttpHeaders = {}): string {
  const lines = Object.entries({ Host: PRIMARY_DOMAIN, [SCHEME_HEADER]: "https", ...headers });
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
  const text = Buffer.concat(await socket.toArray()).toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  return { status: Number(text.split(" ")[1]), body: text.slice(end + 4) };
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
  return worker.open(path, { ...options, headers: { ...UPGRADE, ...options.headers } });
}
