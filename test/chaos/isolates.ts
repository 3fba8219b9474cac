import { setTimeout as sleep } from "node:timers/promises";
import { BackendProcess } from "../support/backend-process.ts";
import { CacheService } from "../support/cache-service.ts";
import { Random } from "../support/random.ts";
import { backendVars } from "../support/worker.ts";
import { DataCentre, LIFE_MS } from "./data-centre.ts";
import { start } from "./ending.ts";
import type { Options } from "./options.ts";
import { addresses, IDS, noiseOf, scriptOf } from "./world.ts";

const REQUESTS_A_SECOND = 6;
const VISITORS = 120;
/** Enough for each isolate to have asked, and heard of, every backend. */
const WARM_UP_REQUESTS = 8;
/** A normal answer takes some milliseconds, more on a busy machine. One that takes longer has waited for all of its time. */
const NORMAL_MS = 100;
/** A wait of more than this is late when the outage is no news any more. */
const LATE_WAIT_MS = 1_000;
const NEWS_MS = 15_000;
/** What all users together may wait with shared findings. */
const WAITED_MAX_MS = 25_000;

interface Visitor {
  readonly ip: string;
  /** Whether it keeps its cookie; players keep none. */
  readonly keepsCookie: boolean;
  session: string | undefined;
}

interface Visit {
  /** Since the outage began. */
  readonly atMs: number;
  readonly waitedMs: number;
  readonly failure: string | undefined;
}

/** Freezes a backend for good behind isolates that come and go. Resolves to whether few waited, and none late. */
export async function isolates({ seconds, seed, share, vars, worker }: Options, count: number): Promise<boolean> {
  const random = Random.forPart(seed, "isolates");
  const script = await scriptOf(worker);
  const cache = await start(
    () => CacheService.start(),
    (cache) => cache.stop(),
  );
  const backends = await Promise.all(
    IDS.map((id) =>
      start(
        () => BackendProcess.start(id),
        (backend) => backend.kill(),
      ),
    ),
  );
  const dataCentre = await DataCentre.start(
    count,
    script,
    { ...backendVars(backends), SHARE_HEALTH: share, ...vars },
    { cacheService: cache.address },
  );
  const visitors = addresses(VISITORS, "198.51.100").map((ip, i): Visitor => {
    return { ip, keepsCookie: i % 2 === 0, session: undefined };
  });
  await dataCentre.each(async (worker) => {
    for (let i = 0; i < WARM_UP_REQUESTS; i++) await worker.fetch("/", { ip: random.pick(visitors).ip });
  });

  const frozen = random.pick(backends);
  console.log(
    `${seconds} s, seed ${seed}: ${count} isolates, each for ${LIFE_MS / 1_000} s, findings ${share ? "shared" : "not shared"}; ${frozen.id} freezes`,
  );
  frozen.freeze();
  const fromMs = performance.now();
  const untilMs = fromMs + seconds * 1_000;
  const replacing = dataCentre.keepReplacing(untilMs);
  const visits: Promise<Visit>[] = [];
  for (let dueMs = fromMs; dueMs < untilMs; dueMs += 1_000 / REQUESTS_A_SECOND) {
    await sleep(Math.max(0, dueMs - performance.now()));
    visits.push(visit(random.pick(visitors), dataCentre, random, fromMs));
  }
  const done = await Promise.all(visits);
  await replacing;
  return report(done, dataCentre, cache, share);
}

async function visit(visitor: Visitor, dataCentre: DataCentre, random: Random, fromMs: number): Promise<Visit> {
  const startMs = performance.now();
  const { ip, keepsCookie, session } = visitor;
  const headers = session === undefined ? {} : { Cookie: `aiostreams_backend=${session}` };
  let failure: string | undefined;
  try {
    const answer = await dataCentre.withAny(random, (worker) => worker.fetch("/", { ip, headers }));
    if (answer.status !== 200) failure = `${answer.status}: ${answer.text}`;
    if (keepsCookie && answer.session !== undefined) visitor.session = answer.session;
  } catch (error) {
    failure = String(error);
  }
  const tookMs = performance.now() - startMs;
  return { atMs: startMs - fromMs, waitedMs: tookMs > NORMAL_MS ? tookMs : 0, failure };
}

function report(
  visits: readonly Visit[],
  { workers, replaced }: DataCentre,
  cache: CacheService,
  share: boolean,
): boolean {
  const waitedMs = visits.reduce((sum, { waitedMs }) => sum + waitedMs, 0);
  const late = visits.filter(({ atMs, waitedMs }) => atMs > NEWS_MS && waitedMs > LATE_WAIT_MS);
  const failures = visits.flatMap(({ failure }) => failure ?? []);
  const longestMs = Math.max(...visits.map(({ waitedMs }) => waitedMs));
  const noise = workers.flatMap(noiseOf);
  console.log(`requests   ${visits.length} through ${workers.length} isolates, of which ${replaced} were replaced`);
  console.log(`cache      ${cache.readings.length} readings, ${cache.writes.length} writes`);
  console.log(`failed     ${failures.length}`);
  console.log(
    `waited     ${inSeconds(waitedMs)} in all for more than a normal answer, ${inSeconds(longestMs)} the longest`,
  );
  console.log(`           ${visits.filter(({ waitedMs }) => waitedMs > LATE_WAIT_MS).length} requests waited over 1 s`);
  console.log(`late       ${late.length} waited over 1 s later than ${inSeconds(NEWS_MS)} into the outage`);
  for (const { atMs, waitedMs } of late) console.log(`           at ${inSeconds(atMs)}: ${inSeconds(waitedMs)}`);

  const complaints = [
    ...[...new Set(failures)].map((failure) => `a request failed: ${failure}`),
    ...(noise.length > 0 ? [`workerd complained: ${noise.slice(0, 5).join("\n")}`] : []),
    // Without sharing each isolate finds out for itself: what that costs is shown for comparison.
    ...(share && waitedMs > WAITED_MAX_MS ? [`more than ${inSeconds(WAITED_MAX_MS)} waited in all`] : []),
    ...(share && late.length > 0 ? ["requests waited although the outage was long known"] : []),
  ];
  for (const complaint of complaints) console.log(`FAULT: ${complaint}`);
  console.log(complaints.length === 0 ? (share ? "within the limits" : "no limits without sharing") : "see above");
  return complaints.length === 0;
}

function inSeconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
