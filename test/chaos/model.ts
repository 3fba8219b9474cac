import { isCheckDueByAge, isWorthSharing } from "../../src/health/due.ts";
import {
  type BackendHealth,
  type CheckResult,
  type Health,
  healthOf,
  newHealth,
  takeResult,
} from "../../src/health/health-state.ts";
import { Random } from "../support/random.ts";
import { conclude } from "./report.ts";

/** How many isolates a data centre may have. */
const COUNTS = [1, 8, 64, 512, 3_000];
const INTERVAL_MS = 30_000;
/** What is counted, and before that what lets the isolates, which begin at random, settle. */
const INTERVALS = 10;
const SETTLING = 2;
/** A busy isolate has a request a second; at random, so that two may follow each other at once. */
const BETWEEN_REQUESTS_MS = 1_000;
type Span = readonly [min: number, max: number];
/** How long a reading or a write of the cache takes: it is in the same data centre. */
const CACHE_MS: Span = [5, 15];
/** How long a check takes. What is not known yet cannot be shared, so that a host far away is checked more often. */
const NEAR_MS: Span = [20, 80];
const FAR_MS: Span = [350, 450];
/** How many checks of a near backend all isolates together may make in an interval. */
const CHECKS_MAX = 20;

/** Of the rules of src/health/monitor.ts: a reading is fresh for so long, and renewed beside a request after so long. */
const READ_IS_FRESH_MS = 100;
const READ_EVERY_MS = 2_000;
const TIMES = { healthCheckIntervalMs: INTERVAL_MS, downTimeMs: INTERVAL_MS, probeAfterMs: 1_000 };

interface Isolate {
  readonly health: Health;
  readonly known: BackendHealth;
  isChecking: boolean;
}

/** Shows how many checks of one backend that is up isolates make: by events, in a time of its own. */
export function model(seed: number): boolean {
  console.log(`Checks of one backend in an interval of ${INTERVAL_MS / 1_000} s, of ${INTERVALS} intervals the mean.`);
  console.log("Each isolate has a request a second.\n");
  console.log("isolates     results shared  ... 400 ms away     each by itself");
  const complaints: string[] = [];
  for (const count of COUNTS) {
    const shared = simulate(count, NEAR_MS, true, seed);
    const columns = [shared, simulate(count, FAR_MS, true, seed), simulate(count, NEAR_MS, false, seed)];
    console.log(`${String(count).padStart(8)}${columns.map((checks) => checks.toFixed(1).padStart(19)).join("")}`);
    if (shared > CHECKS_MAX) complaints.push(`${count} isolates make ${shared} checks in an interval`);
  }
  return conclude(complaints, `\nat most ${CHECKS_MAX} checks in the column "results shared"`);
}

/** How many checks so many isolates make in an interval. */
function simulate(count: number, checkMs: Span, isShared: boolean, seed: number): number {
  const random = Random.forPart(seed, `model of ${count}`);
  const endMs = (SETTLING + INTERVALS) * INTERVAL_MS;
  const agenda: (() => void)[][] = [];
  let checks = 0;
  let entry: CheckResult | undefined;
  let nowMs = 0;

  const after = (ms: number, act: () => void) => {
    const atMs = Math.ceil(nowMs + ms);
    agenda[atMs] ??= [];
    agenda[atMs].push(act);
  };
  const between = ([min, max]: Span) => random.between(min, max);
  const read = ({ health, known }: Isolate, then: () => void) => {
    health.readBeganMs = nowMs;
    after(between(CACHE_MS), () => {
      health.readEndedMs = nowMs;
      known.sharedResult = entry;
      if (entry) takeResult(known, entry, nowMs, TIMES.downTimeMs, true);
      then();
    });
  };
  const check = (isolate: Isolate) => {
    const { known } = isolate;
    isolate.isChecking = true;
    if (nowMs >= SETTLING * INTERVAL_MS) checks++;
    const tookMs = between(checkMs);
    after(tookMs, () => {
      isolate.isChecking = false;
      const result: CheckResult = { kind: "good", status: 200, tookMs, atMs: nowMs };
      takeResult(known, result, nowMs, TIMES.downTimeMs);
      if (!isShared || !isWorthSharing(result, known.sharedResult, INTERVAL_MS)) return;
      after(between(CACHE_MS), () => {
        if (!entry || entry.atMs < result.atMs) entry = result;
      });
    });
  };
  const pass = (isolate: Isolate) => {
    after(-BETWEEN_REQUESTS_MS * Math.log(1 - random.next()), () => pass(isolate));
    const { readBeganMs, readEndedMs, jitter } = isolate.health;
    const isDue = () => !isolate.isChecking && isCheckDueByAge(isolate.known, nowMs, TIMES, jitter);
    const isFresh = !isShared || (readEndedMs >= readBeganMs && nowMs - readEndedMs <= READ_IS_FRESH_MS);
    if (isDue() && isFresh) check(isolate);
    else if (isDue() && nowMs - readBeganMs > READ_IS_FRESH_MS) read(isolate, () => isDue() && check(isolate));
    else if (isShared && nowMs - readBeganMs > READ_EVERY_MS) read(isolate, () => {});
  };

  for (let i = 0; i < count; i++) {
    const health = newHealth(0, random.next());
    const isolate = { health, known: healthOf(health, "duck"), isChecking: false };
    after(random.between(0, INTERVAL_MS), () => pass(isolate));
  }
  for (; nowMs < endMs; nowMs++) {
    // What is due at once, within the same ms, is added behind.
    for (const act of agenda[nowMs] ?? []) act();
    delete agenda[nowMs];
  }
  return checks / INTERVALS;
}
