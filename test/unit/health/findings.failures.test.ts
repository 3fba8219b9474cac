import { beforeEach, describe, expect, it } from "vitest";
import {
  answered,
  type BackendHealth,
  beginCheck,
  downReason,
  endCheck,
  FAILURES_IN_A_ROW,
  isCheckDue,
  isDown,
  outdone,
  stateOf,
  takeFinding,
} from "../../../src/health/findings.ts";
import { found, unknownBackend } from "./given.ts";

const DOWN_TIME_MS = 30_000;
const TIMES = { healthCheckIntervalMs: 0, downTimeMs: DOWN_TIME_MS, probeAfterMs: 1_000 };

let known: BackendHealth;
const take = (...args: Parameters<typeof found>) => takeFinding(known, found(...args), args[1], false);
const isDue = (nowMs: number) => isCheckDue(known, nowMs, TIMES, false);

/** Failures of so many different clients, one a millisecond. Returns the last change. */
function failures(count: number, nowMs: number, clientOf = (n: number) => `client ${n}`) {
  let change: ReturnType<typeof outdone>;
  for (let n = 0; n < count; n++) change = outdone(known, clientOf(n), nowMs + n, nowMs + n, DOWN_TIME_MS);
  return change;
}
const oneClient = () => "one client";

beforeEach(() => {
  known = unknownBackend();
  take("good", 1_000);
});

describe("failures in a row", () => {
  it("are five", () => {
    expect(FAILURES_IN_A_ROW).toBe(5);
  });

  it("take a backend out although its check is good", () => {
    expect(failures(5, 2_000)).toBe("ejected");
    expect([stateOf(known, 2_004), downReason(known)]).toEqual(["down", "failures in a row"]);
    expect(known.sinceMs).toBe(2_004);
  });

  it("do not when they are four", () => {
    expect(failures(4, 2_000)).toBeUndefined();
    expect(isDown(known)).toBe(false);
  });

  it("are no row with an answer below 500 in between, whoever got it", () => {
    failures(4, 2_000);
    answered(known, "somebody else", 2_500);
    expect(failures(4, 3_000)).toBeUndefined();
    expect(failures(1, 4_000, () => "a fifth client")).toBe("ejected");
  });

  it("stay a row whatever the checks find in between", () => {
    failures(4, 2_000);
    take("good", 2_500);
    expect(failures(1, 3_000)).toBe("ejected");
  });

  it("are told once", () => {
    failures(5, 2_000);
    expect(failures(5, 3_000)).toBeUndefined();
  });

  it("are no news of a backend that its check has found down", () => {
    take("bad status", 1_500);
    expect(failures(5, 2_000)).toBeUndefined();
    expect(downReason(known)).toBe("check: bad status");
  });
});

describe("failures of one client only", () => {
  it("take out a backend that has answered nobody", () => {
    expect(failures(5, 2_000, oneClient)).toBe("ejected");
  });

  it("take nothing from others whom it answered within the last minute", () => {
    answered(known, "somebody else", 2_000);
    expect(failures(50, 3_000, oneClient)).toBeUndefined();
    expect(outdone(known, "one client", 61_999, 61_999, DOWN_TIME_MS)).toBeUndefined();
    expect(isDown(known)).toBe(false);
  });

  it("take it out once it has answered nobody else for a minute", () => {
    answered(known, "somebody else", 2_000);
    failures(4, 3_000, oneClient);
    expect(outdone(known, "one client", 62_000, 62_000, DOWN_TIME_MS)).toBe("ejected");
  });

  it("take it out although that client itself was answered before", () => {
    for (const ms of [1_500, 2_000, 2_500]) answered(known, "one client", ms);
    expect(failures(5, 3_000, oneClient)).toBe("ejected");
  });

  it("cannot hide the answers to others behind answers of its own", () => {
    answered(known, "somebody else", 2_000);
    answered(known, "one client", 2_001);
    answered(known, "one client", 2_002);
    expect(failures(50, 3_000, oneClient)).toBeUndefined();
  });

  it("take nothing from a client that failed once itself: its connection may have been stale", () => {
    answered(known, "the only other client", 2_000);
    failures(4, 3_000, oneClient);
    expect(failures(1, 4_000, () => "the only other client")).toBeUndefined();
    expect(failures(20, 5_000, oneClient)).toBeUndefined();
    expect(failures(1, 6_000, () => "the only other client")).toBe("ejected");
  });

  it("are not made more by a few unlucky ones of others", () => {
    for (const client of ["a", "b", "c"]) answered(known, client, 2_000);
    failures(4, 3_000, oneClient);
    expect(failures(50, 4_000, (n) => (n % 2 === 0 ? "one client" : "a"))).toBeUndefined();
    expect(failures(3, 5_000)).toBe("ejected");
  });
});

describe("a failure", () => {
  it("that an answer has followed does not count, though the other backend answers only now", () => {
    answered(known, "somebody else", 2_500);
    for (let n = 0; n < 9; n++) expect(outdone(known, `client ${n}`, 2_000, 3_000, DOWN_TIME_MS)).toBeUndefined();
  });
});

describe("a backend that is out for its failures", () => {
  const outUntilMs = 2_004 + DOWN_TIME_MS;
  beforeEach(() => void failures(5, 2_000));

  it("stays out for its down time, whatever its checks find", () => {
    expect(take("good", 2_500)).toBeUndefined();
    expect(take("good", outUntilMs - 1)).toBeUndefined();
    expect(stateOf(known, outUntilMs - 1)).toBe("down");
  });

  it("is back with the first good check after that", () => {
    expect(take("good", outUntilMs)).toBe("back");
    expect([isDown(known), downReason(known)]).toEqual([false, undefined]);
  });

  it("is back with a good check of another isolate likewise", () => {
    expect(takeFinding(known, found("good", outUntilMs), outUntilMs + 5, true)).toBe("back");
  });

  it("does not come back by itself", () => {
    expect(stateOf(known, outUntilMs + 86_400_000)).toBe("down");
  });

  it("is due for a check when its down time has passed, and not before", () => {
    expect([isDue(outUntilMs - 1), isDue(outUntilMs)]).toEqual([false, true]);
  });

  it("is due for that check although one was made before", () => {
    beginCheck(known, outUntilMs - 500, 4_000);
    endCheck(known);
    take("good", outUntilMs - 490);
    expect(isDue(outUntilMs)).toBe(true);
  });

  it("stays out when that check is bad, and is back with the next good one", () => {
    expect(take("bad status", outUntilMs)).toBeUndefined();
    expect(downReason(known)).toBe("check: bad status");
    expect(take("good", outUntilMs + DOWN_TIME_MS)).toBe("back");
  });

  it("may come back at once when it answers somebody: that makes a check due", () => {
    expect(answered(known, "someone", 5_000)).toBe(true);
    expect(isDown(known)).toBe(true);
    expect(isDue(5_000)).toBe(true);
    expect(take("good", 5_010)).toBe("back");
  });

  it("needs five failures more to be taken out again", () => {
    take("good", outUntilMs);
    expect(failures(4, outUntilMs + 1)).toBeUndefined();
    expect(failures(1, outUntilMs + 9)).toBe("ejected");
  });
});

describe("an answer below 500", () => {
  it("calls for a check of a backend that is down, and of no other", () => {
    expect(answered(known, "someone", 2_000)).toBe(false);
    take("no answer", 3_000);
    expect(answered(known, "someone", 4_000)).toBe(true);
  });
});
