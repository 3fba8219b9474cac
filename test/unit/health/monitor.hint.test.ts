import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { healthOf, isCheckDue, newHealth, takeFinding } from "../../../src/health/findings.ts";
import { hint, tend } from "../../../src/health/monitor.ts";
import { Subrequests } from "../../../src/health/subrequests.ts";
import { backendOf, configWith, invocationOf } from "../sample.ts";
import { found } from "./given.ts";
import { hanging, START_MS, World } from "./world.ts";

const config = configWith({ SHARE_HEALTH: false });
const backend = backendOf(config, "a");
const HOST = "a.example.net";

let world: World;
let health: ReturnType<typeof newHealth>;
const invocation = (subrequests = new Subrequests(4, 3)) => invocationOf(config, { health, subrequests });
const hintNow = (subrequests?: Subrequests) => hint(backend, invocation(subrequests));
const request = () => tend(invocation(), Date.now());
const isDue = () => isCheckDue(healthOf(health, "a"), Date.now(), config, false);

beforeEach(() => {
  world = new World();
  health = newHealth(START_MS);
  for (const { id } of config.backends) takeFinding(healthOf(health, id), found("good", START_MS), START_MS, false);
});

afterEach(() => world.end());

describe("a hint", () => {
  it("has its backend checked at once, and no other", async () => {
    hintNow();
    expect(world.checks).toEqual([{ host: HOST, atMs: 0 }]);
    await world.pass(1);
    expect(isDue()).toBe(false);
  });

  it("leaves no crowd of invocations waiting, though it comes fifty times a second", async () => {
    for (; world.nowMs < 3_000; await world.pass(20)) {
      request();
      hintNow();
    }
    expect(vi.getTimerCount()).toBeLessThan(20);
  });

  it("wakes a backup that is asleep", () => {
    const spare = configWith({ SHARE_HEALTH: false, BACKEND_C: "c.example.net backup" });
    hint(backendOf(spare, "c"), invocationOf(spare, { health }));
    expect(world.checksOf("c.example.net")).toEqual([0]);
  });

  it("has its check in waitUntil, which outlives the request", () => {
    const { pending, ...rest } = invocation();
    hint(backend, rest);
    expect(pending).toHaveLength(1);
  });

  it("that comes too early has its check later, though no other request passes", async () => {
    hintNow();
    await world.pass(100);
    hintNow();
    await world.pass(149);
    expect([world.checksOf(HOST), isDue()]).toEqual([[0], true]);
    await world.pass(250);
    expect([world.checksOf(HOST), isDue()]).toEqual([[0, 350], false]);
  });

  it("that comes too early is kept by the request that passes first, and then by no other", async () => {
    hintNow();
    await world.pass(100);
    hintNow();
    await world.pass(150);
    for (; world.nowMs < 5_000; await world.pass(50)) request();
    expect(world.checksOf(HOST)).toEqual([0, 250]);
  });

  it("that comes while a check runs leads to exactly one more, once that has ended", async () => {
    world.routes.set(HOST, hanging);
    hintNow();
    for (let ms = 0; ms < 2_500; ms += 100, await world.pass(100)) hintNow();
    expect(world.checksOf(HOST)).toEqual([0]);
    await world.pass(10_000);
    const [, second = 0, ...more] = world.checksOf(HOST);
    expect(more).toEqual([]);
    expect(second).toBeGreaterThanOrEqual(3_000);
    expect(second).toBeLessThanOrEqual(3_250);
    expect(isDue()).toBe(false);
  });

  it("leads to four checks a second at most, however many there are, and to one after the last", async () => {
    let lastMs = 0;
    for (; world.nowMs < 2_000; await world.pass(7)) {
      lastMs = world.nowMs;
      hintNow();
    }
    await world.pass(1_000);
    const begunMs = world.checksOf(HOST);
    const pausesMs = begunMs.slice(1).map((ms, n) => ms - (begunMs[n] ?? 0));
    expect(Math.min(...pausesMs)).toBeGreaterThanOrEqual(250);
    expect(Math.max(...pausesMs)).toBeLessThan(500);
    expect(begunMs.at(-1)).toBeGreaterThanOrEqual(lastMs);
    expect(isDue()).toBe(false);
  });

  it("keeps its check due when its invocation has no subrequests left, for the next request to make", async () => {
    hintNow(new Subrequests(49, 3));
    await world.pass(1_000);
    expect([world.checks.length, isDue()]).toEqual([0, true]);
    request();
    expect(world.checksOf(HOST)).toEqual([1_000]);
  });

  it("blocks nobody when the runtime has cancelled its check", async () => {
    world.routes.set(HOST, hanging);
    hintNow();
    vi.clearAllTimers();
    await world.pass(4_000);
    hintNow();
    expect(world.checksOf(HOST)).toEqual([0, 4_000]);
  });

  it("is kept by the next request when the runtime has cancelled whoever waited", async () => {
    hintNow();
    await world.pass(100);
    hintNow();
    // This also turns the clock back to where it began.
    vi.clearAllTimers();
    await world.pass(1_000);
    expect(world.checksOf(HOST)).toEqual([0]);
    request();
    expect(world.checksOf(HOST)).toEqual([0, 1_000]);
  });
});
