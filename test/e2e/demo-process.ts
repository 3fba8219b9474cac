import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { MANIFEST_PATH, PAGE_PATH, SERVED_BY } from "../demo/backend.ts";
import type { Action, Snapshot } from "../demo/stack.ts";
import { freePort } from "../support/ports.ts";
import { COMPILE_CACHE, exited, family, livingProcesses, type Process } from "../support/processes.ts";
import { until } from "../support/waiting.ts";

const ROOT = join(import.meta.dirname, "../..");
const PROGRAM = join(ROOT, "test/demo/demo.ts");

/** On two cores that are shared with other tests Wrangler takes its time. */
const START_TIMEOUT_MS = 45_000;

export interface Answer {
  readonly status: number;
  /** The id of the sample backend that answered. */
  readonly by: string;
  /** The session cookie that it sets, ready to be sent. */
  readonly cookie: string | undefined;
  readonly headers: Headers;
  readonly body: Buffer;
  readonly ms: number;
}

/** The demo as a user starts it: a program of its own, known by what it prints and by what it serves. */
export class DemoProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  /** All that it printed. */
  output = "";

  private constructor(command: string, args: readonly string[]) {
    const { PORT: _, ...env } = process.env;
    this.child = spawn(command, args, {
      cwd: ROOT,
      env: { ...env, ...COMPILE_CACHE },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const collect = (chunk: Buffer) => {
      this.output += chunk;
    };
    this.child.stdout?.on("data", collect);
    this.child.stderr?.on("data", collect);
  }

  /** Starts it with these arguments, and does not wait for anything. */
  static run(...args: string[]): DemoProcess {
    return new DemoProcess(process.execPath, [PROGRAM, ...args]);
  }

  /** Starts it on a free port; resolves once it says that it is ready. */
  static async start(...args: string[]): Promise<DemoProcess> {
    return DemoProcess.run("--port", String(await freePort()), ...args).#ready();
  }

  /** Starts it without a word about the port. */
  static startOnUsualPort(): Promise<DemoProcess> {
    return DemoProcess.run().#ready();
  }

  /** Starts it on a free port in a terminal of its own, of which `child.stdin` is the keyboard. */
  static async startInTerminal(): Promise<DemoProcess> {
    const command = [process.execPath, PROGRAM, "--port", String(await freePort())];
    // The two kinds of script(1): that of util-linux and that of the BSDs.
    const args =
      process.platform === "linux" ? ["-qec", command.join(" "), "/dev/null"] : ["-q", "/dev/null", ...command];
    return new DemoProcess("script", args).#ready();
  }

  async #ready(): Promise<this> {
    const isReady = () => this.output.includes("The demo is ready");
    await until("the demo is ready", () => isReady() || this.child.exitCode !== null, START_TIMEOUT_MS);
    if (!isReady()) throw new Error(`the demo ended:\n${this.output}`);
    return this;
  }

  /** The load balancer's address, as printed. */
  get url(): string {
    return /Open\s+(http:\/\/localhost:\d+)/.exec(this.output)?.[1] ?? "";
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    const startedMs = performance.now();
    const response = await fetch(this.url + path, { headers });
    const body = Buffer.from(await response.arrayBuffer());
    return {
      status: response.status,
      by: response.headers.get(SERVED_BY) ?? "",
      cookie: response.headers.get("Set-Cookie")?.split(";")[0],
      headers: response.headers,
      body,
      ms: performance.now() - startedMs,
    };
  }

  manifest(headers: Record<string, string> = {}): Promise<Answer> {
    return this.get(MANIFEST_PATH, headers);
  }

  /** Where the page's buttons lead, as the page says it. */
  async controlUrl(): Promise<string> {
    const page = await this.get(PAGE_PATH);
    return /CONTROL_URL = "(http:[^"]+)"/.exec(page.body.toString())?.[1] ?? "";
  }

  /** What the page's buttons do. */
  async press(id: string, action: Action): Promise<void> {
    const init = { method: "POST", headers: { Origin: this.url } };
    const response = await fetch(`${await this.controlUrl()}/backends/${id}/${action}`, init);
    if (response.status !== 204) throw new Error(`${action} ${id}: ${response.status} ${await response.text()}`);
  }

  /** What the page is told of the backends now. */
  async snapshot(): Promise<Snapshot> {
    const response = await fetch(`${await this.controlUrl()}/events`, { headers: { Origin: this.url } });
    let text = "";
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes("\n\n")) break;
    }
    return JSON.parse(text.slice("data: ".length, text.indexOf("\n\n"))) as Snapshot;
  }

  /** Itself and every process that it has started by now. */
  async family(): Promise<Process[]> {
    return family(await livingProcesses(), this.child.pid ?? 0);
  }

  /** Resolves to its exit code, or to the signal that ended it. */
  ended(): Promise<number | NodeJS.Signals | null> {
    return exited(this.child);
  }

  async stop(): Promise<void> {
    this.child.kill("SIGTERM");
    await this.ended();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Fails if one of these processes is still there after ten seconds. */
export async function expectGone(processes: readonly Process[]): Promise<void> {
  const pids = new Set(processes.map(({ pid }) => pid));
  let left: Process[] = [];
  await until("all processes of the demo have ended", async () => {
    left = (await livingProcesses()).filter(({ pid }) => pids.has(pid));
    return left.length === 0;
  }).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(left, null, 2)}`);
  });
}
