/** `npm run doctor`: whether what wrangler.toml names works, and whether the backends agree with each other. */
import { setDefaultAutoSelectFamilyAttemptTimeout } from "node:net";
import { compareStatuses } from "./agreement.ts";
import { type Arguments, parseArguments, USAGE } from "./arguments.ts";
import { compareUsers } from "./comparison.ts";
import { type DeployedBackend, type Deployment, readDeployment, shortened } from "./deployment.ts";
import { type Line, ok, skipped, wrong } from "./line.ts";
import { Progress } from "./progress.ts";
import { askPublicAddress } from "./public-address.ts";
import { askWhetherThere } from "./reach.ts";
import { type Leftover, Report } from "./report.ts";
import { askForStatus } from "./status.ts";
import { askWhetherUp } from "./up.ts";
import { listed } from "./words.ts";

/** One Ctrl-C may come twice: from the terminal, and passed on by npm. */
const SAME_SIGNAL_MS = 1_000;
/** Node gives one address of a host 250 ms, too little for a backend on the other side of the world. */
const CONNECT_ATTEMPT_MS = 3_000;

class Doctor {
  readonly #arguments: Arguments;
  readonly #report: Report;
  readonly #progress = new Progress(process.stderr);
  readonly #interrupted = new AbortController();
  readonly #left: Leftover[] = [];

  constructor(args: Arguments) {
    this.#arguments = args;
    this.#report = new Report(process.stdout, { isJson: args.isJson });
  }

  /** Resolves to the exit code. */
  async run(): Promise<number> {
    this.#listenForSignals();
    const deployment = await this.#readDeployment();
    const { config } = deployment;
    let isDeployed = false;
    if (config) {
      this.#report.width = Math.max(...deployment.backends.map(({ id }) => id.length));
      const backends = await this.#askWhetherThere(deployment.backends);
      const answering = await this.#askWhetherUp(backends, config.healthCheckPath);
      const alike = await this.#compareStatuses(
        answering,
        deployment.isDomainExample ? undefined : config.publicOrigin,
      );
      await this.#compareUsers(alike);
      isDeployed = await this.#askPublicAddress(deployment);
    }
    const isInterrupted = this.#interrupted.signal.aborted;
    const next = isDeployed ? "" : "Next: npm run deploy, then npm run doctor once more.";
    this.#progress.around(() => this.#report.end({ isInterrupted, left: this.#left, next }));
    return isInterrupted ? 2 : this.#report.count("wrong") > 0 ? 1 : 0;
  }

  async #readDeployment(): Promise<Deployment> {
    const { config: path } = this.#arguments;
    this.#section("configuration", `Reading ${shortened(path)}`);
    const deployment = await this.#during("wrangler.toml", () => readDeployment(path));
    for (const { variable, text, todo } of deployment.complaints) {
      this.#say(wrong(variable, text, todo));
    }
    if (!deployment.config) {
      this.#say(
        skipped(undefined, "nothing was asked, since wrangler.toml names no usable backend or no public domain"),
      );
    } else if (deployment.complaints.length === 0) {
      const names = deployment.backends.map(({ id, isBackup }) => (isBackup ? `${id} (backup)` : id));
      this.#say(ok(undefined, `nothing is wrong in it; it names ${listed(names)}`));
    }
    return deployment;
  }

  async #askWhetherThere(backends: readonly DeployedBackend[]): Promise<DeployedBackend[]> {
    this.#section("reachable", "Is every backend there? (name, connection, certificate)");
    return this.#filtered(backends, async (backend, signal) => {
      const line = await askWhetherThere(backend, signal);
      this.#say(line);
      return line.kind === "ok" || line.kind === "warning";
    });
  }

  async #askWhetherUp(backends: readonly DeployedBackend[], path: string): Promise<DeployedBackend[]> {
    if (this.#isDone(backends)) return [];
    this.#section("health", "Is it up? (the Worker's own check)");
    return this.#filtered(backends, async (backend, signal) => {
      const { line, isAnswering } = await askWhetherUp(backend, path, signal);
      this.#say(line);
      return isAnswering;
    });
  }

  async #compareStatuses(backends: readonly DeployedBackend[], publicOrigin: string | undefined) {
    if (this.#isDone(backends)) return [];
    this.#section("version", "Do they run the same AIOStreams?");
    const { signal } = this.#interrupted;
    const statuses = await Promise.all(
      backends.map((backend) => this.#during(backend.id, () => askForStatus(backend, signal))),
    );
    for (const line of compareStatuses(statuses, publicOrigin)) this.#say(line);
    return statuses.flatMap((status) => (status.kind === "aiostreams" ? [status.backend] : []));
  }

  async #compareUsers(backends: readonly DeployedBackend[]): Promise<void> {
    if (this.#isDone(backends)) return;
    this.#section("user", "Do they share one database and one SECRET_KEY? (with a throwaway user)");
    const [first, second] = backends;
    if (first && !second) {
      return this.#say(skipped(undefined, `only ${first.id} can be asked: nothing to compare it with`));
    }
    await compareUsers(backends, {
      say: (line) => this.#say(line),
      during: (what, task) => this.#during(what, task),
      interrupted: this.#interrupted.signal,
      addonPassword: process.env.AIOSTREAMS_ADDON_PASSWORD || undefined,
      left: this.#left,
    });
    if (this.#interrupted.signal.aborted) return;
    const found = "AIOSTREAMS_AUTH, REDIS_URI and TRUSTED_IPS do not show from outside: compare them yourself";
    this.#say(skipped(undefined, found));
  }

  async #askPublicAddress({ config, isDomainExample }: Deployment): Promise<boolean> {
    const { url } = this.#arguments;
    if (!config || this.#interrupted.signal.aborted) return false;
    this.#section("public", `Does the Worker answer at ${url ?? "the public address"}?`);
    if (url === undefined && isDomainExample) {
      this.#say(skipped(undefined, "PRIMARY_DOMAIN is still an example: not asked"));
      return false;
    }
    const address = { origin: url ?? config.publicOrigin, isGiven: url !== undefined, config };
    return this.#during("the Worker", () =>
      askPublicAddress(address, (line) => this.#say(line), this.#interrupted.signal),
    );
  }

  /** Asks all side by side; resolves to those of which the question says yes, in their order. */
  async #filtered(
    backends: readonly DeployedBackend[],
    question: (backend: DeployedBackend, signal: AbortSignal) => Promise<boolean>,
  ): Promise<DeployedBackend[]> {
    const { signal } = this.#interrupted;
    const answers = await Promise.all(
      backends.map((backend) => this.#during(backend.id, () => question(backend, signal))),
    );
    return backends.filter((_, i) => answers[i]);
  }

  #isDone(backends: readonly DeployedBackend[]): boolean {
    return backends.length === 0 || this.#interrupted.signal.aborted;
  }

  #section(id: string, heading: string): void {
    this.#progress.around(() => this.#report.section(id, heading));
  }

  #say(line: Line): void {
    this.#progress.around(() => this.#report.add(line));
  }

  #during<T>(what: string, task: (rename: (what: string) => void) => Promise<T>): Promise<T> {
    return this.#progress.during(what, task);
  }

  /** The first Ctrl-C ends the questions and deletes the throwaway user; a second one ends the program as it is. */
  #listenForSignals(): void {
    let firstMs: number | undefined;
    const onSignal = () => {
      const nowMs = performance.now();
      firstMs ??= nowMs;
      if (!this.#interrupted.signal.aborted) {
        if (this.#left.length > 0) {
          console.error("\nInterrupted. Deleting the throwaway user first (Ctrl-C once more leaves it behind)…");
        }
        this.#interrupted.abort();
      } else if (nowMs - firstMs > SAME_SIGNAL_MS) {
        for (const { uuid = "(its uuid is not known)", backend } of this.#left) {
          console.error(`The throwaway user ${uuid} may be left in the database of ${backend}.`);
        }
        process.exit(2);
      }
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
    // A pipe or a terminal that is gone ends the questions too, but nothing keeps the user from being deleted.
    process.stdout.on("error", () => this.#interrupted.abort());
    process.stderr.on("error", () => {});
  }
}

async function main(args: string[]): Promise<number> {
  try {
    const parsed = parseArguments(args);
    if (parsed === "help") {
      console.log(USAGE);
      return 0;
    }
    setDefaultAutoSelectFamilyAttemptTimeout(CONNECT_ATTEMPT_MS);
    return await new Doctor(parsed).run();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (args.includes("--json")) console.log(JSON.stringify({ ok: false, error: text }, null, 2));
    console.error(`The doctor could not run: ${text}`);
    return 2;
  }
}

const exitCode = await main(process.argv.slice(2));
// Not `process.exitCode`: a name server that is silent would keep the program for as long as it likes.
process.stdout.write("", () => process.exit(exitCode));
