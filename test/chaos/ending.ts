import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** All that has to be gone when a run ends or is interrupted. */
const endings: (() => Promise<unknown>)[] = [];
let hasEnded = false;

/** Resolves to what was started; it is stopped at the end, even when that comes before it has started. */
export function start<T>(starting: () => Promise<T>, stop: (started: T) => Promise<unknown>): Promise<T> {
  if (hasEnded) throw new Error("interrupted");
  const started = starting();
  endings.push(async () => stop(await started));
  return started;
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "load-balancer-chaos-"));
  endings.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Whether the end has begun: what fails from then on fails because of that. */
export function isEnding(): boolean {
  return hasEnded;
}

/** Stops everything; nothing can be started after it. */
export async function end(): Promise<void> {
  hasEnded = true;
  // What is stopped twice is gone already.
  await Promise.all(endings.splice(0).map((ending) => ending().catch(() => {})));
}

/** Has an interrupted or failed run leave nothing behind either. */
export function endWithProcess(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => void end().then(() => process.exit(130)));
  }
  process.on("uncaughtException", (error) => {
    if (!hasEnded) console.error(error);
    void end().then(() => process.exit(1));
  });
}
