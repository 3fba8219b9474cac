import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Database, RateLimit, SampleAiostreams, type Settings } from "../support/aiostreams.ts";
import { Authority, type Certificate } from "../support/certificate.ts";
import { COMPILE_CACHE } from "../support/processes.ts";
import { SampleWorker } from "../support/sample-worker.ts";
import { until as waitUntil } from "../support/waiting.ts";

const ROOT = join(import.meta.dirname, "../..");
const PROGRAM = join(ROOT, "src/cli/doctor.ts");
const NAMES = join(ROOT, "test/support/names.js");
const SETTINGS = join(ROOT, "test/support/settings.js");

export const DOMAIN = "aiostreams.films.test";
const ROUTE = { pattern: DOMAIN, custom_domain: true };
export const ADDON_PASSWORD = "open-sesame-add-on";
export const IDS = ["cf", "duck", "koyeb"] as const;
export type Id = (typeof IDS)[number];

export interface Line {
  readonly section: string;
  readonly kind: "ok" | "wrong" | "warning" | "skipped";
  readonly about?: string;
  readonly found: string;
  readonly todo?: string;
}

/** What `--json` prints. */
export interface JsonReport {
  readonly ok: boolean;
  readonly interrupted: boolean;
  readonly wrong: number;
  readonly warnings: number;
  readonly skipped: number;
  readonly left: readonly { uuid?: string; backend: string }[];
  readonly lines: readonly Line[];
}

/** A deployment with three backends that agree, each at a name of its own, and a wrangler.toml for it. */
export class World implements AsyncDisposable {
  readonly authority = new Authority();
  readonly database: Database = new Map();
  readonly backends: Record<Id, SampleAiostreams>;
  /** Stands at the public domain once it is `deployed`. */
  readonly worker: SampleWorker;
  /** The variables of wrangler.toml. */
  readonly vars: Record<string, string | number | boolean> = { PRIMARY_DOMAIN: DOMAIN };
  /** Whether Wrangler itself reads wrangler.toml. Otherwise the doctor is told what is in it, and starts in a fraction of the time. */
  hasWrangler = false;
  /** Where names lead: "host:port" to ports of this computer. */
  readonly names: Record<string, number> = {};
  readonly #directory: string;
  readonly #processes: DoctorProcess[] = [];
  /** All that there ever were. */
  readonly #backends: SampleAiostreams[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
    this.backends = { cf: this.#backend("cf"), duck: this.#backend("duck"), koyeb: this.#backend("koyeb") };
    this.worker = new SampleWorker(DOMAIN, this.authority.issue([DOMAIN]));
  }

  static async start(): Promise<World> {
    const world = new World(await mkdtemp(join(tmpdir(), "load-balancer-doctor-")));
    await world.file("authority.pem", world.authority.cert);
    for (const id of IDS) {
      await world.backends[id].start();
      world.vars[`BACKEND_${id.toUpperCase()}`] = hostOf(id);
      world.names[`${hostOf(id)}:443`] = world.backends[id].port;
    }
    return world;
  }

  /** Makes the public domain answer. */
  async deploy(): Promise<void> {
    await this.worker.start();
    const [https, http] = this.worker.ports;
    this.names[`${DOMAIN}:443`] = https ?? 0;
    this.names[`${DOMAIN}:80`] = http ?? 0;
  }

  /** Puts another backend in the place of one: with this certificate (`null`: plain HTTP), and the same settings. */
  async replace(id: Id, certificate: Certificate | null): Promise<void> {
    const { settings } = this.backends[id];
    this.backends[id].stop();
    this.backends[id] = this.#backend(id, certificate);
    Object.assign(this.backends[id].settings, settings);
    await this.backends[id].start();
    this.names[`${hostOf(id)}:443`] = this.backends[id].port;
  }

  #backend(id: Id, certificate: Certificate | null = this.authority.issue([hostOf(id)])): SampleAiostreams {
    const settings: Settings = {
      database: this.database,
      secretKey: "0".repeat(64),
      version: "2.33.2",
      commit: "f36d0f9",
      baseUrl: `https://${DOMAIN}`,
      addonPassword: undefined,
      rateLimit: new RateLimit(),
      instead: () => false,
    };
    const backend = new SampleAiostreams(settings, certificate ?? undefined);
    this.#backends.push(backend);
    return backend;
  }

  /** Writes a file of this world; returns its path. */
  async file(name: string, text: string): Promise<string> {
    const path = join(this.#directory, name);
    await writeFile(path, text);
    return path;
  }

  /** Starts the doctor as `npm run doctor` does, and does not wait for anything. */
  async start(args: readonly string[] = [], env: Record<string, string> = {}): Promise<DoctorProcess> {
    return this.#spawn([process.execPath, PROGRAM, ...(await this.#arguments()), ...args], env);
  }

  /** The same by way of npm, in a terminal of its own, of which `child.stdin` is the keyboard. */
  async startInTerminal(args: readonly string[] = [], env: Record<string, string> = {}): Promise<DoctorProcess> {
    const command = ["npm", "run", "--silent", "doctor", "--", ...(await this.#arguments()), ...args];
    // The two kinds of script(1): that of util-linux and that of the BSDs.
    const script =
      process.platform === "linux" ? ["-qec", command.join(" "), "/dev/null"] : ["-q", "/dev/null", ...command];
    return this.#spawn(["script", ...script], { TERM: "xterm", ...env });
  }

  /** Runs the doctor to its end. */
  async run(args: readonly string[] = [], env: Record<string, string> = {}): Promise<DoctorProcess> {
    const started = await this.start(args, env);
    await started.ended();
    return started;
  }

  /** Runs the doctor to its end, and reads its `--json`. */
  async report(
    args: readonly string[] = [],
    env: Record<string, string> = {},
  ): Promise<JsonReport & { code: unknown }> {
    const { output, errors, child } = await this.run(["--json", ...args], env);
    if (!output.startsWith("{")) throw new Error(`the doctor printed no JSON: ${output}\n${errors}`);
    return { code: child.exitCode, ...(JSON.parse(output) as JsonReport) };
  }

  /** Writes wrangler.toml, and names it. */
  async #arguments(): Promise<string[]> {
    const vars = Object.entries(this.vars).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    const routes = `routes = [{ pattern = "${ROUTE.pattern}", custom_domain = ${ROUTE.custom_domain} }]`;
    const head = ['name = "doctor-test"', 'main = "index.ts"', 'compatibility_date = "2026-10-23"', routes];
    return ["--config", await this.file("wrangler.toml", [...head, "[vars]", ...vars].join("\n"))];
  }

  #spawn(command: readonly string[], env: Record<string, string>): DoctorProcess {
    const started = new DoctorProcess(command, this, {
      PATH: process.env.PATH ?? "",
      HOME: this.#directory,
      NODE_OPTIONS: `--import=${NAMES}${this.hasWrangler ? "" : ` --import=${SETTINGS}`}`,
      NODE_EXTRA_CA_CERTS: join(this.#directory, "authority.pem"),
      SAMPLE_NAMES: JSON.stringify(this.names),
      SAMPLE_SETTINGS: JSON.stringify({ vars: this.vars, routes: [ROUTE] }),
      WRANGLER_SEND_METRICS: "false",
      ...COMPILE_CACHE,
      ...env,
    });
    this.#processes.push(started);
    return started;
  }

  /** What must never be printed: every user's password and path, the add-on password, and the status page's path. */
  get secrets(): string[] {
    const ofUsers = this.#backends.flatMap((backend) => [...backend.secrets]);
    return [...ofUsers, this.worker.statusPath, String(this.vars.STATUS_PATH ?? ""), ADDON_PASSWORD].filter(Boolean);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.#processes) child.kill("SIGKILL");
    for (const id of IDS) this.backends[id].stop();
    this.worker.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

export class DoctorProcess {
  readonly child: ChildProcess;
  /** What it wrote to standard output and to standard error so far. */
  output = "";
  errors = "";
  readonly #world: World;
  readonly #ended: Promise<unknown>;

  constructor([program = "", ...args]: readonly string[], world: World, env: Record<string, string>) {
    this.#world = world;
    this.child = spawn(program, args, { cwd: ROOT, env, stdio: ["pipe", "pipe", "pipe"] });
    this.#ended = once(this.child, "close");
    this.child.stdout?.on("data", (chunk) => {
      this.output += chunk;
    });
    this.child.stderr?.on("data", (chunk) => {
      this.errors += chunk;
    });
  }

  /**
   * Resolves to its exit code, or to the signal that ended it.
   *
   * @throws if it printed a secret.
   */
  async ended(): Promise<number | NodeJS.Signals | null> {
    await this.#ended;
    const printed = this.#world.secrets.filter((secret) => (this.output + this.errors).includes(secret));
    if (printed.length > 0) throw new Error(`the doctor printed the secrets ${printed.join(", ")}:\n${this.output}`);
    return this.child.exitCode ?? this.child.signalCode;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The last line that it printed. */
  get lastLine(): string {
    return this.output.trimEnd().split("\n").at(-1) ?? "";
  }
}

export function hostOf(id: Id): string {
  return `${id}.films.test`;
}

/** Waits until a condition holds; a doctor takes its time to start on a busy machine. */
export function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 50_000): Promise<void> {
  return waitUntil(what, condition, timeoutMs);
}

/** The lines of a report about one backend or subject, or of one kind. */
export function linesOf({ lines }: JsonReport, { about, kind }: Partial<Pick<Line, "about" | "kind">>): Line[] {
  return lines.filter(
    (line) => (about === undefined || line.about === about) && (kind === undefined || line.kind === kind),
  );
}

/** The lines about the throwaway user. */
export function userLines({ lines }: JsonReport): Line[] {
  return lines.filter(({ section }) => section === "user");
}
