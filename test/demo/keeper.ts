import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { exited } from "../support/processes.ts";

/**
 * Sees to it that nothing outlives the demo, however that ends. It is a process of its own, out of reach of the
 * terminal's Ctrl-C, and learns from its closed input that the demo is gone: SIGKILL leaves the demo no last word, and
 * a frozen backend or Wrangler would not notice by itself.
 */
export class Keeper {
  readonly #child: ChildProcess;

  constructor() {
    this.#child = spawn(process.execPath, [import.meta.filename], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    // Nobody is left to tell.
    this.#child.stdin?.on("error", () => {});
  }

  /** Replaces the list of what has to end with the demo: process ids, or those of whole groups with a minus sign. */
  guard(pids: readonly number[]): void {
    this.#child.stdin?.write(`${pids.join(" ")}\n`);
  }

  /** Ends what is still guarded, and then itself. */
  async stop(): Promise<void> {
    this.#child.stdin?.end();
    await exited(this.#child);
  }
}

function keep(): void {
  let pids: number[] = [];
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    pids = line.split(" ").filter(Boolean).map(Number);
  });
  lines.on("close", () => {
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended already.
      }
    }
  });
}

if (import.meta.main) keep();
