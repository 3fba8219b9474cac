import { execFile } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { end } from "../support/processes.ts";

/** All that has to be gone when the bench ends or is interrupted. */
const cleanups: (() => Promise<unknown>)[] = [];
let ended = false;

/** Ends every process and removes every file that was made here; nothing can be made after it. */
export async function cleanUp(): Promise<void> {
  ended = true;
  for (let cleanup = cleanups.pop(); cleanup; cleanup = cleanups.pop()) await cleanup().catch(() => {});
}

/** Resolves to what was started; `stop` is called on it when the bench ends or is interrupted. */
export function start<T extends { stop(): Promise<unknown> }>(starting: () => Promise<T>): Promise<T> {
  throwIfEnded();
  const started = starting();
  cleanups.push(async () => (await started).stop());
  return started;
}

function throwIfEnded(): void {
  if (ended) throw new Error("interrupted");
}

export function temporaryDirectory(): string {
  throwIfEnded();
  const directory = mkdtempSync(join(tmpdir(), "load-balancer-bench-"));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs a command to its end and resolves to what it wrote. */
export async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  throwIfEnded();
  const running = promisify(execFile)(command, args, { cwd, env: { ...process.env, NO_COLOR: "1" } });
  cleanups.push(() => end(running.child, "SIGTERM"));
  return (await running).stdout;
}
