import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import {
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
} from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { type ClientOptions, WebSocket } from "ws";

const ROOT = join(import.meta.dirname, "../..");
const BIN = join(ROOT, "node_modules/.bin");

export const PRIMARY_DOMAIN = "aiostreams.example.com";

/** Builds the Worker with Wrangler, exactly as a deployment does, and returns the path of the module. */
export async function buildWorker(outdir: string): Promise<string> {
  await promisify(execFile)(join(BIN, "wrangler"), ["deploy", "--dry-run", "--outdir", outdir], { cwd: ROOT });
  return join(outdir, "index.js");
}

/** One line of the Worker's log. */
export interface LogLine {
  readonly event: string;
  readonly backend?: string;
  readonly reason?: string;
  readonly status?: number;
  readonly attempt?: number;
  readonly ray?: string | null;
  readonly faults?: readonly unknown[];
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
  readonly client?: ClientOptions;
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

/** The header by which a test tells workerd the scheme that the client used; workerd takes it out. */
const SCHEME_HEADER = "Test-Scheme";

/** The Worker under plain workerd: production mode, one isolate, no development proxy in between. */
export class Worker {
  readonly process: ChildProcess;
  readonly #directory: string;
  port = 0;
  /** All that workerd and the Worker wrote. */
  output = "";

  private constructor(process: ChildProcess, directory: string) {
    this.process = process;
    this.#directory = directory;
    const collect = (chunk: Buffer) => {
      this.output += chunk;
    };
    process.stdout?.on("data", collect);
    process.stderr?.on("data", collect);
  }

  /** Starts a built module with these variables; the ones that a test does not name have the Worker's defaults. */
  static async start(script: string, vars: Record<string, string | number | boolean>): Promise<Worker> {
    const directory = await mkdtemp(join(tmpdir(), "load-balancer-"));
    await cp(script, join(directory, "index.js"));
    await writeFile(join(directory, "config.capnp"), workerdConfig({ PRIMARY_DOMAIN, ...vars }));
    const process = spawn(join(BIN, "workerd"), ["serve", "config.capnp", "--control-fd=3"], {
      cwd: directory,
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    const worker = new Worker(process, directory);
    const exited = once(process, "exit").then(() => {
      throw new Error(`workerd ended:\n${worker.output}`);
    });
    exited.catch(() => {});
    // It says there which port it was given, once it listens.
    const [event] = (await Promise.race([once(process.stdio[3] as Readable, "data"), exited])) as [Buffer];
    worker.port = JSON.parse(String(event)).port;
    return worker;
  }

  /** What the Worker logged so far. */
  get log(): LogLine[] {
    return this.output.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as LogLine] : []));
  }

  /** Sends a request and resolves at its headers; the body is still to be read. */
  async open(path: string, options: Options = {}): Promise<IncomingMessage> {
    const { body } = options;
    const isWhole = typeof body === "string" || Buffer.isBuffer(body);
    const request = httpRequest({
      host: "127.0.0.1",
      port: this.port,
      path,
      method: options.method ?? "GET",
      // Node frames a body by itself for some methods only.
      headers: { ...(isWhole && { "Content-Length": Buffer.byteLength(body) }), ...this.#headers(options) },
      agent: false,
      ...(options.signal && { signal: options.signal }),
    });
    const response = once(request, "response") as Promise<[IncomingMessage]>;
    response.catch(() => {});
    request.on("error", () => {}); // One that comes once the answer has begun, such as a body that nobody reads.
    if (body === undefined || isWhole) {
      request.end(body);
    } else {
      for await (const chunk of body) if (!request.write(chunk)) await Promise.race([once(request, "drain"), response]);
      request.end();
    }
    return (await response)[0];
  }

  /** Sends a request and reads the whole answer. Rejects when the answer is cut off. */
  async fetch(path: string, options: Options = {}): Promise<Answer> {
    const response = await this.open(path, options);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    const body = Buffer.concat(chunks);
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
  async webSocket(
    path: string,
    options: Options & { protocols?: string[]; client?: ClientOptions } = {},
  ): Promise<WebSocket> {
    const webSocket = new WebSocket(`ws://127.0.0.1:${this.port}${path}`, options.protocols ?? [], {
      headers: this.#headers(options) as Record<string, string>,
      ...options.client,
    });
    await once(webSocket, "open");
    return webSocket;
  }

  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const exited = once(this.process, "exit");
      this.process.kill("SIGKILL");
      await exited;
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  #headers(options: Options): OutgoingHttpHeaders {
    return {
      Host: options.host ?? PRIMARY_DOMAIN,
      [SCHEME_HEADER]: options.scheme ?? "https",
      ...(options.ip !== undefined && { "CF-Connecting-IP": options.ip }),
      ...options.headers,
    };
  }
}

/** A configuration for workerd (https://github.com/cloudflare/workerd/blob/main/src/workerd/server/workerd.capnp). */
function workerdConfig(vars: Record<string, string | number | boolean>): string {
  // Wrangler could read it too, but to load Wrangler takes every test file a second.
  const toml = readFileSync(join(ROOT, "wrangler.toml"), "utf8");
  const [, date] = /^compatibility_date = "(.+)"$/m.exec(toml) ?? [];
  const [, flags] = /^compatibility_flags = (\[.+\])$/m.exec(toml) ?? [];
  if (!date || !flags) throw new Error("wrangler.toml has no compatibility date, or no flags");
  const bindings = Object.entries(vars).map(([name, value]) =>
    typeof value === "string"
      ? `(name = ${JSON.stringify(name)}, text = ${JSON.stringify(value)})`
      : `(name = ${JSON.stringify(name)}, json = ${JSON.stringify(JSON.stringify(value))})`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  # As much as an isolate gets at Cloudflare; without a limit the heap would grow for minutes before anybody collects it.
  v8Flags = ["--max-heap-size=128"],
  services = [
    (name = "main", worker = (
      modules = [(name = "index.js", esModule = embed "index.js")],
      compatibilityDate = "${date}",
      compatibilityFlags = ${flags},
      bindings = [${bindings.join(", ")}])),
    (name = "internet", network = (allow = ["public", "private"]))
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", service = "main",
    http = (forwardedProtoHeader = "${SCHEME_HEADER}", cfBlobHeader = "Test-Cf"))]
);
`;
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Waits until a condition holds; for what happens beside a request. Fails after ten seconds. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`still waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
