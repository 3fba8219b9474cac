import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { LogLine, Worker } from "../support/worker.ts";
import type { ChaosBackend } from "./faults.ts";

/** How long a check may go on after the fault that it met: 3 s, and what a busy machine adds. */
const CHECK_MS = 5_000;

/** The Worker's log as it comes, with the moment of each line. */
export class EventLog {
  readonly lines: (LogLine & { readonly atMs: number })[] = [];
  /** Ejections of backends that had no fault. */
  readonly groundless: string[] = [];
  readonly #backends: readonly ChaosBackend[];
  /** When each backend was ejected or recovered last, those that are out as infinite. */
  readonly #upSinceMs = new Map<string, number>();

  constructor({ process }: Worker, backends: readonly ChaosBackend[]) {
    this.#backends = backends;
    for (const stream of [process.stdout, process.stderr]) {
      createInterface(stream as Readable).on("line", (line) => this.#take(line));
    }
  }

  /** Whether the Worker has not held a backend for down at any time since then. */
  wasUpSince(id: string, sinceMs: number): boolean {
    return (this.#upSinceMs.get(id) ?? 0) < sinceMs;
  }

  /** The backends that the Worker has ejected and that have not recovered. */
  get out(): string[] {
    return [...this.#upSinceMs].flatMap(([id, upSinceMs]) => (upSinceMs === Number.POSITIVE_INFINITY ? [id] : []));
  }

  #take(text: string): void {
    if (!text.startsWith("{")) return;
    const line = JSON.parse(text) as LogLine;
    const { event, backend: id = "" } = line;
    const atMs = performance.now();
    this.lines.push({ ...line, atMs });
    if (event === "recovered") this.#upSinceMs.set(id, atMs);
    if (event !== "ejected") return;
    this.#upSinceMs.set(id, Number.POSITIVE_INFINITY);
    const backend = this.#backends.find((backend) => backend.id === id);
    if (backend && atMs > backend.settledMs + CHECK_MS) this.groundless.push(`${text} at ${atMs.toFixed(0)} ms`);
  }
}
