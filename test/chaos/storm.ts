import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../support/waiting.ts";
import { backendVars, Worker } from "../support/worker.ts";
import { Affinity } from "./affinity.ts";
import { Attacker } from "./attacker.ts";
import { ChaosBackend } from "./backends.ts";
import { Client } from "./client.ts";
import { start } from "./ending.ts";
import { EventLog } from "./event-log.ts";
import { Exchanges } from "./exchanges.ts";
import type { Options } from "./options.ts";
import { leaksIn, usageOf, watchUsage } from "./resources.ts";
import { Scheduler } from "./scheduler.ts";
import { report } from "./storm-report.ts";
import { addresses, choicesOf, IDS, scriptOf } from "./world.ts";

const CLIENTS = 48;
/** One client in so many gives up soon. */
const IMPATIENT_EVERY = 6;
/** Visitors without cookies, each of whom has a first choice among the backends. */
const VISITORS = 300;
/** Times are short, so that a minute shows what otherwise takes an hour. */
const VARS = { BACKEND_DOWN_TIME: 1_000, HEALTH_CHECK_INTERVAL: 1_000, PROBE_AFTER: 500, BACKEND_TIMEOUT: 20_000 };
/** How long a check by age may take beyond its interval. */
const CHECK_MOMENT_MS = 1_000;
/** How long idle connections may stay open. */
const IDLE_MS = 30_000;

/** Breaks backends beside clients and an attacker, and reports. Resolves to whether nothing was lost, wrong or moved. */
export async function storm({ seconds, seed, isSoak, vars, worker: path }: Options): Promise<boolean> {
  const settings = { ...VARS, ...vars };
  const script = await scriptOf(path);
  const backends = await Promise.all(
    IDS.map((id) =>
      start(
        () => ChaosBackend.start(id),
        (backend) => backend.process.kill(),
      ),
    ),
  );
  const worker = await start(
    () => Worker.start(script, { ...backendVars(backends.map(({ process }) => process)), ...settings }),
    (worker) => worker.stop(),
  );
  const log = new EventLog(worker);
  console.log(`${seconds} s, seed ${seed}, ${CLIENTS} clients and an attacker, ${JSON.stringify(settings)}`);

  const before = await stateOf(worker);
  const exchanges = new Exchanges();
  const affinity = new Affinity(backends, Number(settings.BACKEND_DOWN_TIME));
  const deceptionMs = Number(settings.HEALTH_CHECK_INTERVAL) + CHECK_MOMENT_MS;
  const around = { port: worker.port, backends, exchanges, affinity, deceptionMs };
  const ips = addresses(CLIENTS, "198.51.100");
  const homes = await choicesOf(worker, ips);
  const clients = ips.map((ip, i) => {
    return new Client(`client-${i + 1}`, ip, homes[i] ?? "", i % IMPATIENT_EVERY === 0, seed, around);
  });
  const attacker = new Attacker(worker.port, IDS, seed);
  const untilMs = performance.now() + seconds * 1_000;
  const [usage] = await Promise.all([
    watchUsage(worker, untilMs),
    new Scheduler(backends, exchanges, seed).run(untilMs),
    attacker.run(untilMs),
    ...clients.map((client) => client.run(untilMs)),
  ]);

  await Promise.all(backends.map((backend) => backend.process.tell({ kind: "peace" })));
  await sleep(Number(settings.BACKEND_DOWN_TIME));
  const complaints = await aftermath(worker, log, before);
  if (isSoak) complaints.push(...leaksIn(usage));
  return report({ backends, exchanges, affinity, attacker, log }, complaints);
}

/** What must be the same after the storm as before. */
interface State {
  readonly descriptors: number;
  readonly choices: readonly string[];
}

async function stateOf(worker: Worker): Promise<State> {
  const { descriptors } = await usageOf(worker);
  return { descriptors, choices: await choicesOf(worker, addresses(VISITORS, "203.0.113")) };
}

/** What is not as it was, although all backends are well again. */
async function aftermath(worker: Worker, log: EventLog, before: State): Promise<string[]> {
  const complaints: string[] = [];
  await until("every backend is back", async () => {
    await sleep(100);
    await worker.fetch("/");
    return log.out.length === 0;
  }).catch(() => complaints.push(`still out although all is well: ${log.out.join(", ")}`));

  const { choices } = await stateOf(worker);
  const strays = choices.filter((choice, visitor) => choice !== before.choices[visitor]).length;
  console.log(`\n${strays} of ${VISITORS} visitors without a cookie are not back on their first choice`);
  if (strays > 0) complaints.push("visitors are not back on their first choice");

  // Idle connections are closed after a few seconds; what is open after that, nobody will close.
  const leaked = async () => (await usageOf(worker)).descriptors - before.descriptors;
  await until("every connection is closed", async () => !((await leaked()) > 0), IDLE_MS).catch(async () => {
    complaints.push(`${await leaked()} file descriptors leaked`);
  });
  console.log(`file descriptors: ${before.descriptors} before, ${before.descriptors + (await leaked())} after`);

  if (log.noise.length > 0) complaints.push(`workerd complained: ${log.noise.slice(0, 5).join("\n")}`);
  return complaints;
}
