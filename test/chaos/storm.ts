import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { addresses, IDS, LoadBalancer } from "../support/load-balancer.ts";
import { start } from "../support/processes.ts";
import { until } from "../support/waiting.ts";
import type { Worker } from "../support/worker.ts";
import { Affinity } from "./affinity.ts";
import { keepAttacking } from "./attacker.ts";
import { Client } from "./client.ts";
import { EventLog } from "./event-log.ts";
import { Exchanges } from "./exchanges.ts";
import { ChaosBackend, startBackend } from "./faults.ts";
import { noiseIn, type Options, report, watchPauses } from "./report.ts";
import { keepBreaking } from "./scheduler.ts";

const CLIENTS = 32;
/** One client in so many gives up soon. */
const IMPATIENT_EVERY = 8;
/** Visitors without cookies, each of whom has a first choice among the backends. */
const VISITORS = 300;
/**
 * Times are short, so that a minute shows what otherwise takes an hour. A backend that is ejected n times stays out for
 * (n - 1) × `BACKEND_DOWN_TIME`, and here each has a fault every few seconds.
 */
const VARS = { BACKEND_DOWN_TIME: 50, HEALTH_CHECK_INTERVAL: 1_000, BACKEND_TIMEOUT: 20_000 };
/** How long a check by age may take beyond its interval: a random tenth of that, two asks, and a busy machine. */
const CHECK_MOMENT_MS = 1_000;
/** How long idle connections, and a term, may last after the storm. */
const CALM_MS = 30_000;
/** What memory may grow by after the first minute. */
const GROWTH_MAX = 0.1;

/** Breaks backends beside clients and an attacker, and reports. Resolves to whether nothing was lost, wrong or moved. */
export async function storm({ seconds, seed, isSoak, script }: Options): Promise<boolean> {
  const lb = await start(() => new LoadBalancer(script, VARS, { startBackend }).start());
  const { worker } = lb;
  const backends = lb.backends.map((process) => new ChaosBackend(process));
  const log = new EventLog(worker, backends);
  console.log(`${seconds} s, seed ${seed}, ${CLIENTS} clients and an attacker, ${JSON.stringify(VARS)}`);

  const { descriptors } = await usageOf(worker);
  const before = { descriptors, homes: await lb.homes(addresses(VISITORS)) };
  const exchanges = new Exchanges();
  const affinity = new Affinity(backends, log);
  const deceptionMs = VARS.HEALTH_CHECK_INTERVAL + CHECK_MOMENT_MS;
  const around = { port: worker.port, backends, exchanges, affinity, deceptionMs };
  const ips = addresses(CLIENTS);
  const homes = await lb.homes(ips);
  const clients = ips.map((ip, i) => {
    return new Client(`client-${i + 1}`, ip, homes.get(ip) ?? "", i % IMPATIENT_EVERY === 0, seed, around);
  });
  const tellPauses = watchPauses();
  const untilMs = performance.now() + seconds * 1_000;
  const [usage, attacks] = await Promise.all([
    watchUsage(worker, untilMs),
    keepAttacking(worker, IDS, seed, untilMs),
    keepBreaking(backends, exchanges, seed, untilMs),
    ...clients.map((client) => client.run(untilMs)),
  ]);

  tellPauses();
  await Promise.all(backends.map((backend) => backend.process.tell({ kind: "peace" })));
  const complaints = await aftermath(lb, log, before);
  const [first, last] = [usage[0], usage.at(-1)];
  if (isSoak && !(first && last && last.residentMiB <= first.residentMiB * (1 + GROWTH_MAX))) {
    complaints.push("memory grew after the first minute, or could not be read");
  }
  return report({ backends, exchanges, affinity, attacks, log }, complaints);
}

/** What the Worker's process holds. Linux tells it in /proc; elsewhere it is not known. */
async function usageOf({ process: { pid } }: Worker): Promise<{ residentMiB: number; descriptors: number }> {
  try {
    const [, kiB] = /VmRSS:\s*(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8")) ?? [];
    return { residentMiB: Math.round(Number(kiB) / 1024), descriptors: (await readdir(`/proc/${pid}/fd`)).length };
  } catch {
    return { residentMiB: Number.NaN, descriptors: Number.NaN };
  }
}

/** The usage at every full minute. */
async function watchUsage(worker: Worker, untilMs: number) {
  const usage: Awaited<ReturnType<typeof usageOf>>[] = [];
  for (let minute = 1; performance.now() + 60_000 <= untilMs + 1_000; minute++) {
    await sleep(Math.min(60_000, untilMs - performance.now()));
    const now = await usageOf(worker);
    usage.push(now);
    console.log(`minute ${minute}: ${now.residentMiB} MiB resident, ${now.descriptors} open file descriptors`);
  }
  return usage;
}

/** What is not as it was, although all backends are well again. */
async function aftermath(
  lb: Pick<LoadBalancer, "worker" | "homes">,
  log: EventLog,
  before: { descriptors: number; homes: ReadonlyMap<string, string> },
): Promise<string[]> {
  const complaints = log.groundless.map((line) => `ejected without a fault: ${line}`);
  const haveRecovered = async () => {
    await lb.worker.fetch("/");
    await sleep(100);
    return log.out.length === 0;
  };
  await until("every backend has recovered", haveRecovered, CALM_MS).catch(() => {
    complaints.push(`still out although all is well: ${log.out.join(", ")}`);
  });

  const homes = await lb.homes(addresses(VISITORS));
  const strays = [...homes].filter(([ip, home]) => home !== before.homes.get(ip)).length;
  if (strays > 0)
    complaints.push(`${strays} of ${VISITORS} visitors without a cookie are not back on their first choice`);

  // Idle connections are closed after a few seconds; what is open after that stays open.
  const leaked = async () => (await usageOf(lb.worker)).descriptors - before.descriptors;
  await until("every connection is closed", async () => !((await leaked()) > 0), CALM_MS).catch(async () => {
    complaints.push(`${await leaked()} file descriptors leaked`);
  });
  return [...complaints, ...noiseIn([lb.worker])];
}
