import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Database,
  SampleAiostreams,
  type SampleAnswer,
  type SampleRequest,
  serve,
} from "../support/aiostreams.ts";
import { AUTHORITY, certificate } from "../support/certificate.ts";
import { COMPILE_CACHE, end, inTerminal } from "../support/processes.ts";

const ROOT = join(import.meta.dirname, "../..");

export const DOMAIN = "aiostreams.films.test";
export const IDS = ["cf", "duck", "koyeb"] as const;
export const STATUS_PATH = "/lb-status-secret";

/** A wrangler.toml that works, with these tables above [vars]. */
export function tomlOf(vars: Readonly<Record<string, string | number>>, tables = ""): string {
  const head = 'name = "test"\nmain = "index.ts"\ncompatibility_date = "2026-10-23"';
  const routes = `routes = [{ pattern = "${DOMAIN}", custom_domain = true }]`;
  const lines = Object.entries(vars).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
  return [head, routes, tables, "[vars]", ...lines].join("\n");
}

/** Three backends and a Worker on ports of this computer, each at a name of its own, and a wrangler.toml for them. */
export class World implements AsyncDisposable {
  readonly database: Database = new Map();
  readonly backends: Record<(typeof IDS)[number], SampleAiostreams>;
  /** The variables of wrangler.toml. */
  readonly vars: Record<string, string | number> = { PRIMARY_DOMAIN: DOMAIN };
  readonly processes: ChildProcess[] = [];
  readonly #names: Record<string, number> = {};
  readonly #folder: string;
  readonly #servers = new DisposableStack();

  private constructor(folder: string) {
    this.#folder = folder;
    const sample = () => new SampleAiostreams(this.database, { baseUrl: `https://${DOMAIN}` });
    this.backends = { cf: sample(), duck: sample(), koyeb: sample() };
  }

  static async start(): Promise<World> {
    const world = new World(await mkdtemp(join(tmpdir(), "load-balancer-doctor-")));
    for (const id of IDS) {
      world.vars[`BACKEND_${id.toUpperCase()}`] = `${id}.films.test`;
      await world.listen(id, "valid");
    }
    return world;
  }

  /** Has a backend answer with another certificate, or by plain HTTP. */
  async listen(id: (typeof IDS)[number], name: Parameters<typeof certificate>[0] | undefined): Promise<void> {
    const own = name === undefined ? undefined : certificate(name);
    const server = this.#servers.use(await serve((request) => this.backends[id].answer(request), own));
    this.#names[`${id}.films.test:443`] = server.port;
  }

  /** Makes the public domain answer as a deployed Worker does. */
  async deploy(): Promise<void> {
    const answer = ({ path, headers }: SampleRequest, isTls: boolean): SampleAnswer => {
      const cookie = "aiostreams_backend=cf";
      if (!isTls) return { status: 301, headers: { Location: `https://${DOMAIN}${path}` } };
      if (path.startsWith(STATUS_PATH)) return { status: 200, body: { backends: IDS.map((id) => ({ id })) } };
      const isHeld = headers.get("Cookie") === cookie;
      return { status: 200, body: { success: true }, headers: isHeld ? {} : { "Set-Cookie": `${cookie}; Path=/` } };
    };
    this.vars.STATUS_PATH = STATUS_PATH;
    this.#names[`${DOMAIN}:443`] = this.#servers.use(await serve(answer, certificate("valid"))).port;
    this.#names[`${DOMAIN}:80`] = this.#servers.use(await serve(answer)).port;
  }

  async file(name: string, text: string): Promise<string> {
    const path = join(this.#folder, name);
    await writeFile(path, text);
    return path;
  }

  /** Starts the doctor: by itself, or by way of npm in a terminal of its own, of which stdin is the keyboard. */
  async doctor(args: readonly string[] = [], { hasTerminal = false } = {}): Promise<Doctor> {
    const toml = await this.file("wrangler.toml", tomlOf(this.vars));
    const all = ["--config", toml, ...args];
    const env = {
      PATH: process.env.PATH ?? "",
      HOME: this.#folder,
      TERM: "xterm",
      NODE_OPTIONS: `--import=${join(ROOT, "test/support/names.js")}`,
      NODE_EXTRA_CA_CERTS: AUTHORITY,
      SAMPLE_NAMES: JSON.stringify(this.#names),
      WRANGLER_SEND_METRICS: "false",
      ...COMPILE_CACHE,
    };
    const [program, programArgs] = hasTerminal
      ? inTerminal("npm", "run", "--silent", "doctor", "--", ...all)
      : [process.execPath, [join(ROOT, "src/cli/doctor.ts"), ...all]];
    const child = spawn(program, programArgs, { cwd: ROOT, env });
    this.processes.push(child);
    return new Doctor(child, this);
  }

  /** What must never be printed. */
  get secrets(): string[] {
    return [...Object.values(this.backends).flatMap((backend) => [...backend.secrets]), STATUS_PATH, "token-secret"];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.processes) await end(child);
    this.#servers.dispose();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

export class Doctor {
  readonly child: ChildProcess;
  /** What it wrote to standard output and to standard error so far. */
  output = "";
  errors = "";
  readonly #world: World;
  readonly #closed: Promise<unknown>;

  constructor(child: ChildProcess, world: World) {
    this.child = child;
    this.#world = world;
    this.#closed = once(child, "close");
    child.stdout?.on("data", (chunk) => (this.output += chunk));
    child.stderr?.on("data", (chunk) => (this.errors += chunk));
  }

  /**
   * Resolves to its exit code once it has ended.
   *
   * @throws if it printed a secret.
   */
  async ended(): Promise<number | null> {
    await this.#closed;
    const printed = this.#world.secrets.filter((secret) => (this.output + this.errors).includes(secret));
    if (printed.length > 0) throw new Error(`the doctor printed the secrets ${printed.join(", ")}:\n${this.output}`);
    return this.child.exitCode;
  }
}
