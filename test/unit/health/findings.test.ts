import { beforeEach, describe, expect, it } from "vitest";
import {
  answered,
  type BackendHealth,
  beginCheck,
  downReason,
  endCheck,
  healthOf,
  isCheckUnderWay,
  isDown,
  mayCheck,
  NEVER,
  newHealth,
  outdone,
  sent,
  stateOf,
  takeFinding,
} from "../../../src/health/findings.ts";
import { found, unknownBackend } from "./given.ts";

const LEASE_MS = 4_000;

let known: BackendHealth;
const take = (...args: Parameters<typeof found>) => takeFinding(known, found(...args), args[1], false);
const statesAt = (...times: number[]) => times.map((ms) => stateOf(known, ms));

beforeEach(() => {
  known = unknownBackend();
});

describe("a backend", () => {
  it("is up until something is known of it", () => {
    expect([stateOf(known, 0), isDown(known), downReason(known)]).toEqual(["up", false, undefined]);
  });

  it.each(["bad status", "network error", "no answer"] as const)("is down after a check that found: %s", (result) => {
    expect(take(result, 1_000)).toBe("ejected");
    expect([stateOf(known, 1_000), downReason(known)]).toEqual(["down", `check: ${result}`]);
  });

  it("stays down however long nobody checks it", () => {
    take("no answer", 1_000);
    expect(statesAt(1_001, 31_000, 86_400_000)).toEqual(["down", "down", "down"]);
  });

  it("is back after a good check, and there is no reason left", () => {
    take("no answer", 1_000);
    expect(take("good", 2_000)).toBe("back");
    expect([stateOf(known, 2_000), downReason(known)]).toEqual(["up", undefined]);
  });

  it("changes once, however often it is found the same", () => {
    const changes = [
      take("good", 1),
      take("bad status", 1_000),
      take("no answer", 5_000),
      take("good", 6_000),
      take("good", 7_000),
    ];
    expect(changes).toEqual([undefined, "ejected", undefined, "back", undefined]);
  });

  it("has the reason of the newest finding", () => {
    take("bad status", 1_000);
    take("no answer", 5_000);
    expect(downReason(known)).toBe("check: no answer");
  });

  it("has been what it is since the change, not since the last check", () => {
    expect(known.sinceMs).toBe(0);
    take("bad status", 1_000);
    take("bad status", 2_000);
    expect(known.sinceMs).toBe(1_000);
    take("good", 3_000);
    take("good", 4_000);
    expect(known.sinceMs).toBe(3_000);
  });

  it("is neither brought back nor taken out by requests alone", () => {
    take("no answer", 1_000);
    answered(known, "someone", 2_000);
    expect(isDown(known)).toBe(true);
    take("good", 3_000);
    sent(known, 3_001);
    expect(statesAt(3_001, 100_000)).toEqual(["up", "up"]);
  });
});

describe("a check that is under way", () => {
  beforeEach(() => beginCheck(known, 1_000, LEASE_MS));

  it("makes its backend suspect after a second without an answer", () => {
    expect(statesAt(1_000, 1_999, 2_000, 4_999)).toEqual(["up", "up", "suspect", "suspect"]);
  });

  it("makes it suspect no longer once its lease is lost", () => {
    expect(statesAt(5_000, 9_000)).toEqual(["up", "up"]);
  });

  it("makes it suspect no longer once it has ended", () => {
    endCheck(known);
    expect(stateOf(known, 2_000)).toBe("up");
  });

  it("does not make a backend suspect that is down", () => {
    endCheck(known);
    take("no answer", 1_000);
    beginCheck(known, 2_000, LEASE_MS);
    expect(statesAt(2_500, 3_500)).toEqual(["down", "down"]);
  });

  it("is the only one", () => {
    expect(isCheckUnderWay(known, 4_999)).toBe(true);
    expect([1_000, 2_000, 4_999].map((ms) => mayCheck(known, ms))).toEqual([false, false, false]);
  });

  it("blocks nobody once its lease is lost", () => {
    expect([isCheckUnderWay(known, 5_000), mayCheck(known, 5_000)]).toEqual([false, true]);
  });
});

it("checks a backend at most four times a second", () => {
  const begunMs = [];
  for (let ms = 10_000; ms < 20_000; ms++) {
    if (!mayCheck(known, ms)) continue;
    begunMs.push(ms);
    beginCheck(known, ms, LEASE_MS);
    endCheck(known);
  }
  expect(begunMs).toHaveLength(40);
  expect(begunMs.slice(0, 3)).toEqual([10_000, 10_250, 10_500]);
});

describe("findings", () => {
  it("of another isolate count like one's own, and are told apart", () => {
    expect(takeFinding(known, found("bad status", 1_000), 3_000, true)).toBe("ejected");
    expect(known).toMatchObject({ isShared: true, sinceMs: 3_000 });
    take("bad status", 4_000);
    expect(known.isShared).toBe(false);
  });

  it("are of the newest only, in whatever order they come", () => {
    take("good", 5_000);
    expect(takeFinding(known, found("bad status", 4_000), 6_000, true)).toBeUndefined();
    expect(known).toMatchObject({ finding: { result: "good" }, isShared: false });
  });

  it("speak of the moment of the answer when good, of that of the question when bad", () => {
    take("good", 5_000);
    expect(take("no answer", 7_000, 3_000)).toBeUndefined();
    expect(take("no answer", 7_000, 1_999)).toBe("ejected");
  });

  it("that are already known change nothing", () => {
    take("bad status", 1_000);
    expect(takeFinding(known, found("bad status", 1_000), 2_000, true)).toBeUndefined();
    expect(known.isShared).toBe(false);
  });

  it("that are good are a sign of life, of the moment of the answer", () => {
    takeFinding(known, found("good", 1_000), 9_000, true);
    expect(known.lastLifeMs).toBe(1_000);
    take("no answer", 20_000);
    expect(known.lastLifeMs).toBe(1_000);
  });

  it("do not turn back the last sign of life", () => {
    answered(known, "someone", 5_000);
    take("good", 4_000);
    expect(known.lastLifeMs).toBe(5_000);
  });
});

describe("what an isolate knows", () => {
  it("is plain data, which outlives the request that it was learnt by", () => {
    const health = newHealth(0);
    const cf = healthOf(health, "cf");
    sent(cf, 1);
    answered(cf, "someone", 2);
    outdone(cf, "someone", 3, 3, 30_000);
    beginCheck(cf, 4, LEASE_MS);
    takeFinding(cf, found("bad status", 5), 5, false);
    expect(structuredClone(health)).toEqual(health);
  });

  it("is one backend's, and the same each time", () => {
    const health = newHealth(7);
    takeFinding(healthOf(health, "cf"), found("bad status", 10), 10, false);
    expect(isDown(healthOf(health, "cf"))).toBe(true);
    expect(healthOf(health, "duck")).toMatchObject({ finding: undefined, sinceMs: 7, lastLifeMs: NEVER });
  });
});
