import { setTimeout as sleep } from "node:timers/promises";
import { BackendProcess } from "../support/backend-process.ts";
import { addresses, LoadBalancer } from "../support/load-balancer.ts";
import { start } from "../support/processes.ts";
import { Random } from "../support/random.ts";
import type { Worker } from "../support/worker.ts";
import { conclude, noiseIn, type Options, watchPauses } from "./report.ts";

/** How long an isolate lives. */
const LIFE_MS = 15_000;
const REQUESTS_A_SECOND = 6;
const VISITORS = 120;
/** Enough for each isolate to have asked, and heard of, every backend. */
const WARM_UP_REQUESTS = 8;
/** A normal answer takes some milliseconds, more on a busy machine. One that takes longer has waited for all of its time. */
const NORMAL_MS = 100;
/** A wait of more than this is late when the outage is no news any more. */
const LATE_WAIT_MS = 1_000;
const NEWS_MS = 15_000;
/** What all users together may wait with shared results. */
const WAITED_MAX_MS = 40_000;
/** Checks of a backend are counted for four intervals, in which one isolate alone makes four. */
const INTERVAL_MS = 6_000;
/** Isolates whose random parts of the interval lie within one such step check together: it has to be much shorter than that. */
const STEP_MS = 50;
const INTERVALS = 4;
/** How many checks of a backend all isolates together may make in an interval. */
const CHECKS_MAX = 4;

/** How often a count that is too high is made anew. */
const COUNTS_AGAIN = 2;

/** Several isolates of one data centre: how many checks they make, and how long users wait when a backend freezes. */
export async function isolates(options: Options, count: number): Promise<boolean> {
  const tellPauses = watchPauses();
  let tooMany = await countChecks(options, count);
  // On a busy machine isolates wake together, and check together: what is measured is measured anew.
  for (let again = 0; tooMany.length > 0 && again < COUNTS_AGAIN; again++) tooMany = await countChecks(options, count);
  const complaints = [...tooMany, ...(await freeze(options, count))];
  tellPauses();
  return conclude(complaints, options.share ? "within the limits" : "no limits without sharing");
}

/** Counts the checks that isolates make beside requests, of backends that are up. Returns what is wrong. */
async function countChecks({ share, script }: Options, isolates: number): Promise<string[]> {
  const vars = { HEALTH_CHECK_INTERVAL: INTERVAL_MS, SHARE_HEALTH: share };
  const lb = await start(() => new LoadBalancer(script, vars, { isolates, hasCache: true }).start());
  // All at the same time: where requests come in turn, the first isolate that is asked spares the others a check.
  const drive = async (ms: number) => {
    for (const untilMs = performance.now() + ms; performance.now() < untilMs; await sleep(STEP_MS)) {
      await Promise.all(lb.isolates.map((isolate) => isolate.fetch("/")));
    }
  };
  await drive(INTERVAL_MS);
  for (const backend of lb.backends) backend.checks = 0;
  await drive(INTERVALS * INTERVAL_MS);
  const checks = lb.backends.map(({ id, checks }) => `${id} ${checks}`).join(", ");
  console.log(`checks     ${checks}: by ${isolates} isolates in ${INTERVALS} intervals of ${INTERVAL_MS / 1_000} s`);
  await lb.stop();
  const isTooMany = lb.backends.some(({ checks }) => checks > CHECKS_MAX * INTERVALS);
  return share && isTooMany ? [`more than ${CHECKS_MAX * INTERVALS} checks of a backend`] : [];
}

/** Freezes a backend for good behind isolates that come and go. Returns what is wrong. */
async function freeze({ seconds, seed, share, script }: Options, isolates: number): Promise<string[]> {
  const random = Random.forPart(seed, "isolates");
  const options = { isolates, hasCache: true, startBackend: (id: string) => BackendProcess.start(id) };
  const lb = await start(() => new LoadBalancer(script, { SHARE_HEALTH: share }, options).start());
  const ips = addresses(VISITORS);
  for (const worker of lb.isolates) {
    for (let i = 0; i < WARM_UP_REQUESTS; i++) await worker.fetch("/", { ip: random.pick(ips) });
  }
  const frozen = random.pick(lb.backends);
  const lives = `${isolates} isolates, each for ${LIFE_MS / 1_000} s`;
  console.log(`${seconds} s, seed ${seed}: ${lives}, results ${share ? "shared" : "not shared"}; ${frozen.id} freezes`);
  frozen.freeze();

  const fromMs = performance.now();
  const untilMs = fromMs + seconds * 1_000;
  const waits: { atMs: number; waitedMs: number }[] = [];
  const failures = new Set<string>();
  const visit = async (worker: Worker) => {
    const startMs = performance.now();
    const answer = await worker
      .fetch("/", { ip: random.pick(ips) })
      .catch((error) => ({ status: 0, text: String(error) }));
    if (answer.status !== 200) failures.add(`a request failed: ${answer.status} ${answer.text}`);
    const waitedMs = performance.now() - startMs;
    if (waitedMs > NORMAL_MS) waits.push({ atMs: startMs - fromMs, waitedMs });
  };
  const living: Isolate[] = lb.isolates.map((worker) => ({ worker, visits: [] }));
  const replacing = keepReplacing(living, lb, untilMs);
  let asked = 0;
  for (let dueMs = fromMs; dueMs < untilMs; dueMs += 1_000 / REQUESTS_A_SECOND, asked++) {
    await sleep(Math.max(0, dueMs - performance.now()));
    const { worker, visits } = random.pick(living);
    visits.push(visit(worker));
  }
  const replaced = await replacing;
  await Promise.all(living.flatMap(({ visits }) => visits));

  const totalMs = waits.reduce((sum, { waitedMs }) => sum + waitedMs, 0);
  const longestMs = Math.max(0, ...waits.map(({ waitedMs }) => waitedMs));
  const long = waits.filter(({ waitedMs }) => waitedMs > LATE_WAIT_MS);
  const late = long.filter(({ atMs }) => atMs > NEWS_MS);
  console.log(`requests   ${asked} through ${isolates} isolates, of which ${replaced} were replaced`);
  const waited = `${(totalMs / 1_000).toFixed(1)} s in all, ${(longestMs / 1_000).toFixed(1)} s the longest`;
  console.log(`waited     ${waited}, for more than a normal answer; ${long.length} over 1 s`);
  console.log(`late       ${late.length} waited over 1 s later than ${NEWS_MS / 1_000} s into the outage`);
  const complaints = [...failures, ...noiseIn(lb.isolates)];
  // Without sharing each isolate finds out for itself: what that costs is shown for comparison.
  if (!share) return complaints;
  if (totalMs > WAITED_MAX_MS) complaints.push(`more than ${WAITED_MAX_MS / 1_000} s waited in all`);
  if (late.length > 0) complaints.push("requests waited although the outage was long known");
  return complaints;
}

interface Isolate {
  readonly worker: Worker;
  readonly visits: Promise<void>[];
}

/** Replaces one isolate after the other, so that each of them lives for `LIFE_MS`. Resolves to how many. */
async function keepReplacing(living: Isolate[], lb: LoadBalancer<BackendProcess>, untilMs: number): Promise<number> {
  const everyMs = LIFE_MS / living.length;
  const retired: Promise<void>[] = [];
  for (let dueMs = performance.now() + everyMs; dueMs < untilMs; dueMs += everyMs) {
    // Its successor takes a moment to start, and the two never get requests at the same time.
    const worker = await lb.isolate();
    await sleep(Math.max(0, dueMs - performance.now()));
    living.push({ worker, visits: [] });
    const oldest = living.shift() as Isolate;
    // Cloudflare, too, lets an isolate end what it has begun.
    retired.push(Promise.all(oldest.visits).then(() => oldest.worker.stop()));
  }
  await Promise.all(retired);
  return retired.length;
}
