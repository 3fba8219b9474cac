import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { stripVTControlCharacters } from "node:util";
import { isBackendVariable, VARIABLES } from "../../src/config.ts";
import type { LogEvent } from "../../src/events.ts";
import { HEALTH_PATH, type Mode } from "../support/backend.ts";
import { BackendProcess } from "../support/backend-process.ts";
import { end } from "../support/processes.ts";
import { until } from "../support/waiting.ts";
import { type Order, STATUS_PATH } from "./backend.ts";
import { Control } from "./control.ts";
import { Keeper } from "./keeper.ts";

const ROOT = join(import.meta.dirname, "../..");
const BACKEND_PROGRAM = join(import.meta.dirname, "backend.ts");

export const IDS = ["cf", "koyeb", "duck"] as const;
export type Id = (typeof IDS)[number];

/** The one that can be made a backup. */
export const BACKUP: Id = "duck";

export const ACTIONS = ["die", "hang", "fail", "recover"] as const;
export type Action = (typeof ACTIONS)[number];

/** What each action makes of a backend, in words for the terminal. */
const EFFECTS: Readonly<Record<Action, string>> = {
  die: "is dead: its process was killed (SIGKILL)",
  hang: "hangs: its process is frozen (SIGSTOP), so connections are accepted and nothing answers",
  fail: "answers 503 to everything",
  recover: "has recovered: it answers as before",
};

export type State = "running" | "dead" | "hung" | "failing";

const STATES: Readonly<Record<Action, State>> = { die: "dead", hang: "hung", fail: "failing", recover: "running" };

/** How things stand, for the page. */
export interface Snapshot {
  readonly backends: readonly {
    readonly id: Id;
    readonly state: State;
    readonly isBackup: boolean;
    /** Why and since when the load balancer sends no traffic there; `null` while it does. */
    readonly out: Out | null;
  }[];
  /** What has happened, the newest first. */
  readonly notes: readonly Note[];
}

interface Out {
  readonly reason: string;
  readonly sinceMs: number;
}

export interface Note {
  readonly atMs: number;
  /** `load balancer`, or the id of a backend. */
  readonly who: string;
  readonly text: string;
}

export interface StackOptions {
  /** The port of the load balancer on localhost; it has to be free. */
  readonly port: number;
  /** After which time a backend that is down is checked again. */
  readonly downTimeMs: number;
  /** Whether `BACKUP` gets requests only while no other backend is up. */
  readonly hasBackup?: boolean;
  /** Is told what happens, as it happens. */
  readonly onNote?: (note: Note) => void;
}

const NOTES_KEPT = 30;
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 3_000;

type Vars = Readonly<Record<string, string | number | boolean>>;

interface RunningBackend {
  readonly process: BackendProcess<Order>;
  state: State;
  /** The end of the last command: one at a time. */
  idle: Promise<void>;
}

/** Three sample backends, `wrangler dev` in front of them, and the control that makes the backends fail. */
export class Stack {
  readonly #options: StackOptions;
  readonly #control: Control;
  readonly #keeper = new Keeper();
  readonly #backends = new Map<Id, RunningBackend>();
  readonly #out = new Map<string, Out>();
  readonly #notes: Note[] = [];
  #wrangler: ChildProcess | undefined;
  /** All that Wrangler printed so far, for the case that it ends. */
  #output = "";

  constructor(options: StackOptions) {
    this.#options = options;
    this.#control = new Control(this, options.port);
  }

  get url(): string {
    return `http://localhost:${this.#options.port}`;
  }

  /** The ids of all processes that are to be gone after `stop`; that of Wrangler leads a group. */
  get pids(): number[] {
    const backends = [...this.#backends.values()].map(({ process }) => process.pid);
    return [this.#wrangler?.pid, ...backends].filter((pid) => pid !== undefined);
  }

  /**
   * Resolves once the load balancer answers.
   *
   * @returns a promise that rejects, with what Wrangler printed, if Wrangler ends before `stop`.
   */
  async start(): Promise<{ ended: Promise<never> }> {
    await this.#control.start();
    await Promise.all(IDS.map((id) => this.#startBackend(id)));
    const ended = this.#startWrangler(await this.#vars());
    ended.catch(() => {});
    await Promise.race([this.#answering(), ended]);
    return { ended };
  }

  async stop(): Promise<void> {
    this.#control.stop();
    // One that could not be started has no process id, and no end to wait for.
    if (this.#wrangler?.pid) await end(this.#wrangler, "SIGTERM", STOP_TIMEOUT_MS);
    await Promise.all([...this.#backends.values()].map(({ process }) => process.kill()));
    // What Wrangler may have left of its group ends here.
    await this.#keeper.stop();
  }

  has(id: string): boolean {
    return this.#backends.has(id as Id);
  }

  /** Makes a backend die, hang, answer 503 or recover; from any state, and one after the other. */
  async command(id: string, action: Action): Promise<void> {
    const backend = this.#backends.get(id as Id);
    if (!backend) throw new Error(`no backend ${id}`);
    backend.idle = backend.idle
      .catch(() => {})
      .then(async () => {
        await this.#carryOut(backend, action);
        backend.state = STATES[action];
        this.#note(id, EFFECTS[action]);
      });
    await backend.idle;
  }

  snapshot(): Snapshot {
    const backends = IDS.flatMap((id) => {
      const backend = this.#backends.get(id);
      if (!backend) return [];
      // It may also have been killed by hand.
      const state = backend.process.pid === undefined ? "dead" : backend.state;
      return [{ id, state, isBackup: this.#isBackup(id), out: this.#out.get(id) ?? null }];
    });
    return { backends, notes: this.#notes };
  }

  #isBackup(id: Id): boolean {
    return this.#options.hasBackup === true && id === BACKUP;
  }

  async #startBackend(id: Id): Promise<void> {
    const process = await BackendProcess.start<Order>(id, BACKEND_PROGRAM);
    this.#backends.set(id, { process, state: "running", idle: Promise.resolve() });
    this.#guard();
    await process.tell(this.#order({ kind: "well" }));
  }

  async #carryOut({ process }: RunningBackend, action: Action): Promise<void> {
    if (action === "die") {
      await process.kill();
    } else {
      process.thaw();
      if (process.pid === undefined) await process.restart();
      await process.tell(this.#order(action === "fail" ? { kind: "status", status: 503 } : { kind: "well" }));
      if (action === "hang") process.freeze();
    }
    this.#guard();
  }

  #order(mode: Mode): Order {
    return { mode, controlUrl: this.#control.url };
  }

  #guard(): void {
    this.#keeper.guard(this.pids.map((pid) => (pid === this.#wrangler?.pid ? -pid : pid)));
  }

  #note(who: string, text: string): void {
    const note = { atMs: Date.now(), who, text };
    this.#notes.unshift(note);
    this.#notes.length = Math.min(this.#notes.length, NOTES_KEPT);
    this.#options.onNote?.(note);
    this.#control.push();
  }

  /** Starts Wrangler as the leader of a group of its own, so that the terminal's Ctrl-C reaches the demo alone. */
  #startWrangler(values: Vars): Promise<never> {
    const vars = Object.entries(values).flatMap(([name, value]) => ["--var", `${name}:${value}`]);
    const wrangler = spawn(
      process.execPath,
      [
        join(ROOT, "node_modules/wrangler/bin/wrangler.js"),
        ...["dev", "--local", "--port", String(this.#options.port), "--inspector-port", "0"],
        ...["--show-interactive-dev-session=false", "--env-file", "/dev/null"],
        ...vars,
      ],
      {
        cwd: ROOT,
        detached: true,
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          ...process.env,
          WRANGLER_SEND_METRICS: "false",
          WRANGLER_SEND_ERROR_REPORTS: "false",
          WRANGLER_HIDE_BANNER: "true",
          CLOUDFLARE_CF_FETCH_ENABLED: "false",
          NO_COLOR: "1",
        },
      },
    );
    this.#wrangler = wrangler;
    this.#guard();
    for (const stream of [wrangler.stdout, wrangler.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#onLine(line));
    }
    return new Promise((_, reject) => {
      wrangler.on("error", reject);
      wrangler.on("close", () => reject(new Error(`Wrangler ended. It said:\n\n${this.#output}`)));
    });
  }

  /** All variables, whatever wrangler.toml was changed to, but for the domain; it may already name real backends. */
  async #vars(): Promise<Vars> {
    // Not at the top: it takes a second, in which the demo can say something already.
    const { unstable_readConfig } = await import("wrangler");
    const { vars } = unstable_readConfig({ config: join(ROOT, "wrangler.toml") });
    const configured = Object.keys(vars).filter(isBackendVariable);
    const defaults = Object.entries(VARIABLES).flatMap(([name, { defaultValue }]) =>
      defaultValue === undefined ? [] : [[name, defaultValue] as const],
    );
    const backends = [...this.#backends].map(([id, { process }]) => {
      const options = this.#isBackup(id) ? " backup" : "";
      return [`BACKEND_${id.toUpperCase()}`, process.url + options] as const;
    });
    return {
      ...Object.fromEntries(configured.map((name) => [name, ""])),
      ...Object.fromEntries(defaults),
      ...Object.fromEntries(backends),
      BACKEND_DOWN_TIME: this.#options.downTimeMs,
      STATUS_PATH,
    };
  }

  #onLine(coloured: string): void {
    const line = stripVTControlCharacters(coloured);
    this.#output = `${this.#output}${line}\n`.slice(-20_000);
    const event = parseLogEvent(line);
    if (event) this.#onLogEvent(event);
    else if (line.includes("Reloading local server")) this.#onReload();
    else if (/\bERROR\b/.test(line)) this.#note("wrangler", line);
  }

  /** Wrangler starts the Worker anew when a source file changes. What it shared is still there, and it says again who is out. */
  #onReload(): void {
    this.#out.clear();
    this.#note("load balancer", "starts anew, since its source was changed");
  }

  #onLogEvent(event: LogEvent): void {
    if (event.event === "ejected") this.#out.set(event.backend, { reason: event.reason, sinceMs: Date.now() });
    if (event.event === "back") this.#out.delete(event.backend);
    this.#note("load balancer", inWords(event));
  }

  async #answering(): Promise<void> {
    const isAnswering = async () => {
      try {
        const response = await fetch(this.url + HEALTH_PATH);
        await response.body?.cancel();
        return response.ok;
      } catch {
        return false; // It does not listen yet.
      }
    };
    await until("the load balancer answers", isAnswering, START_TIMEOUT_MS).catch(() => {
      throw new Error(
        `The load balancer did not answer within ${START_TIMEOUT_MS} ms. Wrangler said:\n\n${this.#output}`,
      );
    });
  }
}

/** What the Worker logged, if it is that. Wrangler writes its own mark in front of what a Worker logs as an error. */
function parseLogEvent(line: string): LogEvent | undefined {
  const [json] = /\{"event":.*\}$/.exec(line) ?? [];
  if (json === undefined) return undefined;
  try {
    return JSON.parse(json) as LogEvent;
  } catch {
    return undefined;
  }
}

/** One line of the Worker's log as a sentence. */
function inWords(event: LogEvent): string {
  switch (event.event) {
    case "ejected":
      return `sends no more requests to ${event.backend}: ${foundOf(event)}`;
    case "back":
      return `sends requests to ${event.backend} again: ${foundOf(event)}`;
    case "failover":
      return event.reason === "silent"
        ? `asks another backend as well, since ${event.backend} is silent`
        : `asks another backend, since ${event.backend} failed: ${reasonOf(event)}`;
    case "exhausted":
      return `has no backend left to ask; the last was ${event.backend}: ${reasonOf(event)}`;
    default:
      return JSON.stringify(event);
  }
}

function foundOf(event: { reason: string; status?: number; shared?: true }): string {
  return `${reasonOf(event)}${event.shared ? ", as was shared before" : ""}`;
}

function reasonOf({ reason, status }: { reason: string; status?: number }): string {
  return status === undefined ? reason : `${reason} (${status})`;
}
