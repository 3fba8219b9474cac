import { beforeEach, describe, expect, it } from "vitest";
import {
  answered,
  type BackendHealth,
  beginCheck,
  type CheckTimes,
  endCheck,
  isCheckDue,
  mayCheck,
  outdone,
  sent,
  takeFinding,
} from "../../../src/health/findings.ts";
import { found, unknownBackend } from "./given.ts";

const TIMES: CheckTimes = { healthCheckIntervalMs: 30_000, downTimeMs: 10_000, probeAfterMs: 1_000 };
const NEVER_BY_AGE: CheckTimes = { ...TIMES, healthCheckIntervalMs: 0 };

let known: BackendHealth;
const take = (...args: Parameters<typeof found>) => takeFinding(known, found(...args), args[1], false);
const isDue = (nowMs: number, times = TIMES, isAsleep = false) => isCheckDue(known, nowMs, times, isAsleep);

/** When a check is due at the earliest, to the millisecond; `undefined` for not within ten minutes. */
function dueFrom(fromMs: number, times = TIMES, isAsleep = false): number | undefined {
  for (let ms = fromMs; ms < fromMs + 600_000; ms++) if (isDue(ms, times, isAsleep)) return ms;
  return undefined;
}

beforeEach(() => {
  known = unknownBackend();
});

describe("a check by age is due", () => {
  it("when nothing is known", () => {
    expect(isDue(0)).toBe(true);
  });

  it("when the last finding is as old as the interval", () => {
    take("good", 1_000);
    expect(dueFrom(1_000)).toBe(31_000);
  });

  it("when the last finding of another isolate is as old as the interval", () => {
    takeFinding(known, found("good", 1_000), 20_000, true);
    expect(dueFrom(20_000)).toBe(31_000);
  });

  it("never with an interval of 0, not even when nothing is known", () => {
    expect(dueFrom(0, NEVER_BY_AGE)).toBeUndefined();
    take("good", 1_000);
    expect(dueFrom(1_000, NEVER_BY_AGE)).toBeUndefined();
  });

  it("when a backend has been down for its down time, whatever the interval", () => {
    take("bad status", 1_000);
    expect([dueFrom(1_000), dueFrom(1_000, NEVER_BY_AGE)]).toEqual([11_000, 11_000]);
  });

  it("when the interval has passed, for a backend with a longer down time", () => {
    take("bad status", 1_000);
    expect(dueFrom(1_000, { ...TIMES, downTimeMs: 60_000 })).toBe(31_000);
  });

  it("at once for a backend that is down with a down time of 0", () => {
    take("bad status", 1_000);
    expect(dueFrom(1_000, { ...TIMES, downTimeMs: 0 })).toBe(1_000);
  });

  it("never for a backup that is asleep, whatever is known of it", () => {
    expect(dueFrom(0, TIMES, true)).toBeUndefined();
    take("bad status", 1_000);
    expect(dueFrom(1_000, TIMES, true)).toBeUndefined();
  });
});

describe("a hint", () => {
  beforeEach(() => {
    take("good", 1_000);
    known.isHinted = true;
  });

  it("makes a check due, also of a backup that is asleep, also with an interval of 0", () => {
    expect([isDue(1_000), isDue(1_000, TIMES, true), isDue(1_000, NEVER_BY_AGE, true)]).toEqual([true, true, true]);
  });

  it("is dropped by no finding, only by a check that begins after it", () => {
    take("good", 2_000);
    answered(known, "someone", 2_001);
    expect(isDue(2_001)).toBe(true);
    beginCheck(known, 2_002, 4_000);
    expect(isDue(2_002)).toBe(false);
  });

  it("that comes while a check runs calls for the next one", () => {
    beginCheck(known, 2_000, 4_000);
    known.isHinted = true;
    endCheck(known);
    take("good", 2_010);
    expect(isDue(2_010)).toBe(true);
  });
});

describe("silence", () => {
  beforeEach(() => take("good", 1_000));

  it("makes a check due once an attempt has gone unanswered for PROBE_AFTER, though its client has left", () => {
    sent(known, 5_000);
    expect(dueFrom(5_000)).toBe(6_000);
  });

  it("counts from the oldest attempt: impatient clients cannot put it off", () => {
    for (let ms = 5_000; ms < 5_900; ms += 100) sent(known, ms);
    expect(dueFrom(5_900)).toBe(6_000);
  });

  it("makes a check of a sleeping backup due too, also with an interval of 0", () => {
    sent(known, 5_000);
    expect([dueFrom(5_000, TIMES, true), dueFrom(5_000, NEVER_BY_AGE, true)]).toEqual([6_000, 6_000]);
  });

  it("is broken by an answer to anybody that was sent after it", () => {
    sent(known, 5_000);
    sent(known, 5_500);
    answered(known, "someone", 5_900);
    expect(dueFrom(5_900)).toBe(31_000);
  });

  it("is broken by a good check, also one of another isolate", () => {
    sent(known, 5_000);
    takeFinding(known, found("good", 5_500), 5_900, true);
    expect(dueFrom(5_900)).toBe(35_500);
  });

  it("begins anew with the next attempt after a sign of life", () => {
    sent(known, 5_000);
    answered(known, "someone", 5_500);
    sent(known, 7_000);
    expect(dueFrom(7_000)).toBe(8_000);
  });

  it("makes a check due again once the one that it called for was lost, and not while that runs", () => {
    sent(known, 5_000);
    beginCheck(known, 6_000, 4_000);
    sent(known, 9_500);
    const mayBegin = (ms: number) => mayCheck(known, ms) && isDue(ms, NEVER_BY_AGE);
    expect([9_999, 10_000].map(mayBegin)).toEqual([false, true]);
  });

  it("is not asked about when the backend is known to be down", () => {
    sent(known, 5_000);
    take("no answer", 9_000, 3_000);
    expect(dueFrom(9_000)).toBe(19_000);
  });

  it("is measured by PROBE_AFTER", () => {
    sent(known, 5_000);
    expect(dueFrom(5_000, { ...TIMES, probeAfterMs: 250 })).toBe(5_250);
  });
});

describe("a check that was lost is due again", () => {
  beforeEach(() => take("good", 1_000));

  it("though a hint led to it, and that hint is spent", () => {
    known.isHinted = true;
    beginCheck(known, 2_000, 4_000);
    expect(dueFrom(2_000, NEVER_BY_AGE)).toBe(6_000);
  });

  it("though it was to bring back a backend that is out for its failures", () => {
    for (const client of "vwxyz") outdone(known, client, 2_000, 2_000, 30_000);
    beginCheck(known, 32_000, 4_000);
    expect(dueFrom(32_000, NEVER_BY_AGE)).toBe(36_000);
  });
});
