import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { stripVTControlCharacters } from "node:util";
import { VARIABLES } from "../../src/config.ts";
import { HEALTH_PATH, type Mode } from "../support/backend.ts";
import { BackendProcess } from "../support/backend-process.ts";
import { IDS, type Id } from "../support/load-balancer.ts";
import { end, endWithProcess } from "../support/processes.ts";
import { until } from "../support/waiting.ts";
import type { LogLine } from "../support/worker.ts";
import { type Order, STATUS_PATH } from "./backend.ts";
import { Control } from "./control.ts";

const ROOT = join(import.meta.dirname, "../..");
const BACKEND_PROGRAM = join(import.meta.dirname, "backend.ts");

/** In the order of the load balancer's own status page. */
export { IDS };

/** The one that can be made a backup. */
export const BACKUP: Id = "duck";

export type Action = "die" | "hang" | "answer503" | "answer404" | "recover";

/** What can be done to a backend: by which key of the terminal, and what the backend then is, in words and for itself. */
export const ACTIONS: Readonly<Record<Action, { key: string; effect: string; mode?: Mode }>> = {
  die: { key: "d", effect: "is dead: its process was killed (SIGKILL)" },
  hang: { key: "h", effect: "hangs: its process is frozen (SIGSTOP)" },
  answer503: { key: "5", effect: "answers 503 to everything", mode: { kind: "status", status: 503 } },
  answer404: {
    key: "4",
    effect: "is gone: its platform answers 404 to everything",
    mode: { kind: "outage", answer: "404" },
  },
  recover: { key: "r", effect: "is well: it answers as before" },
};

/** How things stand, for the page. */
export interface Snapshot {
  readonly backends: readonly {
    readonly id: Id;
    /** What was done to it last. */
    readonly action: Action;
    readonly isBackup: boolean;
    /** Why and since when the load balancer sends no traffic there; `null` while it does. */
    readonly ejection: Ejection | null;
  }[];
  /** What has happened, the newest first. */
  readonly notes: readonly Note[];
}

interface Ejection {
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
  readonly hasBackup: boolean;
  /** Is told what happens, as it happens. */
  readonly onNote?: (note: Note) => void;
}

const NOTES_KEPT = 30;
/** On a busy machine Wrangler takes its time. */
const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 3_000;

interface RunningBackend {
  readonly process: BackendProcess<Order>;
  action: Action;
  /** The end of the last command: one at a time. */
  idle: Promise<void>;
}

/** Three sample backends, `wrangler dev` in front of them, and the control that makes the backends fail. */
export class Stack {
  readonly #options: StackOptions;
  readonly #control: Control;
  readonly #backends = new Map<string, RunningBackend>();
  readonly #ejections = new Map<string, Ejection>();
  readonly #notes: Note[] = [];
  #wrangler: ChildProcess | undefined;
  /** The last that Wrangler printed, for the case that it ends. */
  #output = "";

  constructor(options: StackOptions) {
    this.#options = options;
    this.#control = new Control({
      pagePort: options.port,
      snapshot: () => this.#snapshot(),
      command: (id, action) => this.command(id, action),
    });
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
    const ended = this.#startWrangler();
    ended.catch(() => {});
    await Promise.race([this.#answering(), ended]);
    return { ended };
  }

  async stop(): Promise<void> {
    this.#control.stop();
    // One that could not be started has no process id, and no end to wait for.
    if (this.#wrangler?.pid) {
      await end(this.#wrangler, "SIGTERM", STOP_TIMEOUT_MS);
      try {
        process.kill(-this.#wrangler.pid, "SIGKILL");
      } catch {} // It left nothing of its group.
    }
    await Promise.all([...this.#backends.values()].map(({ process }) => process.kill()));
  }

  /**
   * Does something to a backend, from any state, one after the other.
   *
   * @returns whether there are such a backend and such an action.
   */
  async command(id: string, name: string): Promise<boolean> {
    const backend = this.#backends.get(id);
    if (!backend || !Object.hasOwn(ACTIONS, name)) return false;
    const action = name as Action;
    backend.idle = backend.idle
      .catch(() => {})
      .then(async () => {
        await this.#carryOut(backend, action);
        backend.action = action;
        this.#note(id, ACTIONS[action].effect);
      });
    await backend.idle;
    return true;
  }

  #snapshot(): Snapshot {
    const backends = IDS.flatMap((id) => {
      const backend = this.#backends.get(id);
      if (!backend) return [];
      // It may also have been killed by hand.
      const action = backend.process.pid === undefined ? "die" : backend.action;
      return [{ id, action, isBackup: this.#isBackup(id), ejection: this.#ejections.get(id) ?? null }];
    });
    return { backends, notes: this.#notes };
  }

  #isBackup(id: string): boolean {
    return this.#options.hasBackup && id === BACKUP;
  }

  async #startBackend(id: Id): Promise<void> {
    const process = await BackendProcess.start<Order>(id, BACKEND_PROGRAM);
    const backend: RunningBackend = { process, action: "recover", idle: Promise.resolve() };
    this.#backends.set(id, backend);
    await this.#carryOut(backend, "recover");
  }

  async #carryOut({ process }: RunningBackend, action: Action): Promise<void> {
    if (action === "die") {
      await process.kill();
    } else {
      process.thaw();
      if (process.pid === undefined) await process.restart();
      await process.tell({ mode: ACTIONS[action].mode ?? { kind: "well" }, controlUrl: this.#control.url });
      if (action === "hang") process.freeze();
    }
  }

  #note(who: string, text: string): void {
    const note = { atMs: Date.now(), who, text };
    this.#notes.unshift(note);
    this.#notes.length = Math.min(this.#notes.length, NOTES_KEPT);
    this.#options.onNote?.(note);
    this.#control.push();
  }

  /** Starts Wrangler as the leader of a group of its own, so that the terminal's Ctrl-C reaches the demo alone. */
  #startWrangler(): Promise<never> {
    const vars = Object.entries(this.#vars()).flatMap(([name, value]) => ["--var", `${name}:${value}`]);
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
    endWithProcess(wrangler, { isLeader: true });
    for (const stream of [wrangler.stdout, wrangler.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#onLine(stripVTControlCharacters(line)));
    }
    return new Promise((_, reject) => {
      wrangler.on("error", reject);
      wrangler.on("close", () => reject(new Error(`Wrangler ended. It said:\n\n${this.#output}`)));
    });
  }

  /** All variables, whatever wrangler.toml was changed to, but for the domain; it may already name real backends. */
  #vars(): Readonly<Record<string, unknown>> {
    const defaults = Object.entries(VARIABLES).filter(([, { defaultValue }]) => defaultValue !== undefined);
    const backends = [...this.#backends].map(([id, { process }]) => {
      return [`BACKEND_${id.toUpperCase()}`, `${process.url}${this.#isBackup(id) ? " backup" : ""}`];
    });
    return {
      ...emptied(readFileSync(join(ROOT, "wrangler.toml"), "utf8")),
      ...Object.fromEntries(defaults.map(([name, { defaultValue }]) => [name, defaultValue])),
      ...Object.fromEntries(backends),
      BACKEND_DOWN_TIME: this.#options.downTimeMs,
      STATUS_PATH,
    };
  }

  #onLine(line: string): void {
    this.#output = `${this.#output}${line}\n`.slice(-20_000);
    // Wrangler writes its own mark in front of what a Worker logs as an error.
    const [json] = /\{"event":.*\}$/.exec(line) ?? [];
    if (json !== undefined) {
      const event = JSON.parse(json) as LogEvent;
      if (event.event === "ejected") this.#ejections.set(event.backend, { reason: event.reason, sinceMs: Date.now() });
      if (event.event === "recovered") this.#ejections.delete(event.backend);
      this.#note("load balancer", inWords(event));
    } else if (line.includes("Reloading local server")) {
      // A source file was changed. What the Worker shared is still there, and it says again who is out.
      this.#ejections.clear();
      this.#note("load balancer", "starts anew, since its source was changed");
    } else if (/\bERROR\b/.test(line)) this.#note("wrangler", line);
  }

  async #answering(): Promise<void> {
    const signal = AbortSignal.timeout(START_TIMEOUT_MS);
    const isAnswering = async () => {
      if (!this.#output.includes("Ready on")) return false;
      return fetch(this.url + HEALTH_PATH, { signal }).then(
        ({ ok }) => ok,
        () => false,
      );
    };
    await until("the load balancer answers", isAnswering, START_TIMEOUT_MS).catch(({ message }) => {
      throw new Error(`${message}. Wrangler said:\n\n${this.#output}`);
    });
  }
}

/** An empty value for every backend that a wrangler.toml names, or has headers for: real ones get no request of the demo. */
export function emptied(toml: string): Readonly<Record<string, "">> {
  // A name in a comment does no harm: empty means absent.
  const names = [...toml.matchAll(/\b(?:BACKEND|HEADERS)_[\w-]+/g)]
    .map(([name]) => name)
    .filter((name) => !Object.hasOwn(VARIABLES, name));
  return Object.fromEntries(names.map((name) => [name, ""]));
}

/** One line of the Worker's log, as far as the demo reads it. */
interface LogEvent extends Required<Pick<LogLine, "event" | "backend" | "reason">>, Pick<LogLine, "status"> {
  /** Whether another isolate found it out. */
  readonly shared?: true;
}

/** What a line of the log says of a backend, as a sentence of which the load balancer is the subject. */
const SENTENCES: Readonly<Record<string, string>> = {
  ejected: "ejects $",
  recovered: "finds $ recovered",
  failover: "asks another backend than $",
  exhausted: "has no backend left to ask, the last was $",
};

function inWords({ event, backend, reason, status, shared }: LogEvent): string {
  const why = [reason, status, shared && "as shared before"].filter(Boolean).join(", ");
  return `${(SENTENCES[event] ?? `logs "${event}": $`).replace("$", backend)} (${why})`;
}
