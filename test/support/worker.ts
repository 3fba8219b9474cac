import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
} from "node:http";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { WebSocket } from "ws";
import type { Script } from "./build.ts";
import { SCHEME_HEADER, type Vars, Workerd } from "./workerd.ts";

export const PRIMARY_DOMAIN = "aiostreams.example.com";

/** The variables that configure these backends. */
export function backendVars(backends: readonly { id: string; url: string }[]): Record<string, string> {
  return Object.fromEntries(backends.map(({ id, url }) => [`BACKEND_${id.toUpperCase()}`, url]));
}

/** One line of the Worker's log. */
export interface LogLine {
  readonly event: string;
  readonly backend?: string;
  readonly reason?: string;
  readonly status?: number;
  readonly attempt?: number;
  readonly ray?: string | null;
  readonly issues?: readonly unknown[];
}

export interface Options {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: Buffer | string | AsyncIterable<Buffer>;
  /** The client's address, as Cloudflare would report it. */
  readonly ip?: string;
  /** The scheme that the client used. */
  readonly scheme?: "http" | "https";
  readonly host?: string;
  readonly signal?: AbortSignal;
}

export interface WebSocketOptions extends Options {
  readonly protocols?: string[];
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly text: string;
  /** The value of the session cookie that it sets, if it sets one. */
  readonly session: string | undefined;
}

export interface StartOptions {
  /** The `host:port` of an HTTP service that answers for the Cache API; without one there is no cache. */
  readonly cacheService?: string;
  /** The paths of ES modules; the first one imports the Worker as `./worker.js` and exports the handler to run instead. */
  readonly wrappers?: readonly string[];
  /** Compatibility flags besides those of wrangler.toml. */
  readonly flags?: readonly string[];
}

/** The Worker under plain workerd, with the heap that an isolate gets at Cloudflare. */
export class Worker {
  readonly port: number;
  readonly #workerd: Workerd;

  private constructor(workerd: Workerd) {
    this.#workerd = workerd;
    this.port = workerd.port("http");
  }

  /** Starts a module with these variables; the ones that a test does not name have the Worker's defaults. */
  static async start({ path, compatibility }: Script, vars: Vars, options: StartOptions = {}): Promise<Worker> {
    const { cacheService, wrappers = [], flags = [] } = options;
    const workerd = await Workerd.start({
      modules: { ...Object.fromEntries(wrappers.map((wrapper) => [basename(wrapper), wrapper])), "worker.js": path },
      compatibility: { ...compatibility, compatibilityFlags: [...compatibility.compatibilityFlags, ...flags] },
      vars: { PRIMARY_DOMAIN, ...vars },
      ...(cacheService !== undefined && { cacheService }),
      sockets: ["http"],
      heapMib: 128, // Without the limit the heap would grow for minutes before it is collected.
    });
    return new Worker(workerd);
  }

  get process(): ChildProcess {
    return this.#workerd.process;
  }

  /** All that workerd and the Worker wrote. */
  get output(): string {
    return this.#workerd.output;
  }

  /** What the Worker logged so far. */
  get log(): LogLine[] {
    return this.output.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as LogLine] : []));
  }

  /** Sends a request and resolves at its headers; the body is still to be read. A WebSocket that it opens is closed at once. */
  async open(path: string, options: Options = {}): Promise<IncomingMessage> {
    const { body } = options;
    const isWhole = typeof body === "string" || Buffer.isBuffer(body);
    const request = httpRequest({
      host: "127.0.0.1",
      port: this.port,
      path,
      method: options.method ?? "GET",
      // Node frames a body by itself for some methods only.
      headers: { ...(isWhole && { "Content-Length": Buffer.byteLength(body) }), ...headersOf(options) },
      agent: false,
      ...(options.signal && { signal: options.signal }),
    });
    request.on("error", () => {}); // One that comes once the answer has begun, such as a body that is not read.
    request.on("upgrade", (_, socket) => socket.destroy());
    if (body === undefined || isWhole) request.end(body);
    else Readable.from(body).pipe(request);
    return (await Promise.race([once(request, "response"), once(request, "upgrade")]))[0];
  }

  /** Sends a request and reads the whole answer. Rejects when the answer is cut off. */
  async fetch(path: string, options: Options = {}): Promise<Answer> {
    const response = await this.open(path, options);
    const body = Buffer.concat(await response.toArray());
    const cookies = response.headers["set-cookie"] ?? [];
    const session = cookies.map((cookie) => /^aiostreams_backend=([^;]*)/.exec(cookie)?.[1]).find(Boolean);
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      rawHeaders: response.rawHeaders,
      body,
      text: body.toString(),
      session,
    };
  }

  /** Opens a WebSocket; resolves once it is open. */
  async webSocket(path: string, options: WebSocketOptions = {}): Promise<WebSocket> {
    const webSocket = new WebSocket(`ws://127.0.0.1:${this.port}${path}`, options.protocols ?? [], {
      headers: headersOf(options) as Record<string, string>,
    });
    await once(webSocket, "open");
    return webSocket;
  }

  stop(): Promise<void> {
    return this.#workerd.stop();
  }
}

/** The headers of a request, and those by which it says to workerd what Cloudflare would know. */
function headersOf(options: Options): OutgoingHttpHeaders {
  return {
    Host: options.host ?? PRIMARY_DOMAIN,
    [SCHEME_HEADER]: options.scheme ?? "https",
    ...(options.ip !== undefined && { "CF-Connecting-IP": options.ip }),
    ...options.headers,
  };
}
