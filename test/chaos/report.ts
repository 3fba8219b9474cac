import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Script } from "../support/build.ts";
import { percentile } from "../support/statistics.ts";
import type { Worker } from "../support/worker.ts";
import type { Affinity } from "./affinity.ts";
import type { EventLog } from "./event-log.ts";
import { type Exchanges, FAULTY, type Result, VERDICTS, type Verdict } from "./exchanges.ts";
import { type ChaosBackend, FAULTS } from "./faults.ts";

/** What a run was asked to do. */
export interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly isSoak: boolean;
  /** Whether the isolates share their results. */
  readonly share: boolean;
  /** The Worker. */
  readonly script: Script;
}

const SHOWN_MAX = 20;
/** A run that stands still for longer may have made a backend look silent, or a reading of the cache late. */
const PAUSE_MS = 100;
/** How far back the causes of a failure are looked for. */
const HISTORY_MS = 5_000;

/** What there is to tell of a run. */
export interface Account {
  readonly backends: readonly ChaosBackend[];
  readonly exchanges: Exchanges;
  readonly affinity: Affinity;
  /** What each request of the attacker was. */
  readonly attacks: readonly string[];
  readonly log: EventLog;
}

/** Prints what happened, and what is wrong with it. Returns whether nothing is. */
export function report(account: Account, complaints: string[]): boolean {
  const { backends, exchanges, affinity, attacks, log } = account;
  const illnesses = backends.flatMap(({ illnesses }) => illnesses);
  const faults = FAULTS.map(({ name }): Line => [illnesses.filter(({ fault }) => fault.name === name).length, name]);
  const reasons = log.lines.flatMap(({ event, reason = "" }) => (event === "ejected" ? [reason] : []));
  list("faults", faults);
  list("attacks", tally(attacks));
  list("ejections", tally(reasons));

  const { counts, durationsMs } = exchanges;
  const verdicts = Object.entries(VERDICTS) as [Verdict, string][];
  list("exchanges", [
    ...verdicts.map(([verdict, meaning]): Line => [counts[verdict], `${verdict}: ${meaning}`]),
    [durationsMs.length, "in all"],
    [affinity.stayed, "of which answered by the client's own backend, which was up all the time"],
  ]);
  const [p50, p99, max] = [50, 99, 100].map((p) => `${percentile(durationsMs, p).toFixed(1)} ms`);
  console.log(`duration  p50 ${p50}, p99 ${p99}, longest ${max}`);

  const lacking = faults.flatMap(([times, name]) => (times === 0 ? [name] : []));
  if (lacking.length > 0) console.log(`too short a run for: ${lacking.join("; ")}`);
  for (const verdict of FAULTY) if (counts[verdict] > 0) complaints.push(`${counts[verdict]} exchanges ${verdict}`);
  if (affinity.stayed === 0) complaints.push("nothing was exchanged, so nothing is shown");
  for (const result of exchanges.faulty.slice(0, SHOWN_MAX)) explain(account, result);
  return conclude(complaints, "nothing lost, nothing wrong, nothing moved");
}

/** Watches from now on whether a busy machine holds this process up; the function that it returns says so, if it did. */
export function watchPauses(): () => void {
  const delay = monitorEventLoopDelay();
  delay.enable();
  return () => {
    const ms = delay.max / 1_000_000;
    if (ms > PAUSE_MS)
      console.log(`This machine was so busy that the run stood still for ${ms.toFixed(0)} ms: run it again.`);
  };
}

/** The last lines of a run. Returns whether there is nothing to complain of. */
export function conclude(complaints: readonly string[], praise: string): boolean {
  for (const complaint of complaints) console.log(`WRONG: ${complaint}`);
  console.log(complaints.length === 0 ? praise : "see above");
  return complaints.length === 0;
}

type Line = readonly [count: number, text: string];

function tally(names: readonly string[]): Line[] {
  return [...Map.groupBy(names.toSorted(), (name) => name)].map(([name, { length }]) => [length, name]);
}

function list(title: string, lines: readonly Line[]): void {
  console.log(title);
  for (const [count, text] of lines) console.log(`  ${String(count).padStart(7)}  ${text}`);
}

/** What workerd itself has to say is never good. */
export function noiseIn(isolates: readonly Worker[]): string[] {
  const lines = isolates.flatMap(({ output }) => output.split("\n"));
  const noise = lines.filter((line) => line !== "" && !line.startsWith("{"));
  return noise.length > 0 ? [`workerd complained ${noise.length} times, such as: ${noise.slice(0, 3).join("\n")}`] : [];
}

/** What there is to know of an exchange that did not go right. */
function explain({ backends, log }: Account, { verdict, kind, path, why, startMs, endMs, ray }: Result): void {
  console.log(`\n${verdict}: ${kind} ${path}\n  ${why} (after ${(endMs - startMs).toFixed(0)} ms)`);
  for (const { id, illnesses } of backends) {
    for (const { fault, fromMs, toMs } of illnesses) {
      if (fromMs > endMs || toMs < startMs - HISTORY_MS) continue;
      const from = (fromMs - startMs).toFixed(0);
      console.log(`  ${id}: ${fault.name} from ${from} to ${(toMs - startMs).toFixed(0)} ms`);
    }
  }
  for (const { atMs, ...line } of log.lines) {
    const isChange = line.event === "ejected" || line.event === "recovered";
    const isNear = isChange && atMs > startMs - HISTORY_MS && atMs < endMs;
    if (line.ray === ray || isNear) console.log(`  at ${(atMs - startMs).toFixed(0)} ms: ${JSON.stringify(line)}`);
  }
}
