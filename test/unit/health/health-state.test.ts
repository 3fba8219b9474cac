import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type CheckResult,
  compareResults,
  eject,
  ejectionReasonOf,
  mayCheck,
  mergeEjections,
  NEVER,
  RESULT_KINDS,
  stateOf,
  takeResult,
} from "../../../src/health/health-state.ts";
import { backendAfter, DOWN_TIME_MS, found, take } from "./given.ts";

describe("a backend is up, suspect or down", () => {
  it.each([
    ["up while nothing is known", "", 0, "up"],
    ["up after a good check", "good@0", 1, "up"],
    ["up while a check is younger than a second", "check@0", 999, "up"],
    ["suspect when it has gone unanswered for a second", "check@0", 1_000, "suspect"],
    ["up when that check is lost: its lease has ended", "check@0", 4_000, "up"],
    ["suspect no more when the check has ended", "check@0 over@1500", 1_500, "up"],
    ["down rather than suspect", "bad@0 check@0", 2_000, "down"],
  ])("%s", (_, history, nowMs, state) => {
    expect(stateOf(backendAfter(history), nowMs)).toBe(state);
  });

  it.each(RESULT_KINDS.filter((kind) => kind !== "good"))(
    "down after a check with the result %s, its reason",
    (kind) => {
      const known = backendAfter();
      take(known, kind, 1_000);
      expect([stateOf(known, 1_000), ejectionReasonOf(known)]).toEqual(["down", `check: ${kind}`]);
    },
  );
});

describe("a check", () => {
  it("begins when none is under way, and 250 ms after the last one began; one that is lost blocks none", () => {
    const known = backendAfter("check@0");
    expect([250, 3_999, 4_000].map((nowMs) => mayCheck(known, nowMs))).toEqual([false, false, true]);
    backendAfter("over@100", known);
    expect([249, 250].map((nowMs) => mayCheck(known, nowMs))).toEqual([false, true]);
  });

  it("answers what was requested before it began, and no request after", () => {
    const known = backendAfter("requested check@0");
    expect(known.isCheckRequested).toBe(false);
    backendAfter("requested over@1", known);
    expect(known.isCheckRequested).toBe(true);
  });
});

describe("an ejection", () => {
  it("is told once, and so is its end; it has lasted since it became known", () => {
    const known = backendAfter();
    const told = (["good", "bad status", "no answer", "good", "good"] as const).map((kind, i) => {
      const change = takeResult(known, found(kind, i * 1_000), i * 1_000 + 500, DOWN_TIME_MS);
      return [change, known.sinceMs];
    });
    expect(told).toEqual([
      [undefined, 0],
      ["ejected", 1_500],
      [undefined, 1_500],
      ["recovered", 3_500],
      [undefined, 3_500],
    ]);
    expect(known.ejectionsMs).toEqual([1_000]);
  });

  it.each([
    ["a check", 1, 30_000, 0],
    ["a check", 2, 30_000, 30_000],
    ["a check", 4, 30_000, 90_000],
    ["a check", 12, 30_000, 300_000],
    ["a check", 2, 400_000, 400_000],
    ["a check", 3, 400_000, 400_000],
    ["a check", 5, 0, 0],
    ["consecutive failures", 1, 30_000, 30_000],
    ["consecutive failures", 3, 30_000, 90_000],
    ["consecutive failures", 20, 30_000, 300_000],
  ])("by %s that is number %i, with BACKEND_DOWN_TIME %i, has a term of %i ms", (by, n, downTimeMs, untilMs) => {
    const known = backendAfter();
    // Of either kind, six seconds apart, the last one at 0.
    for (let atMs = 6_000 * (1 - n); atMs <= 0; atMs += 6_000) {
      eject(known, atMs === 0 && by !== "a check", atMs, atMs, downTimeMs);
    }
    expect(known.ejection?.untilMs).toBe(untilMs);
  });

  it.each([
    [599_999, DOWN_TIME_MS],
    [600_000, 0],
  ])("counts for ten minutes: one that comes %i ms later has a term of %i ms", (laterMs, termMs) => {
    const known = backendAfter(`bad@0 good@1 bad@${laterMs}`);
    expect(known.ejection?.untilMs).toBe(laterMs + termMs);
  });

  it("ends with the first good check that ends after its term, which later bad ones leave as it is", () => {
    const known = backendAfter("bad@0 good@1 silent@10000 bad@39000");
    expect([ejectionReasonOf(known), known.ejection?.untilMs]).toEqual(["check: bad status", 40_000]);
    expect([39_999, 40_000].map((atMs) => take(known, "good", atMs))).toEqual([undefined, "recovered"]);
  });
});

describe("a result", () => {
  it.each([
    ["a good one is as old as its answer", found("good", 2_000, 900), found("good", 2_001, 1_000)],
    ["a bad one is as old as its question", found("no answer", 3_000, 3_000), found("good", 1)],
    ["of two bad ones the later question counts", found("no answer", 9_000, 3_000), found("bad status", 6_001)],
  ])("is older than another: %s", (_, older, newer) => {
    expect([compareResults(older, newer) < 0, compareResults(newer, older) > 0]).toEqual([true, true]);
  });

  it("of another isolate counts like the isolate's own, and is told from it", () => {
    const known = backendAfter();
    expect([take(known, "bad status", 1_000, true), known.isShared]).toEqual(["ejected", true]);
    expect([take(known, "good", 2_000), known.isShared]).toEqual(["recovered", false]);
  });

  it("that is older than what is known changes nothing, and neither does the same one", () => {
    const known = backendAfter("good@2000");
    expect(takeResult(known, found("no answer", 4_000, 3_000), 4_000, DOWN_TIME_MS)).toBeUndefined();
    expect(take(known, "good", 2_000, true)).toBeUndefined();
    expect([known.result?.kind, known.isShared, stateOf(known, 4_000)]).toEqual(["good", false, "up"]);
  });

  it("that is good shows life at its end, never in the future, and a bad one shows none", () => {
    const known = backendAfter("bad@500");
    expect(known.lastGoodMs).toBe(NEVER);
    expect(backendAfter("good@1000", known).lastGoodMs).toBe(1_000);
    takeResult(known, found("good", 6_000), 2_000, DOWN_TIME_MS, true);
    expect(known.lastGoodMs).toBe(2_000);
  });
});

/** What another isolate shares: ejections, and its last result. */
const entryWith = (ejectionsMs: readonly number[], result = found("good", 0)) => ({ result, ejectionsMs });

describe("ejections of other isolates", () => {
  it.each<[string, string, number[], CheckResult["kind"], number[]]>([
    ["of an outage found here later", "good@90000 bad@108000", [100_000], "bad status", [100_000]],
    ["but not after a good check", "bad@101000 good@105000 bad@108000", [100_000], "bad status", [101_000, 108_000]],
    ["but not after another isolate's good check", "good@90000 bad@108000", [100_000], "good", [100_000, 108_000]],
    ["but not where the entry names none", "good@90000 bad@108000", [], "bad status", [108_000]],
    ["within 5 s after one that is known", "bad@100000", [105_000], "good", [100_000]],
    ["within 5 s before it", "bad@100000", [95_000], "good", [100_000]],
    ["but not later", "bad@100000", [105_001], "good", [100_000, 105_001]],
    ["but not earlier", "bad@100000", [94_999], "good", [94_999, 100_000]],
  ])("are those that are known: %s", (_, history, theirs, kind, ejectionsMs) => {
    const known = backendAfter(history);
    mergeEjections(known, entryWith(theirs, found(kind, 101_000)), 109_000);
    expect(known.ejectionsMs).toEqual(ejectionsMs);
  });

  it("count for ten minutes, towards the term of the next one", () => {
    const known = backendAfter();
    mergeEjections(known, entryWith([0, 1_000, 50_000]), 600_000);
    expect(known.ejectionsMs).toEqual([1_000, 50_000]);
    take(known, "no answer", 600_000);
    expect(known.ejection?.untilMs).toBe(600_000 + 2 * DOWN_TIME_MS);
  });

  it.each([
    ["another isolate's good check within it", 79_999, true, "ejected"],
    ["another isolate's good check after it", 80_000, true, undefined],
    ["the isolate's own good check", 79_999, false, undefined],
  ])("keep a backend down until the term ends: %s", (_, atMs, isShared, change) => {
    const known = backendAfter();
    mergeEjections(known, entryWith([0, 50_000]), 60_000);
    expect([take(known, "good", atMs, isShared), ejectionReasonOf(known)]).toEqual([
      change,
      change && "repeated ejections",
    ]);
    if (change) expect([known.sinceMs, take(known, "good", 80_000)]).toEqual([79_999, "recovered"]);
  });

  it("speak against a backend from the moment they became known here, whenever another isolate's check was", () => {
    const known = backendAfter();
    mergeEjections(known, entryWith([0, 50_000]), 60_000);
    takeResult(known, found("good", 70_000), 71_000, DOWN_TIME_MS, true);
    expect([ejectionReasonOf(known), known.ejection?.evidenceMs]).toEqual(["repeated ejections", 71_000]);
  });

  it("come with the bad result that began them: an ejection counts once, with its own term", () => {
    const known = backendAfter();
    mergeEjections(known, entryWith([100_000]), 101_000);
    take(known, "no answer", 100_000, true);
    expect([known.ejectionsMs, known.ejection?.untilMs]).toEqual([[100_000], 100_000]);
  });
});

describe("the order of merging does not matter", () => {
  /** Few moments, so that many results are of the same one. */
  const results: fc.Arbitrary<CheckResult> = fc.record({
    kind: fc.constantFrom(...RESULT_KINDS),
    status: fc.constantFrom(null, 200, 404, 503),
    tookMs: fc.nat(4),
    atMs: fc.integer({ min: 10, max: 16 }),
  });
  const some = fc.array(results, { maxLength: 6 });
  const merged = (order: readonly CheckResult[]) => {
    const known = backendAfter();
    for (const result of order) takeResult(known, result, 100, DOWN_TIME_MS, true);
    return known.result;
  };

  it("for results, one by one or merged before by two isolates", () => {
    fc.assert(
      fc.property(some, some, (mine, theirs) => {
        const expected = merged([...mine, ...theirs]);
        expect(merged([...theirs, ...mine].reverse())).toEqual(expected);
        expect(merged([merged(mine), merged(theirs)].flatMap((result) => result ?? []))).toEqual(expected);
      }),
      { numRuns: 1_000 },
    );
  });

  it("for ejections: an outage that isolates find within 5 s of each other counts once", () => {
    const seen = fc.array(fc.record({ outage: fc.integer({ min: 1, max: 8 }), skewMs: fc.nat(5_000) }));
    fc.assert(
      fc.property(seen, (all) => {
        const known = backendAfter();
        for (const { outage, skewMs } of all) mergeEjections(known, entryWith([outage * 60_000 + skewMs]), 500_000);
        expect(known.ejectionsMs).toHaveLength(new Set(all.map(({ outage }) => outage)).size);
        expect(known.ejectionsMs).toEqual(known.ejectionsMs.toSorted((a, b) => a - b));
      }),
      { numRuns: 1_000 },
    );
  });
});
