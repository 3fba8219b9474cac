import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { healthOf, isDown, newHealth, takeFinding } from "../../../src/health/findings.ts";
import { hint, readWhenCold, tend } from "../../../src/health/monitor.ts";
import { Subrequests } from "../../../src/health/subrequests.ts";
import { backendOf, configWith, invocationOf } from "../sample.ts";
import { found } from "./given.ts";
import { bad, START_MS, World } from "./world.ts";

/** Nothing is checked but on a hint. */
const config = configWith({ HEALTH_CHECK_INTERVAL: 0 });

let world: World;
let health: ReturnType<typeof newHealth>;
const invocation = (settings = config, subrequests = new Subrequests(4, 3)) =>
  invocationOf(settings, { health, subrequests });
const request = () => tend(invocation(), Date.now());
const checkA = () => hint(backendOf(config, "a"), invocation());
const hangs = () => new Promise<never>(() => {});

/** For how long the first request of a cold isolate is kept waiting, in ms; `undefined` when not at all. */
async function coldWaitMs(settings = config): Promise<number | undefined> {
  const reading = readWhenCold(invocation(settings), Date.now());
  const startedMs = world.nowMs;
  let waitedMs: number | undefined;
  reading?.then(() => {
    waitedMs = world.nowMs - startedMs;
  });
  for (let ms = 0; reading && waitedMs === undefined && ms < 1_000; ms++) await world.pass(1);
  return waitedMs;
}

beforeEach(() => {
  world = new World();
  health = newHealth(START_MS);
});

afterEach(() => world.end());

describe("a cold isolate", () => {
  it("knows what others have found before its first selection", async () => {
    world.share(config, { b: found("no answer", START_MS - 5_000) });
    expect(await coldWaitMs()).toBeLessThanOrEqual(1);
    expect(isDown(healthOf(health, "b"))).toBe(true);
    expect(world.log).toEqual([
      { event: "ejected", reason: "check: no answer", backend: "b", shared: true, ray: "ray" },
    ]);
  });

  it("waits 100 ms for a cache that hangs, and only once", async () => {
    world.read = hangs;
    expect(await coldWaitMs()).toBe(100);
    expect(await coldWaitMs()).toBeUndefined();
    expect(world.reads).toBe(1);
  });

  it("keeps nobody else waiting while its first request waits", () => {
    world.read = hangs;
    expect(readWhenCold(invocation(), Date.now())).toBeDefined();
    expect(readWhenCold(invocation(), Date.now())).toBeUndefined();
  });

  it("takes in what comes after the wait", async () => {
    world.share(config, { b: found("no answer", START_MS - 5_000) });
    const read = world.read;
    world.read = () => new Promise((resolve) => setTimeout(() => resolve(read()), 500));
    expect(await coldWaitMs()).toBe(100);
    await world.pass(500);
    expect(isDown(healthOf(health, "b"))).toBe(true);
  });

  it.each([
    [0, 5_000],
    [1_000, 5_000],
    [30_000, 30_000],
  ])(
    "is one that has read nothing for HEALTH_CHECK_INTERVAL or 5 s: with %d it is cold after %d ms",
    async (interval, coldMs) => {
      const settings = configWith({ HEALTH_CHECK_INTERVAL: interval });
      await coldWaitMs(settings);
      const readMs = health.sharedReadMs - START_MS;
      await world.pass(coldMs + readMs - world.nowMs);
      expect(readWhenCold(invocation(settings), Date.now())).toBeUndefined();
      await world.pass(1);
      expect(readWhenCold(invocation(settings), Date.now())).toBeDefined();
    },
  );

  it("reads nothing where nothing is shared", async () => {
    expect(readWhenCold(invocation(configWith({ SHARE_HEALTH: false })), Date.now())).toBeUndefined();
    expect(world.reads).toBe(0);
  });
});

describe("a warm isolate", () => {
  it("reads once in two seconds, however many requests pass", async () => {
    for (; world.nowMs < 6_000; await world.pass(50)) for (let n = 0; n < 50; n++) request();
    expect(world.reads).toBe(3);
  });

  it("reads nothing and writes nothing where nothing is shared", async () => {
    const alone = configWith({ SHARE_HEALTH: false });
    tend(invocation(alone), Date.now());
    await world.pass(5_000);
    tend(invocation(alone), Date.now());
    await world.pass(5_000);
    expect([world.reads, world.writes, world.checks.length]).toEqual([0, 0, 3]);
  });

  it("learns within one reading that a backend is down, and that it is back", async () => {
    request();
    await world.pass(2_001);
    world.share(config, { b: found("network error", Date.now()) });
    request();
    await world.pass(1);
    expect(isDown(healthOf(health, "b"))).toBe(true);
    await world.pass(2_001);
    world.share(config, { b: found("good", Date.now()) });
    request();
    await world.pass(1);
    expect(isDown(healthOf(health, "b"))).toBe(false);
    expect(world.log.map(({ event, shared }) => [event, shared])).toEqual([
      ["ejected", true],
      ["back", true],
    ]);
  });

  it("does not share what others have found", async () => {
    world.share(config, { b: found("network error", START_MS - 10_000) });
    for (let n = 0; n < 5; n++, await world.pass(2_001)) request();
    world.entry = undefined;
    for (let n = 0; n < 5; n++, await world.pass(2_001)) request();
    expect(world.writes).toBe(0);
  });
});

describe("a finding", () => {
  it("is written once, however many requests pass", async () => {
    world.routes.set("a.example.net", bad);
    checkA();
    for (; world.nowMs < 10_000; await world.pass(100)) request();
    expect(world.writes).toBe(1);
    expect(world.entry).toContain("bad status");
  });

  it("is merged with what others have found meanwhile", async () => {
    await world.pass(2_001);
    world.share(config, { b: found("network error", Date.now() - 1_000) });
    checkA();
    await world.pass(1);
    expect(Object.keys(JSON.parse(world.entry ?? "").findings)).toEqual(["a", "b"]);
  });

  it("is written after a second even if the reading before it hangs", async () => {
    world.read = hangs;
    checkA();
    await world.pass(999);
    expect(world.writes).toBe(0);
    await world.pass(1);
    expect(world.writes).toBe(1);
  });

  it("whose write was lost is written again at each reading, until it is there", async () => {
    const { write } = world;
    world.write = async () => {};
    checkA();
    for (; world.nowMs < 10_000; await world.pass(500)) request();
    expect(world.writes).toBe(1 + world.reads - 1);
    world.write = write;
    for (; world.nowMs < 20_000; await world.pass(500)) request();
    expect(JSON.parse(world.entry ?? "").findings.a.result).toBe("good");
    const { writes } = world;
    for (; world.nowMs < 28_000; await world.pass(500)) request();
    expect(world.writes).toBe(writes);
  });

  it("that an older one of another isolate has overwritten is written once more", async () => {
    checkA();
    await world.pass(1);
    world.share(config, { a: found("bad status", START_MS - 1_000) });
    for (; world.nowMs < 20_000; await world.pass(500)) request();
    expect(world.writes).toBe(2);
    expect(JSON.parse(world.entry ?? "").findings.a.result).toBe("good");
  });

  it("that a newer one of another isolate has overwritten is left so", async () => {
    checkA();
    await world.pass(1_000);
    world.share(config, { a: found("bad status", Date.now()) });
    for (; world.nowMs < 20_000; await world.pass(500)) request();
    expect(world.writes).toBe(1);
    expect(isDown(healthOf(health, "a"))).toBe(true);
  });

  it("is found all the same when the cache throws at everything", async () => {
    world.read = () => Promise.reject(new Error("internal error"));
    world.write = () => Promise.reject(new Error("internal error"));
    world.routes.set("a.example.net", bad);
    const { pending, ...rest } = invocation();
    hint(backendOf(config, "a"), { ...rest, health });
    await world.pass(1);
    await expect(Promise.all(pending)).resolves.toBeDefined();
    expect(isDown(healthOf(health, "a"))).toBe(true);
  });
});

describe("the cache", () => {
  it("is paid for: without a subrequest left nothing is read, and the next invocation reads", async () => {
    tend(invocation(config, new Subrequests(50, 3)), Date.now());
    expect(readWhenCold(invocation(config, new Subrequests(50, 3)), Date.now())).toBeDefined();
    await world.pass(200);
    expect(world.reads).toBe(0);
    request();
    await world.pass(1);
    expect(world.reads).toBe(1);
  });

  it("costs a check two subrequests: the reading before the write, and the write", async () => {
    const subrequests = new Subrequests(46, 3);
    hint(backendOf(config, "a"), invocation(config, subrequests));
    await world.pass(1);
    expect([world.reads, world.writes, subrequests.spend(1)]).toEqual([1, 1, false]);
  });

  it("takes one of the connections that attempts leave free", async () => {
    world.read = hangs;
    const subrequests = new Subrequests(4, 5);
    tend(invocation(config, subrequests), Date.now());
    hint(backendOf(config, "a"), invocation(config, subrequests));
    await world.pass(10_000);
    expect(world.checks).toEqual([]);
  });

  it("never holds more findings than there are backends", async () => {
    takeFinding(healthOf(health, "gone"), found("good", START_MS), START_MS, false);
    checkA();
    await world.pass(1);
    expect(Object.keys(JSON.parse(world.entry ?? "").findings)).toEqual(["a"]);
  });
});
