import { describe, expect, it } from "vitest";
import { isCheckDueByAge, isCheckWanted, isWorthSharing } from "../../../src/health/due.ts";
import { backendAfter, DOWN_TIME_MS, found } from "./given.ts";

const TIMES = { healthCheckIntervalMs: 60_000, downTimeMs: DOWN_TIME_MS, probeAfterMs: 1_000 };

describe("a check is wanted, whatever its age,", () => {
  it.each([
    ["not while nothing has happened", "", 0, false],
    ["when one was requested", "requested", 0, true],
    ["when one was requested of a backend that is down", "silent@0 requested", 0, true],
    ["when one was lost with its invocation", "check@0", 4_000, true],
    ["not while that one may still end", "check@0", 3_999, false],
    ["not after one that has ended", "check@0 over@1", 4_000, false],
    ["PROBE_AFTER after an attempt was sent that waits, or whose client has left", "sent@0", 1_000, true],
    ["not before", "sent@0", 999, false],
    ["not once the attempt was answered or broke", "sent@0 ended@0", 1_000, false],
    ["not once a success followed it", "sent@0 served@500", 1_000, false],
    ["PROBE_AFTER after the good check that followed it", "sent@0 good@500", 1_500, true],
    ["not before that", "sent@0 good@500", 1_499, false],
    ["once more when twice the time has passed", "sent@0 good@3000", 6_000, true],
    ["not before twice the time", "sent@0 good@3000", 5_999, false],
    ["and after eight seconds at most", "sent@0 good@20000", 28_000, true],
    ["not of one that is down, for an attempt that waits", "silent@0 sent@0", 1_000, false],
  ])("%s", (_, history, nowMs, isWanted) => {
    expect(isCheckWanted(backendAfter(history), nowMs, TIMES, false)).toBe(isWanted);
  });

  it("of a backup on standby on request only", () => {
    const wanted = ["sent@0", "requested"].map((history) => isCheckWanted(backendAfter(history), 1_000, TIMES, true));
    expect(wanted).toEqual([false, true]);
  });
});

describe("a check is due by age", () => {
  it.each([
    ["when nothing is known", "", 0, 60_000, true],
    ["HEALTH_CHECK_INTERVAL after the last result", "good@0", 60_000, 60_000, true],
    ["not before", "good@0", 59_999, 60_000, false],
    ["never where it is 0", "", 1e9, 0, false],
    ["never where it is 0, of one that is up", "good@0", 1e9, 0, false],
    ["BACKEND_DOWN_TIME after the last result of one that is down", "silent@0", 30_000, 60_000, true],
    ["not before that", "silent@0", 29_999, 60_000, false],
    ["also where the interval is 0", "silent@0", 30_000, 0, true],
    ["once a term has ended since", "outlier@0 good@29000", 30_000, 60_000, true],
    ["not before it has", "outlier@0 good@29000", 29_999, 60_000, false],
    ["not if a check has ended since", "outlier@0 bad@30000", 30_001, 60_000, false],
    ["not if a check has begun since", "outlier@0 good@29000 check@30000", 30_001, 60_000, false],
  ])("%s", (_, history, nowMs, healthCheckIntervalMs, isDue) => {
    expect(isCheckDueByAge(backendAfter(history), nowMs, { ...TIMES, healthCheckIntervalMs }, 0)).toBe(isDue);
  });

  it.each([
    ["HEALTH_CHECK_INTERVAL", "good@0", 65_999, 66_000],
    ["BACKEND_DOWN_TIME", "silent@0", 32_999, 33_000],
  ])("up to a tenth of %s later, as the isolate's own random part says", (_, history, beforeMs, dueMs) => {
    const isDue = (nowMs: number) => isCheckDueByAge(backendAfter(history), nowMs, TIMES, 1);
    expect([isDue(beforeMs), isDue(dueMs)]).toEqual([false, true]);
  });
});

describe("a result is worth a write", () => {
  it.each([
    ["when nothing is shared", found("good", 0), undefined, true],
    ["when the entry says something else", found("good", 1), found("unexpected answer", 0), true],
    ["when the entry has another status", { ...found("bad status", 1), status: 404 }, found("bad status", 0), true],
    ["when the entry's is older than half of HEALTH_CHECK_INTERVAL", found("good", 30_001), found("good", 0), true],
    ["not when the entry says the same", found("good", 30_000), found("good", 0), false],
  ])("%s", (_, result, shared, isWorth) => {
    expect(isWorthSharing(result, shared, 60_000)).toBe(isWorth);
  });
});
