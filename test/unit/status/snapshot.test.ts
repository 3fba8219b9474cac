import { beforeEach, describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/config.ts";
import { countFailure, newCounters } from "../../../src/counters.ts";
import {
  answered,
  beginCheck,
  FAILURES_IN_A_ROW,
  type Finding,
  healthOf,
  newHealth,
  outdone,
  takeFinding,
} from "../../../src/health/findings.ts";
import type { Invocation } from "../../../src/health/monitor.ts";
import type { BackendSnapshot } from "../../../src/status/facts.ts";
import { snapshotOf } from "../../../src/status/snapshot.ts";

const NOW_MS = 1_800_000_000_000;
const VARS = {
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_CF: "cf.example.net",
  BACKEND_DUCK: "duck.example.net",
  BACKEND_KOYEB: "koyeb.example.net",
};

let isolate: Pick<Invocation, "config" | "health" | "counters">;

function configure(vars: Record<string, unknown> = {}): void {
  isolate = { config: parseConfig({ ...VARS, ...vars }), health: newHealth(NOW_MS), counters: newCounters(NOW_MS) };
}

beforeEach(() => configure());

const known = (id: string) => healthOf(isolate.health, id);
const snapshotAfter = (ms: number) => snapshotOf(isolate, "FRA", NOW_MS + ms);

function backendAfter(ms: number, id: string): BackendSnapshot {
  const found = snapshotAfter(ms).backends.find((backend) => backend.id === id);
  if (!found) throw new Error(`no backend ${id}`);
  return found;
}

function finds(id: string, finding: Partial<Finding> = {}, isShared = false): void {
  const whole: Finding = { result: "good", status: 200, tookMs: 5, atMs: NOW_MS, ...finding };
  takeFinding(known(id), whole, whole.atMs, isShared);
}

const DEAD = { result: "no answer", status: null, tookMs: 3_000 } as const;

describe("a backend", () => {
  it("is unknown before its first finding and its first answer", () => {
    expect(backendAfter(0, "cf")).toMatchObject({
      state: "unknown",
      finding: null,
      ejectedFor: null,
      backup: null,
      weight: 1,
    });
  });

  it("is up by a good finding, since the isolate began", () => {
    finds("cf", { atMs: NOW_MS + 88_000, tookMs: 24 });
    expect(backendAfter(90_000, "cf")).toMatchObject({
      state: "up",
      sinceSeconds: 90,
      nextCheckSeconds: null,
      finding: { result: "good", status: 200, milliseconds: 24, ageSeconds: 2, isShared: false },
    });
  });

  it("is up by an answer to a request, without any check", () => {
    answered(known("cf"), "192.0.2.1", NOW_MS);
    expect(backendAfter(0, "cf").state).toBe("up");
  });

  it("is suspect once its check has had no answer for a second", () => {
    finds("cf");
    beginCheck(known("cf"), NOW_MS + 10_000, 4_000);
    expect(backendAfter(10_999, "cf")).toMatchObject({ state: "up", isBeingChecked: true });
    expect(backendAfter(11_000, "cf")).toMatchObject({ state: "suspect", isBeingChecked: true });
  });

  it("is down with what its check found, since when, and until the next check", () => {
    finds("koyeb", { ...DEAD, atMs: NOW_MS + 10_000 }, true);
    expect(backendAfter(22_400, "koyeb")).toMatchObject({
      state: "down",
      sinceSeconds: 12,
      ejectedFor: "check: no answer",
      nextCheckSeconds: 18,
      finding: { result: "no answer", status: null, milliseconds: 3_000, ageSeconds: 12, isShared: true },
    });
    expect(backendAfter(60_000, "koyeb").nextCheckSeconds).toBe(0);
  });

  it.each([
    [{ BACKEND_DOWN_TIME: 60_000 }, 30],
    [{ BACKEND_DOWN_TIME: 60_000, HEALTH_CHECK_INTERVAL: 0 }, 60],
    [{ BACKEND_DOWN_TIME: 2_000 }, 2],
    [{ BACKEND_DOWN_TIME: 0 }, 0],
  ])("with %j is checked again %d s after a bad finding", (vars, seconds) => {
    configure(vars);
    finds("koyeb", DEAD);
    expect(backendAfter(0, "koyeb").nextCheckSeconds).toBe(seconds);
  });

  it("that failed in a row is down for the down time, however good its check", () => {
    finds("koyeb");
    for (let i = 0; i < FAILURES_IN_A_ROW; i++) outdone(known("koyeb"), `192.0.2.${i}`, NOW_MS, NOW_MS, 30_000);
    finds("koyeb", { atMs: NOW_MS + 1_000 });
    expect(backendAfter(12_000, "koyeb")).toMatchObject({
      state: "down",
      sinceSeconds: 12,
      ejectedFor: "failures in a row",
      nextCheckSeconds: 18,
      finding: { result: "good" },
    });
  });

  it("that is back is up since then, and keeps its last failure", () => {
    countFailure(isolate.counters, "koyeb", "unavailable", 503, NOW_MS);
    finds("koyeb", DEAD);
    finds("koyeb", { atMs: NOW_MS + 10_000 });
    expect(backendAfter(70_000, "koyeb")).toMatchObject({
      state: "up",
      sinceSeconds: 60,
      ejectedFor: null,
      lastFailure: { reason: "unavailable", status: 503, ageSeconds: 70 },
      requests: 0,
      failures: 1,
    });
  });

  it("has its weight", () => {
    configure({ BACKEND_CF: "cf.example.net weight=3" });
    expect(snapshotAfter(0).backends.map(({ weight }) => weight)).toEqual([3, 1, 1]);
  });

  it("whose finding comes from a clock ahead has just been checked", () => {
    finds("cf", { atMs: NOW_MS + 5_000 });
    expect(backendAfter(0, "cf").finding?.ageSeconds).toBe(0);
  });
});

describe("a backup", () => {
  beforeEach(() => configure({ BACKEND_DUCK: "duck.example.net backup" }));

  it("is asleep while another backend is up, and is not missed", () => {
    finds("cf");
    finds("koyeb");
    expect(backendAfter(0, "duck")).toMatchObject({ state: "unknown", backup: "asleep", nextCheckSeconds: null });
    expect(snapshotAfter(0).answering).toBe(2);
  });

  it("that is asleep does not count as up, even if its finding is good", () => {
    finds("cf");
    finds("duck");
    finds("koyeb", DEAD);
    expect(backendAfter(0, "duck")).toMatchObject({ state: "up", backup: "asleep" });
    expect(snapshotAfter(0).answering).toBe(1);
  });

  it("is in service, and counts, while all others are down", () => {
    finds("cf", DEAD);
    finds("koyeb", DEAD);
    finds("duck");
    expect(backendAfter(0, "duck")).toMatchObject({ state: "up", backup: "in service" });
    expect(snapshotAfter(0).answering).toBe(1);
  });

  it("that is down and asleep waits for no check", () => {
    finds("duck", DEAD);
    expect(backendAfter(0, "duck")).toMatchObject({ state: "down", backup: "asleep", nextCheckSeconds: null });
  });
});

describe("the isolate", () => {
  it("has its own numbers, its age and its data centre", () => {
    Object.assign(isolate.counters, { requests: 9, failovers: 3, ejections: 2, webSockets: 1 });
    expect(snapshotAfter(90_000).isolate).toEqual({
      dataCentre: "FRA",
      ageSeconds: 90,
      sharesFindings: true,
      requests: 9,
      failovers: 3,
      ejections: 2,
      webSockets: 1,
    });
  });
});
