import { once } from "node:events";
import { type Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { sha256 } from "../support/hashing.ts";
import { payloadOf } from "./payload.ts";

/** How a client asks. */
export interface Asking {
  readonly port: number;
  readonly agent: Agent;
  readonly headers: Readonly<Record<string, string>>;
  /** Ends its patience. */
  readonly signal: AbortSignal;
  /** Is told the headers of a 200 or 101 as they come. */
  readonly onAnswer: (headers: IncomingHttpHeaders) => void;
}

/** An answer came, but not the one that was asked for. */
export class WrongAnswer extends Error {}

/** An answer came that no user wants: the Worker's own, a platform's, or what a broken backend said. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(`status ${status}: ${text}`);
    this.status = status;
  }
}

/** Makes a request, and compares every byte of its answer. */
export async function ask(method: string, path: string, body: Buffer | undefined, asking: Asking): Promise<void> {
  const { port, agent, headers, signal, onAnswer } = asking;
  const request = httpRequest({ port, path, method, agent, headers, signal });
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  // Only the app names itself.
  if (response.statusCode !== 200 || !response.headers["x-served-by-backend"]) throw await refusalOf(response);
  onAnswer(response.headers);
  const received = Buffer.concat(await response.toArray());
  const payload = body ?? payloadOf(path);
  const answer = response.headers;
  same("method", answer["x-method"], method);
  same("path", answer["x-url"], path);
  same("SHA-256 of the request's body", answer["x-body-sha256"], sha256(body ?? Buffer.alloc(0)));
  same("length", answer["content-length"], String(payload.length));
  same("SHA-256 of the answer's body", sha256(received), sha256(method === "HEAD" ? Buffer.alloc(0) : payload));
}

/** Opens a WebSocket, has each message echoed, and closes it. */
export async function talk(path: string, messages: readonly Buffer[], asking: Asking): Promise<void> {
  const { port, headers, signal, onAnswer } = asking;
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers });
  webSocket.on("upgrade", (response) => onAnswer(response.headers));
  const failed = new Promise<never>((_, reject) => {
    webSocket.on("error", reject);
    webSocket.on("unexpected-response", (_, response) => void refusalOf(response).then(reject, reject));
    webSocket.on("close", (code) => reject(new Error(`the WebSocket closed with ${code}`)));
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  failed.catch(() => {});
  try {
    await Promise.race([once(webSocket, "open"), failed]);
    for (const message of messages) {
      const echoed = once(webSocket, "message");
      webSocket.send(message);
      const [echo] = (await Promise.race([echoed, failed])) as [Buffer];
      same("message", sha256(echo), sha256(message));
    }
    const closed = once(webSocket, "close");
    webSocket.close(1000);
    const [code] = await closed;
    if (code !== 1000) throw new Error(`the WebSocket closed with ${code} instead of 1000`);
  } finally {
    webSocket.terminate();
  }
}

async function refusalOf(response: IncomingMessage): Promise<Refusal> {
  return new Refusal(response.statusCode ?? 0, Buffer.concat(await response.toArray()).toString());
}

function same(what: string, found: string | string[] | undefined, expected: string): void {
  if (found !== expected) throw new WrongAnswer(`${what}: expected ${expected}, found ${found}`);
}
