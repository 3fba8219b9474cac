import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Backend } from "../../../src/config.ts";
import {
  beginCheck,
  type Finding,
  type Health,
  healthOf,
  isDown,
  newHealth,
  outdone,
  takeFinding,
} from "../../../src/health/findings.ts";
import { hint } from "../../../src/health/monitor.ts";
import { Subrequests } from "../../../src/health/subrequests.ts";
import { LastResort } from "../../../src/proxy/last-resort.ts";
import { found } from "../health/given.ts";
import { bad, good, hanging, START_MS, World } from "../health/world.ts";
import { configWith, invocationOf } from "../sample.ts";

const config = configWith({ SHARE_HEALTH: false });
const [a, b, c] = config.backends as [Backend, Backend, Backend];
const HOSTS = ["a.example.net", "b.example.net", "c.example.net"];

let world: World;
let health: Health;
let lastResort: LastResort;
const down = (backend: Backend, agoMs: number, result: Finding["result"] = "bad status") =>
  takeFinding(healthOf(health, backend.id), found(result, START_MS - agoMs), START_MS - agoMs, false);
const begin = (...backends: Backend[]) => lastResort.begin(backends, Date.now());
const isLooking = () => lastResort.isLooking(Date.now());

/** For how long a request looks that looks as often as it can, in ms. */
async function lookedMs(): Promise<number> {
  const startedMs = world.nowMs;
  while (isLooking() && world.nowMs < 10_000) await world.pass(25);
  return world.nowMs - startedMs;
}

beforeEach(() => {
  world = new World();
  health = newHealth(START_MS);
  lastResort = new LastResort(invocationOf(config, { health }));
  for (const backend of config.backends) down(backend, 5_000);
  for (const host of HOSTS) world.routes.set(host, bad);
});

afterEach(() => world.end());

describe("a last resort", () => {
  it("checks all backends that are down, side by side", () => {
    begin(a, b, c);
    expect(world.checks).toEqual(HOSTS.map((host) => ({ host, atMs: 0 })));
  });

  it("checks them once, however often it is asked", async () => {
    begin(a, b);
    await world.pass(500);
    begin(a, b, c);
    expect(world.checks).toHaveLength(2);
  });

  it("checks one again that was checked a moment ago, as soon as it may: it may have come back since", async () => {
    hint(a, invocationOf(config, { health }));
    await world.pass(1);
    world.checks.length = 0;
    begin(a);
    expect([world.checks.length, isLooking()]).toEqual([0, true]);
    await world.pass(250);
    expect(world.checks.map(({ host }) => host)).toEqual(["a.example.net"]);
    expect(isLooking()).toBe(false);
  });

  it("is over when all have been found down again", async () => {
    begin(a, b, c);
    expect(isLooking()).toBe(true);
    expect(await lookedMs()).toBe(25);
  });

  it("brings back whatever turns out to be up, for everybody", async () => {
    world.routes.set("b.example.net", good);
    begin(a, b, c);
    await world.pass(1);
    expect(config.backends.map(({ id }) => isDown(healthOf(health, id)))).toEqual([true, false, true]);
  });

  it("looks for a second, not longer, while a check is silent", async () => {
    world.routes.set("b.example.net", hanging);
    begin(a, b, c);
    expect(await lookedMs()).toBe(1_000);
  });

  it("looks for as long as another's check may still answer, without one of its own", async () => {
    beginCheck(healthOf(health, "a"), START_MS - 600, 4_000);
    begin(a);
    expect(world.checks).toEqual([]);
    expect(await lookedMs()).toBe(400);
  });

  it("does not look when the only check has been silent for a second already", () => {
    beginCheck(healthOf(health, "a"), START_MS - 1_000, 4_000);
    begin(a);
    expect(isLooking()).toBe(false);
  });

  it("makes a check as soon as it may be made, when one came a moment too early", async () => {
    const known = healthOf(health, "a");
    beginCheck(known, START_MS - 100, -1);
    begin(a);
    expect(world.checks).toEqual([]);
    expect(await lookedMs()).toBeLessThanOrEqual(275);
    const [checkedMs = 0, ...more] = world.checksOf("a.example.net");
    expect(more).toEqual([]);
    expect(checkedMs).toBeGreaterThanOrEqual(150);
    expect(checkedMs).toBeLessThanOrEqual(250);
  });

  it("looks for a second, not longer, when no subrequest is left for a check", async () => {
    lastResort = new LastResort(invocationOf(config, { health, subrequests: new Subrequests(50, 3) }));
    begin(a, b, c);
    expect(await lookedMs()).toBe(1_000);
    expect(world.checks).toEqual([]);
  });

  it("does not look before it has begun, nor for nobody", () => {
    expect(isLooking()).toBe(false);
    begin();
    expect(isLooking()).toBe(false);
  });

  it("finds a backend whose check is good although it is out for its failures", () => {
    health = newHealth(START_MS);
    lastResort = new LastResort(invocationOf(config, { health }));
    down(a, 5_000);
    down(b, 5_000, "good");
    for (const client of "vwxyz") outdone(healthOf(health, "b"), client, START_MS, START_MS, 30_000);
    expect(lastResort.found([a, b])).toBe(b);
    expect(lastResort.found([a])).toBeUndefined();
  });
});
