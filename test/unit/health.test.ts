import { beforeEach, describe, expect, it } from "vitest";
import { eject, type Health, isUp, leaseProbe, reinstate, settle, stateOf } from "../../src/health.ts";

const DOWN_TIME_MS = 30_000;
const LEASE_MS = 4_000;
const GRAVE = { reason: "network error", acquittable: false };
const MINOR = { reason: "application error", acquittable: true };

let health: Health;
const ejectAt = (nowMs: number, cause = GRAVE) => eject(health, "cf", cause, nowMs, DOWN_TIME_MS);
const leaseAt = (nowMs: number) => leaseProbe(health, "cf", nowMs, LEASE_MS);
const stateAt = (nowMs: number) => stateOf(health.get("cf"), nowMs);

beforeEach(() => {
  health = new Map();
});

describe("a backend", () => {
  it("is up until something happens", () => {
    expect([isUp(health, "cf"), stateAt(0)]).toEqual([true, "up"]);
  });

  it("is down for its down time, then waits for a probe", () => {
    ejectAt(1_000);
    expect([1_000, 30_999, 31_000, 9_999_999].map(stateAt)).toEqual([
      "down",
      "down",
      "waiting for a probe",
      "waiting for a probe",
    ]);
  });

  it("gets no user traffic while it waits for a probe", () => {
    ejectAt(0);
    expect(isUp(health, "cf")).toBe(false);
  });

  it("waits for a probe at once with a down time of nothing", () => {
    eject(health, "cf", GRAVE, 5, 0);
    expect(stateAt(5)).toBe("waiting for a probe");
  });

  it("reports its ejection once", () => {
    expect([ejectAt(0), ejectAt(1)].map(Boolean)).toEqual([true, false]);
  });

  it("reports its return once", () => {
    ejectAt(0);
    expect([reinstate(health, "cf"), reinstate(health, "cf")]).toEqual([true, false]);
  });

  it("stays down longer when it fails again, but since the first time", () => {
    ejectAt(0);
    ejectAt(10_000);
    expect(health.get("cf")).toMatchObject({ sinceMs: 0, untilMs: 40_000 });
  });

  it("keeps the graver reason when a minor one follows", () => {
    ejectAt(0);
    ejectAt(1, MINOR);
    expect(health.get("cf")).toMatchObject({ ...GRAVE, untilMs: DOWN_TIME_MS });
  });

  it("takes on the graver reason when it follows a minor one", () => {
    ejectAt(0, MINOR);
    ejectAt(1);
    expect(health.get("cf")).toMatchObject(GRAVE);
  });
});

describe("the right to probe", () => {
  it("is nobody's while the backend is up or down", () => {
    expect(leaseAt(0)).toBeUndefined();
    ejectAt(0);
    expect(leaseAt(DOWN_TIME_MS - 1)).toBeUndefined();
  });

  it("is one request's at a time", () => {
    ejectAt(0);
    expect([leaseAt(30_000), leaseAt(30_000), leaseAt(33_999)].map(Boolean)).toEqual([true, false, false]);
  });

  it("is free again when its holder has vanished", () => {
    ejectAt(0);
    leaseAt(30_000);
    expect(leaseAt(34_000)).toBeDefined();
  });
});

describe("a probe", () => {
  const probe = (good: boolean, nowMs: number, ejection = leaseAt(nowMs)) =>
    ejection && settle(health, "cf", ejection, good, nowMs, DOWN_TIME_MS);

  it("brings the backend back when it is good", () => {
    ejectAt(0);
    expect(probe(true, 30_000)).toBe(true);
    expect(stateAt(30_000)).toBe("up");
  });

  it("keeps it down for another down time when it is bad", () => {
    ejectAt(0);
    expect(probe(false, 30_000)).toBe(false);
    expect([59_999, 60_000].map(stateAt)).toEqual(["down", "waiting for a probe"]);
  });

  it("gives the right to probe back when it is bad", () => {
    ejectAt(0);
    probe(false, 30_000);
    expect(leaseAt(60_000)).toBeDefined();
  });

  it("says nothing about a newer ejection", () => {
    ejectAt(0, MINOR);
    const ejection = health.get("cf");
    ejectAt(1);
    expect(probe(true, 2, ejection)).toBe(false);
    expect(isUp(health, "cf")).toBe(false);
  });

  it("says nothing about a backend that has been reset since", () => {
    ejectAt(0);
    const ejection = leaseAt(30_000);
    reinstate(health, "cf");
    expect(probe(false, 30_001, ejection)).toBe(false);
    expect(isUp(health, "cf")).toBe(true);
  });
});

it("holds plain data only", () => {
  ejectAt(0);
  expect(structuredClone(health)).toEqual(health);
});
