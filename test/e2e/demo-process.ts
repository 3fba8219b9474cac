import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { MANIFEST_PATH, PAGE_PATH, SERVED_BY } from "../demo/backend.ts";
import type { Action, Snapshot } from "../demo/stack.ts";
import {
  COMPILE_CACHE,
  endWithProcess,
  exited,
  family,
  inTerminal,
  livingProcesses,
  type Process,
} from "../support/processes.ts";
import { until } from "../support/waiting.ts";

const ROOT = join(import.meta.dirname, "../..");
const PROGRAM = join(ROOT, "test/demo/demo.ts");

/** For whatever is waited for: on two cores that are shared with other programs Wrangler takes its time. */
export const PATIENCE_MS = 120_000;

export interface Answer {
  readonly status: number;
  /** The id of the sample backend that answered. */
  readonly by: string;
  /** The session cookie that it sets, ready to be sent. */
  readonly cookie: string | undefined;
  readonly headers: Headers;
  readonly body: Buffer;
}

/** The demo as a user starts it: a program of its own, known by what it prints and by what it serves. */
export class DemoProcess {
  readonly child: ChildProcess;
  /** All that it printed. */
  output = "";
  #controlUrl: string | undefined;

  private constructor(command: string, args: readonly string[]) {
    const { PORT: _, ...env } = process.env;
    this.child = spawn(command, args, { cwd: ROOT, env: { ...env, ...COMPILE_CACHE } });
    endWithProcess(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text.replaceAll("\r\n", "\n");
      });
    }
  }

  static run(...args: string[]): DemoProcess {
    return new DemoProcess(process.execPath, [PROGRAM, ...args]);
  }

  /** Runs it in a terminal of its own, of which `child.stdin` is the keyboard. */
  static runInTerminal(...args: string[]): DemoProcess {
    return new DemoProcess(...inTerminal(process.execPath, PROGRAM, ...args));
  }

  /** Waits until it has printed this, or fails once it has ended without. */
  async prints(text: string): Promise<void> {
    const hasEnded = () => this.child.exitCode !== null || this.child.signalCode !== null;
    await until(`the demo prints "${text}"`, () => this.output.includes(text) || hasEnded(), PATIENCE_MS);
    if (!this.output.includes(text)) throw new Error(`the demo ended before it printed "${text}":\n${this.output}`);
  }

  /** Resolves to itself once the page can be opened. */
  async ready(): Promise<this> {
    await this.prints(PAGE_PATH);
    return this;
  }

  /** The load balancer's address, as printed. */
  get url(): string {
    return /http:\/\/localhost:\d+/.exec(this.output)?.[0] ?? "";
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(this.url + path, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    return {
      status: response.status,
      by: response.headers.get(SERVED_BY) ?? "",
      cookie: response.headers.get("Set-Cookie")?.split(";")[0],
      headers: response.headers,
      body: Buffer.from(await response.arrayBuffer()),
    };
  }

  manifest(headers: Record<string, string> = {}): Promise<Answer> {
    return this.get(MANIFEST_PATH, headers);
  }

  /** Where the page's buttons lead, as the page says it. */
  async #control(path: string, init: RequestInit): Promise<Response> {
    this.#controlUrl ??= /CONTROL_URL = "(http:[^"]+)"/.exec((await this.get(PAGE_PATH)).body.toString())?.[1];
    return fetch(this.#controlUrl + path, { signal: AbortSignal.timeout(PATIENCE_MS), ...init });
  }

  /** What the page's buttons do; resolves to the status of the answer. */
  async press(id: string, action: Action, origin = this.url): Promise<number> {
    const init = { method: "POST", headers: { Origin: origin } };
    return (await this.#control(`/backends/${id}/${action}`, init)).status;
  }

  /** What the page is told of the backends now. */
  async backends(): Promise<Snapshot["backends"]> {
    const response = await this.#control("/events", { headers: { Origin: this.url } });
    let text = "";
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes("\n\n")) break;
    }
    return JSON.parse(text.slice("data: ".length, text.indexOf("\n\n"))).backends;
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
}
