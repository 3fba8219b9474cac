import { beforeEach, describe, expect, it } from "vitest";
import { isCheckDueByAge } from "../../../src/health/due.ts";
import { beginCheck, type CheckResult, eject, healthOf } from "../../../src/health/health-state.ts";
import { recordFailure, recordSuccess } from "../../../src/health/traffic.ts";
import { snapshotOf } from "../../../src/status/snapshot.ts";
import { BACKUP, DEAD, IDS, type Isolate, isolateWith, NOW_MS, take } from "./sample.ts";

let isolate: Isolate;
beforeEach(() => {
  isolate = isolateWith();
});

const known = (id: string) => healthOf(isolate.health, id);
const takes = (id: string, result?: Partial<CheckResult>, isShared?: boolean) => take(isolate, id, result, isShared);
const succeeds = (id: string) => recordSuccess(known(id), "192.0.2.1", NOW_MS);
const configure = (vars: Record<string, unknown>) => {
  isolate = isolateWith(vars);
};
const snapshotAfter = (ms: number) => snapshotOf(isolate, "FRA", NOW_MS + ms);
const backendAfter = (ms: number, id: string) => snapshotAfter(ms).backends.find((backend) => backend.id === id);

describe("a backend", () => {
  it("is unknown before its first result and its first success", () => {
    expect(backendAfter(0, "cf")).toMatchObject({
      state: "unknown",
      result: undefined,
      ejectedFor: undefined,
      role: "primary",
    });
    succeeds("cf");
    expect(backendAfter(0, "cf")?.state).toBe("up");
  });

  it("is suspect once its check has had no answer for a second, since it was asked", () => {
    takes("cf");
    beginCheck(known("cf"), NOW_MS + 10_000, 4_000);
    expect(backendAfter(10_999, "cf")).toMatchObject({ state: "up", sinceMs: NOW_MS });
    expect(backendAfter(11_000, "cf")).toMatchObject({ state: "suspect", sinceMs: NOW_MS + 10_000 });
  });

  it("is down with its result, since when, and until the next check", () => {
    const result = { ...DEAD, atMs: NOW_MS + 10_000 };
    takes("koyeb", result, true);
    expect(backendAfter(22_400, "koyeb")).toMatchObject({
      state: "down",
      sinceMs: NOW_MS + 10_000,
      ejectedFor: "check: no answer",
      nextCheckMs: NOW_MS + 40_000,
      result,
      isShared: true,
    });
  });

  it("that has recovered is up since then, and keeps its last failure", () => {
    recordFailure(known("koyeb"), { reason: "unavailable", status: 503, atMs: NOW_MS });
    takes("koyeb", DEAD);
    takes("koyeb", { atMs: NOW_MS + 10_000 });
    expect(backendAfter(70_000, "koyeb")).toMatchObject({
      state: "up",
      sinceMs: NOW_MS + 10_000,
      nextCheckMs: undefined,
      result: { kind: "good", status: 200, tookMs: 5, atMs: NOW_MS + 10_000 },
      isShared: false,
      lastFailure: { reason: "unavailable", status: 503, atMs: NOW_MS },
    });
  });
});

describe("the next check of a backend that is down is the first that may bring it back", () => {
  const ejected = (count: number) => {
    for (let i = 0; i < count; i++) eject(known("koyeb"), true, NOW_MS, NOW_MS, 30_000);
  };
  it.each<[string, number, Record<string, number>, () => void]>([
    ["after the interval", 30, {}, () => takes("koyeb", DEAD)],
    ["after a shorter down time", 2, { BACKEND_DOWN_TIME: 2_000 }, () => takes("koyeb", DEAD)],
    ["after the down time", 60, { BACKEND_DOWN_TIME: 60_000, HEALTH_CHECK_INTERVAL: 0 }, () => takes("koyeb", DEAD)],
    ["after an outlier ejection's term", 30, {}, () => ejected(1)],
    ["after a longer term, whatever is checked before", 60, {}, () => [ejected(2), takes("koyeb")]],
    ["by age again after its term", 70, {}, () => [ejected(1), takes("koyeb", { ...DEAD, atMs: NOW_MS + 40_000 })]],
  ])("%s (%d s)", (_, seconds, vars, happen) => {
    configure(vars);
    happen();
    expect(backendAfter(0, "koyeb")).toMatchObject({ state: "down", nextCheckMs: NOW_MS + seconds * 1_000 });
    expect(isCheckDueByAge(known("koyeb"), NOW_MS + seconds * 1_000, isolate.config, 0)).toBe(true);
  });
});

it("a backup is on standby while another backend is up, and no check of it is due", () => {
  configure(BACKUP);
  takes("duck", DEAD);
  expect(backendAfter(0, "duck")).toMatchObject({ state: "down", role: "standby", nextCheckMs: undefined });
  for (const id of ["cf", "koyeb"]) takes(id, DEAD);
  const nextCheckMs = NOW_MS + 30_000;
  expect(backendAfter(0, "duck")).toMatchObject({ state: "down", role: "backup", nextCheckMs });
});

it.each<[string, number, () => void]>([
  ["a backend that is up", 3, () => {}],
  ["no backup on standby", 2, () => configure(BACKUP)],
  ["a suspect", 1, () => [takes("cf", DEAD), takes("duck", DEAD), beginCheck(known("koyeb"), NOW_MS - 2_000, 4_000)]],
  ["none that is down", 0, () => IDS.map((id) => takes(id, { kind: "bad status", status: 500 }))],
  [
    "what is well in its term",
    1,
    () => [
      IDS.map((id) => takes(id, DEAD)),
      eject(known("cf"), false, NOW_MS, NOW_MS, 30_000),
      takes("cf", { atMs: NOW_MS + 1 }),
    ],
  ],
  ["what works all the same", 3, () => [IDS.map((id) => takes(id, { kind: "bad status" })), succeeds("cf")]],
])("%s would serve a new user: %d", (_, serving, happen) => {
  happen();
  expect(snapshotAfter(0).backends.filter(({ isServing }) => isServing)).toHaveLength(serving);
});

it("the isolate has its own numbers, its beginning and its data centre", () => {
  const counts = { requests: 9, failovers: 3, ejections: 2, webSockets: 1 };
  Object.assign(isolate.counters, counts);
  expect(snapshotAfter(90_000).isolate).toEqual({ dataCentre: "FRA", startedMs: NOW_MS, ...counts });
});
