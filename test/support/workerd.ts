// Not Miniflare or `wrangler dev`: their proxy rewrites what the tests look at, and neither has a heap limit or a shared cache.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { end, endWithProcess } from "./processes.ts";

const PROGRAM = join(import.meta.dirname, "../../node_modules/.bin/workerd");

/** The header by which a test tells workerd the scheme that the client used; workerd takes it out. */
export const SCHEME_HEADER = "Test-Scheme";
/** The header by which a test tells workerd what `request.cf` is to be, as JSON; workerd takes it out. */
export const CF_HEADER = "Test-Cf";

export type Vars = Readonly<Record<string, string | number | boolean>>;

/** What wrangler.toml says of the runtime that a Worker wants. */
export interface Compatibility {
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
}

/** The Worker that a workerd process runs. */
export interface Options {
  /** The paths of its ES modules by the names under which they import each other; the first one has the handler. */
  readonly modules: Readonly<Record<string, string>>;
  readonly compatibility: Compatibility;
  readonly vars?: Vars;
  /** The `host:port` of the HTTP service that answers for the Cache API; without one the Worker has no cache. */
  readonly cacheService?: string;
  /** The names of its sockets; each gets a free port of 127.0.0.1. */
  readonly sockets: readonly string[];
  /** How large its heap may grow, in MiB; without it there is no limit. */
  readonly heapMib?: number;
}

/** A workerd process: production mode, one isolate. */
export class Workerd {
  readonly process: ChildProcess;
  readonly #ports = new Map<string, number>();
  /** All that workerd and the Worker wrote. */
  output = "";

  private constructor(process: ChildProcess) {
    this.process = process;
    const collect = (chunk: Buffer) => {
      this.output += chunk;
    };
    process.stdout?.on("data", collect);
    process.stderr?.on("data", collect);
  }

  /** Resolves once every socket listens. */
  static async start(options: Options): Promise<Workerd> {
    const directory = await mkdtemp(join(tmpdir(), "load-balancer-"));
    for (const [module, path] of Object.entries(options.modules)) await cp(path, join(directory, module));
    await writeFile(join(directory, "config.capnp"), configOf(options));
    const process = spawn(PROGRAM, ["serve", "config.capnp", "--control-fd=3"], {
      cwd: directory,
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    endWithProcess(process);
    const workerd = new Workerd(process);
    try {
      await workerd.#listening(options.sockets.length);
    } catch (error) {
      await workerd.stop();
      throw error;
    } finally {
      await rm(directory, { recursive: true, force: true }); // By now all of it is read, or never will be.
    }
    return workerd;
  }

  /** The port of a socket. */
  port(socket: string): number {
    const port = this.#ports.get(socket);
    if (port === undefined) throw new Error(`workerd has no socket ${socket}`);
    return port;
  }

  stop(): Promise<void> {
    return end(this.process);
  }

  /** workerd says on its control channel, one JSON object a line, which port each socket was given. */
  async #listening(sockets: number): Promise<void> {
    // "close" comes when its output has been read to the end, so that an error can quote it.
    const ended = once(this.process, "close").then(() => {
      throw new Error(`workerd ended:\n${this.output}`);
    });
    ended.catch(() => {});
    const lines = createInterface(this.process.stdio[3] as Readable);
    const listening = new Promise<void>((resolve) => {
      lines.on("line", (line) => {
        const { event, socket, port } = JSON.parse(line) as { event: string; socket: string; port: number };
        if (event === "listen") this.#ports.set(socket, port);
        if (this.#ports.size === sockets) resolve();
      });
    });
    await Promise.race([listening, ended]);
  }
}

/** A configuration for workerd (https://github.com/cloudflare/workerd/blob/main/src/workerd/server/workerd.capnp). */
function configOf({ modules, compatibility, vars = {}, cacheService, sockets, heapMib }: Options): string {
  const v8Flags = heapMib === undefined ? [] : [`--max-heap-size=${heapMib}`];
  const embedded = Object.keys(modules).map((name) => `(name = ${text(name)}, esModule = embed ${text(name)})`);
  const bindings = Object.entries(vars).map(([variable, value]) =>
    typeof value === "string"
      ? `(name = ${text(variable)}, text = ${text(value)})`
      : `(name = ${text(variable)}, json = ${text(JSON.stringify(value))})`,
  );
  const cache = `(name = "cache", external = (address = ${text(cacheService ?? "")}, http = ())),`;
  const listeners = sockets.map(
    (name) => `(name = ${text(name)}, address = "127.0.0.1:0", service = "main",
      http = (forwardedProtoHeader = ${text(SCHEME_HEADER)}, cfBlobHeader = ${text(CF_HEADER)}))`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  v8Flags = [${v8Flags.map(text).join(", ")}],
  services = [
    (name = "main", worker = (
      modules = [${embedded.join(", ")}],
      compatibilityDate = ${text(compatibility.compatibilityDate)},
      compatibilityFlags = [${compatibility.compatibilityFlags.map(text).join(", ")}],
      ${cacheService === undefined ? "" : 'cacheApiOutbound = "cache",'}
      bindings = [${bindings.join(", ")}])),
    ${cacheService === undefined ? "" : cache}
    (name = "internet", network = (allow = ["public", "private"]))
  ],
  sockets = [
    ${listeners.join(",\n    ")}
  ]
);
`;
}

function text(value: string): string {
  return JSON.stringify(value);
}
