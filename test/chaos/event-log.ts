import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { LogLine, Worker } from "../support/worker.ts";

export interface StampedLine extends LogLine {
  readonly atMs: number;
}

/** The Worker's log as it comes, with the moment of each line. */
export class EventLog {
  readonly lines: StampedLine[] = [];
  /** What workerd itself had to say, which is never good. */
  readonly noise: string[] = [];
  readonly #out = new Set<string>();

  constructor({ process }: Pick<Worker, "process">) {
    for (const stream of [process.stdout, process.stderr]) {
      createInterface(stream as Readable).on("line", (line) => this.#take(line));
    }
  }

  /** The backends that the Worker has ejected and not brought back. */
  get out(): string[] {
    return [...this.#out];
  }

  #take(text: string): void {
    if (text === "") return;
    if (!text.startsWith("{")) return void this.noise.push(text);
    const line = JSON.parse(text) as LogLine;
    const { event, backend = "" } = line;
    this.lines.push({ ...line, atMs: performance.now() });
    if (event === "ejected") this.#out.add(backend);
    if (event === "back") this.#out.delete(backend);
  }
}
