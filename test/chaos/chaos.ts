/**
 * Breaks one or two of three backends all the time, and checks every answer that 48 clients get meanwhile:
 * `npm run chaos -- --seconds 60 --seed 7`. Exits with 1 if anything was lost, wrong or moved without a cause.
 */
import { rmSync } from "node:fs";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { buildWorker } from "../support/build.ts";
import { until } from "../support/waiting.ts";
import { backendVars, Worker } from "../support/worker.ts";
import { ChaosBackend } from "./backends.ts";
import { Client, type Moves } from "./client.ts";
import { Exchanges } from "./exchanges.ts";
import { FAULTS, Scheduler } from "./faults.ts";

const CLIENTS = 48;
/** Visitors without cookies, each of whom has a first choice among the backends. */
const VISITORS = 300;
/** Times are short, so that a minute shows what otherwise takes an hour. */
const VARS = { BACKEND_DOWN_TIME: 1_000, PROBE_AFTER: 500, BACKEND_TIMEOUT: 20_000 };
const NOTABLE_SHOWN_MAX = 20;
/** How long idle connections may stay open. */
const IDLE_MS = 30_000;
/** What memory may grow by after the first minute. */
const GROWTH_MAX = 0.1;

const { values } = parseArgs({
  options: {
    seconds: { type: "string" },
    seed: { type: "string", default: "7" },
    soak: { type: "boolean", default: false },
  },
});
const seconds = wholeNumber("seconds", values.seconds ?? (values.soak ? "600" : "60"));
const seed = wholeNumber("seed", values.seed);
const isSoak = values.soak || seconds >= 180;

const directory = await mkdtemp(join(tmpdir(), "load-balancer-chaos-"));
let worker: Worker | undefined;
const backends: ChaosBackend[] = [];
process.on("exit", () => {
  worker?.process.kill("SIGKILL");
  for (const backend of backends) backend.process.killNow();
  rmSync(directory, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));

const exchanges = new Exchanges();
const moves: Moves = { withCause: 0, withoutCause: 0, stayed: 0 };
const complaints: string[] = [];
try {
  const script = await buildWorker(directory);
  for (const id of ["cf", "koyeb", "duck"]) backends.push(await ChaosBackend.start(id));
  worker = await Worker.start(script, { ...backendVars(backends.map(({ process }) => process)), ...VARS });
  console.log(`${seconds} s, seed ${seed}, ${CLIENTS} clients, ${JSON.stringify(VARS)}`);
  await run(worker);
} finally {
  await worker?.stop();
  await Promise.all(backends.map(({ process }) => process.kill()));
}

async function run(worker: Worker): Promise<void> {
  const { descriptors } = await usageOf(worker);
  const firstChoices = await choices(worker);
  const untilMs = performance.now() + seconds * 1_000;
  const around = { port: worker.port, backends, exchanges, downTimeMs: VARS.BACKEND_DOWN_TIME, moves };
  const clients = Array.from({ length: CLIENTS }, (_, index) => new Client(index + 1, seed, around));
  const scheduler = new Scheduler(backends, exchanges, seed);
  const [usage] = await Promise.all([
    watchUsage(worker, untilMs),
    scheduler.run(untilMs, seed),
    ...clients.map((client) => client.run(untilMs)),
  ]);

  await sleep(VARS.BACKEND_DOWN_TIME);
  await until("every backend is back", async () => {
    await worker.fetch("/");
    return outNow(worker).length === 0;
  }).catch(() => complaints.push(`still out although all is well: ${outNow(worker).join(", ")}`));
  const lastChoices = await choices(worker);
  const strays = firstChoices.filter((choice, visitor) => choice !== lastChoices[visitor]).length;
  // Idle connections are closed after a few seconds; what is open after that, nobody will close.
  const leaked = async () => (await usageOf(worker)).descriptors - descriptors;
  await until("every connection is closed", async () => !((await leaked()) > 0), IDLE_MS).catch(async () => {
    complaints.push(`${await leaked()} file descriptors leaked`);
  });
  console.log(`\nfile descriptors: ${descriptors} before, ${descriptors + (await leaked())} after`);
  report(worker, usage, strays);
}

/** Which backend answers each visitor that has no cookie. */
function choices(worker: Worker): Promise<string[]> {
  const visitors = Array.from({ length: VISITORS }, (_, visitor) => `203.0.${visitor >> 8}.${visitor & 255}`);
  return Promise.all(
    visitors.map(async (ip) => String((await worker.fetch("/", { ip })).headers["x-served-by-backend"])),
  );
}

/** The backends that the Worker has ejected and not brought back, as its log says. */
function outNow(worker: Worker): string[] {
  const out = new Set<string>();
  for (const { event, backend = "" } of worker.log) {
    if (event === "ejected") out.add(backend);
    if (event === "back") out.delete(backend);
  }
  return [...out];
}

interface Usage {
  readonly minute: number;
  readonly residentMiB: number;
  readonly descriptors: number;
}

/** What the Worker's process holds, at every full minute. */
async function watchUsage(worker: Worker, untilMs: number): Promise<Usage[]> {
  const usage: Usage[] = [];
  for (let minute = 1; performance.now() + 60_000 <= untilMs + 1_000; minute++) {
    await sleep(Math.min(60_000, untilMs - performance.now()));
    const now = { minute, ...(await usageOf(worker)) };
    usage.push(now);
    console.log(`minute ${minute}: ${now.residentMiB} MiB resident, ${now.descriptors} open file descriptors`);
  }
  return usage;
}

/** Linux tells this in /proc; elsewhere it is not known. */
async function usageOf({ process: { pid } }: Worker): Promise<{ residentMiB: number; descriptors: number }> {
  try {
    const [, kiB] = /VmRSS:\s*(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8")) ?? [];
    return { residentMiB: Math.round(Number(kiB) / 1024), descriptors: (await readdir(`/proc/${pid}/fd`)).length };
  } catch {
    return { residentMiB: Number.NaN, descriptors: Number.NaN };
  }
}

function report(worker: Worker, usage: readonly Usage[], strays: number): void {
  const { counts, total, kinds } = exchanges;
  const illnesses = backends.flatMap(({ illnesses }) => illnesses);
  console.log("faults");
  for (const { name } of FAULTS) {
    console.log(`  ${String(illnesses.filter(({ fault }) => fault === name).length).padStart(4)}  ${name}`);
  }
  console.log(`exchanges  ${total} (${[...kinds].map(([kind, count]) => `${kind} ${count}`).join(", ")})`);
  console.log(`failed     ${counts.failed}`);
  console.log(`wrong      ${counts.wrong}`);
  console.log(`cut        ${counts.cut} (headers had come when the backend died)`);
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => `${exchanges.percentileMs(share).toFixed(1)} ms`);
  console.log(`duration   p50 ${p50}, p99 ${p99}, max ${max}`);
  console.log(
    `sessions   ${moves.stayed} answers by a backend that had been well: ${moves.withoutCause} clients moved away`,
  );
  console.log(`           ${moves.withCause} clients moved because their backend had failed`);
  console.log(`           ${strays} of ${VISITORS} visitors without a cookie not back on their first choice`);

  const noise = worker.output.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
  if (counts.failed + counts.wrong > 0) complaints.push("exchanges failed or went wrong");
  if (strays > 0) complaints.push("visitors are not back on their first choice");
  if (total === 0 || moves.stayed === 0) complaints.push("nothing was exchanged, so nothing is shown");
  if (noise.length > 0) complaints.push(`workerd complained: ${noise.slice(0, 5).join("\n")}`);
  if (isSoak) complaints.push(...leaks(usage));
  for (const result of exchanges.notable.filter(({ verdict }) => verdict !== "cut").slice(0, NOTABLE_SHOWN_MAX)) {
    explain(worker, result);
  }
  for (const complaint of complaints) console.log(`FAULT: ${complaint}`);
  console.log(complaints.length === 0 ? "nothing lost" : "see above");
  process.exitCode = complaints.length === 0 ? 0 : 1;
}

function leaks(usage: readonly Usage[]): string[] {
  const [first] = usage;
  const last = usage.at(-1);
  if (!first || !last || Number.isNaN(last.residentMiB)) return ["the process's memory could not be read"];
  return last.residentMiB > first.residentMiB * (1 + GROWTH_MAX) ? ["memory grew after the first minute"] : [];
}

/** What there is to know of an exchange that did not go right. */
function explain(worker: Worker, result: (typeof exchanges.notable)[number]): void {
  const { verdict, what, why, startMs, endMs, ray } = result;
  console.log(`\n${verdict}: ${what}\n  ${why} (after ${(endMs - startMs).toFixed(0)} ms)`);
  for (const { id, illnesses } of backends) {
    for (const { fault, fromMs, toMs } of illnesses.filter(
      ({ fromMs, toMs }) => fromMs <= endMs && toMs >= startMs - 3_000,
    )) {
      console.log(`  ${id}: ${fault} from ${(fromMs - startMs).toFixed(0)} to ${(toMs - startMs).toFixed(0)} ms`);
    }
  }
  for (const line of worker.log) if (line.ray === ray) console.log(`  ${JSON.stringify(line)}`);
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`--${name} must be a whole number, found "${text}"`);
  return Number(text);
}
