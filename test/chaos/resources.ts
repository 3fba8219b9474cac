import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "../support/worker.ts";

/** What memory may grow by after the first minute. */
const GROWTH_MAX = 0.1;

/** What the Worker's process holds at a moment. */
export interface Usage {
  readonly residentMiB: number;
  readonly descriptors: number;
}

/** Linux tells this in /proc; elsewhere it is not known. */
export async function usageOf({ process: { pid } }: Worker): Promise<Usage> {
  try {
    const [, kiB] = /VmRSS:\s*(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8")) ?? [];
    return { residentMiB: Math.round(Number(kiB) / 1024), descriptors: (await readdir(`/proc/${pid}/fd`)).length };
  } catch {
    return { residentMiB: Number.NaN, descriptors: Number.NaN };
  }
}

/** The usage at every full minute. */
export async function watchUsage(worker: Worker, untilMs: number): Promise<Usage[]> {
  const usage: Usage[] = [];
  for (let minute = 1; performance.now() + 60_000 <= untilMs + 1_000; minute++) {
    await sleep(Math.min(60_000, untilMs - performance.now()));
    const now = await usageOf(worker);
    usage.push(now);
    console.log(`minute ${minute}: ${now.residentMiB} MiB resident, ${now.descriptors} open file descriptors`);
  }
  return usage;
}

export function leaksIn(usage: readonly Usage[]): string[] {
  const [first] = usage;
  const last = usage.at(-1);
  if (!first || !last || Number.isNaN(last.residentMiB)) return ["the process's memory could not be read"];
  return last.residentMiB > first.residentMiB * (1 + GROWTH_MAX) ? ["memory grew after the first minute"] : [];
}
