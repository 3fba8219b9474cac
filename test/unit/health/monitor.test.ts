import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ejectionReasonOf, newHealth } from "../../../src/health/health-state.ts";
import { checkAll, emitChange, readWhenCold } from "../../../src/health/monitor.ts";
import { recordConsecutiveFailure } from "../../../src/health/traffic.ts";
import { backendOf, configWith } from "../sample.ts";
import { backendAfter, DOWN_TIME_MS, take } from "./given.ts";
import { alone, bad, broken, hangs, lost, onRequest, START_MS, World } from "./world.ts";

let world: World;

beforeEach(() => {
  world = new World();
});

afterEach(() => world.end());

describe("a check that is requested", () => {
  it.each([
    ["begins at once", "a?", "a0"],
    ["too early comes later, one for all that requested it", "a? a? 100 a? b? 50 a? 500", "a0 b100 a250"],
    ["is made at most four times a second", "a? 10 ".repeat(99).trim(), "a0 a260 a510 a760"],
    ["while one is under way comes after it: one at a time", "a=hangs a? 100 a? a? 2990", "a0 a3000"],
    ["without a subrequest for it is left to the next request that passes", "a?1 1000 .", "a1000"],
    ["and is lost with its invocation blocks no other for longer than its lease", "a=lost a? 5s", "a0 a4000"],
    ["is made of a backup on standby too", "c?", "c0"],
  ])("%s", async (_, script, asked) => {
    const backup = { BACKEND_C: "c.example.net backup" };
    await world.play(script, configWith({ HEALTH_CHECK_INTERVAL: 0, SHARE_HEALTH: false, ...backup }));
    expect(world.asked).toBe(asked);
  });

  it("is not made once more when a passing request has made it meanwhile", async () => {
    await world.play("a? 100 a? 149", alone);
    vi.setSystemTime(START_MS + 250);
    await world.play(". 1000", alone);
    expect(world.asked).toBe("a0 a250");
  });

  it("is waited for once, however many have requested it", () => {
    const invocation = world.invoke(alone);
    for (let i = 0; i < 5; i++) world.request("a", alone, invocation);
    expect(invocation.pending).toHaveLength(2);
  });

  it("tells its own request of each answer, and of its end", async () => {
    world.routes.a = bad;
    const told: unknown[] = [];
    world.request("a", alone).wake = () => told.push([world.known("a").lastAsk, ...world.states("a")]);
    await world.pass(250);
    const [first, second] = [0, 250].map((ms) => ({ beganMs: START_MS + ms, endedMs: START_MS + ms, isGood: false }));
    expect(told).toEqual([
      [first, "up"],
      [second, "up"],
      [second, "down"],
    ]);
  });
});

describe("the budget of an invocation", () => {
  it.each([
    ["one subrequest for a good check", undefined, 1],
    ["two for one that is asked again", bad, 2],
    ["one for one without an answer", hangs, 1],
  ])("pays %s, of three that are reserved", async (_, route, cost) => {
    if (route) world.routes.a = route;
    const { subrequests } = world.request("a", alone);
    expect([subrequests.left, await world.pass(5_000), subrequests.left]).toEqual([39, undefined, 42 - cost]);
  });

  it("pays nothing for a check that another invocation began while this one waited for a connection", async () => {
    const invocation = world.invoke(alone);
    const { subrequests } = invocation;
    subrequests.attempts = 4;
    for (let i = 0; i < 2; i++) void subrequests.withConnection(lost);
    world.request("a", alone, invocation);
    world.visit(alone);
    subrequests.attempts = 0;
    await world.pass();
    expect([world.asked, subrequests.left]).toEqual(["a0", 42]);
  });

  it.each([
    ["pays for a write, and a reading before it unless that is younger than 2 s", "a? 0 b? 0", 1, 2],
    ["that is spent reads nothing", ".0 0", 0, 0],
    ["that is spent writes nothing", "a=bad a?3 300", 1, 0],
  ])("%s", async (_, script, reads, writes) => {
    await world.play(script);
    expect([world.reads, world.writes]).toEqual([reads, writes]);
  });
});

describe("checks by age", () => {
  it("are six at most for one passing request", async () => {
    const names = ["D", "E", "F", "G", "H"].map((name) => [`BACKEND_${name}`, `${name}.example.net`]);
    const many = configWith({ SHARE_HEALTH: false, ...Object.fromEntries(names) });
    await world.play(". 0", many);
    expect(world.asks).toHaveLength(6);
    await world.play(". 0", many);
    expect(world.asks).toHaveLength(8);
  });

  it("are made beside a request, put off by the isolate's own random part, and of no backup on standby", async () => {
    world.health = newHealth(START_MS, 0.5);
    await world.play("40s", configWith({ SHARE_HEALTH: false, BACKEND_C: "c.example.net backup" }));
    expect(world.asked).toBe("a0 b0 a31500 b31500");
  });

  it.each([
    ["what other isolates have found, and leave what is young there", "a:good@-1000 b:good@-31000 . 0", "b0 c0"],
    ["and then nothing while they are under way", "a=hangs b=hangs c=hangs 2s", "a0 b0 c0"],
  ])("first read %s", async (_, script, asked) => {
    await world.play(script, configWith());
    expect([world.reads, world.asked]).toEqual([1, asked]);
  });

  it.each([
    [100, 1, 3],
    [101, 2, 0],
  ])("read nothing when that was done within 100 ms: after %i ms", async (ms, reads, asksAtOnce) => {
    await readWhenCold(world.invoke(configWith()), Date.now());
    await world.pass(ms);
    world.visit(configWith());
    expect([world.asks.length, await world.pass(), world.reads]).toEqual([asksAtOnce, undefined, reads]);
  });

  it("are left to the request whose reading is under way", async () => {
    world.match = () => new Promise((resolve) => setTimeout(resolve, 90, undefined));
    for (; world.nowMs < 100; await world.pass(10)) world.visit(configWith());
    expect([world.reads, world.asks.length]).toEqual([1, 3]);
  });
});

it.each([100, 400, 3_000])(
  "a cache that takes %i ms to answer puts no check by age off, nor hides its result",
  async (ms) => {
    world.match = () => new Promise((resolve) => setTimeout(resolve, ms, undefined));
    const config = configWith();
    const invocation = world.invoke(config);
    void readWhenCold(invocation, Date.now());
    await world.pass(100);
    world.visit(config, invocation);
    await world.pass();
    expect(world.asked).toBe("a100 b100 c100");
    await world.pass(ms + 1_000);
    expect(["a", "b", "c"].map((id) => world.shared(id))).toEqual(["good", "good", "good"]);
  },
);

describe("before its first selection a cold isolate", () => {
  const isWaiting = (config = onRequest) => readWhenCold(world.invoke(config), Date.now()) !== undefined;

  it("reads what others have found, and the log says so", async () => {
    world.share("b", "silent@-5000");
    await readWhenCold(world.invoke(), Date.now());
    expect(world.states("b")).toEqual(["down"]);
    expect(world.log).toMatchObject([{ event: "ejected", backend: "b", shared: true }]);
  });

  it("waits until 100 ms after its first request, each request for a reading of its own, and takes in what is late", async () => {
    world.share("b", "silent@-5000");
    const { entry } = world;
    world.match = () => new Promise((resolve) => setTimeout(() => resolve(new Response(entry)), 900));
    const waits: number[] = [];
    for (const _ of [1, 2]) {
      void readWhenCold(world.invoke(), Date.now())?.then(() => waits.push(world.nowMs));
      await world.pass(60);
    }
    expect([waits, world.reads, isWaiting(), world.states("b")]).toEqual([[100, 100], 2, false, ["up"]]);
    await world.pass(800);
    expect(world.states("b")).toEqual(["down"]);
  });

  it("has its reading go on when its request waits no more; it begins no other one while that hangs", async () => {
    world.match = lost;
    const invocation = world.invoke();
    void readWhenCold(invocation, Date.now());
    expect(invocation.pending).toHaveLength(1);
    await world.pass(3_000);
    world.visit(onRequest, invocation);
    await world.pass();
    expect(world.reads).toBe(1);
  });

  it("waits no more once a reading has ended, well or badly", async () => {
    world.match = broken as never;
    expect([isWaiting(), await world.pass(1), isWaiting()]).toEqual([true, undefined, false]);
  });

  it.each([
    [0, 5_000],
    [1_000, 5_000],
    [30_000, 30_000],
  ])("has read nothing for HEALTH_CHECK_INTERVAL (%i) or 5 s: for more than %i ms", async (interval, coldMs) => {
    const config = configWith({ HEALTH_CHECK_INTERVAL: interval });
    isWaiting(config);
    await world.pass(coldMs);
    expect([isWaiting(config), await world.pass(1), isWaiting(config)]).toEqual([false, undefined, true]);
  });
});

describe("an isolate", () => {
  it("reads every two seconds, beside a request", async () => {
    await world.play("9s");
    expect(world.reads).toBe(4);
  });

  it("learns that a backend was ejected and has recovered, and keeps to the term of others; its request is woken", async () => {
    const learned: unknown[] = [];
    for (const b of ["broken@0", "good@2001", "bad@-90000 good@-80000 bad@-20000 good@4000"]) {
      world.share("b", b);
      const { wake } = world.visit(onRequest, { ...world.invoke(), wake: vi.fn() });
      await world.pass(2_001);
      learned.push([...world.states("b"), ejectionReasonOf(world.known("b")), vi.mocked(wake).mock.calls.length]);
    }
    expect(learned).toEqual([
      ["down", "check: network error", 1],
      ["up", undefined, 1],
      ["down", "repeated ejections", 1],
    ]);
  });

  it("reads and writes nothing where nothing is shared", async () => {
    expect(readWhenCold(world.invoke(alone), Date.now())).toBeUndefined();
    await world.play("5s", configWith({ SHARE_HEALTH: false }));
    expect([world.reads, world.writes, world.asks.length]).toEqual([0, 0, 3]);
  });
});

describe("a result is written", () => {
  it.each([
    ["once, merged with what others have found meanwhile", "b:broken@-1000 a? 10s", 1, "good", "network error"],
    ["never by an isolate that only reads", "b:broken@-10000 5s", 0, undefined, "network error"],
    ["again when an older one of another isolate has overwritten it", "a? 1000 a:bad@-1000 6s", 2, "good", undefined],
    ["not again when that is newer", "a? 1000 a:bad@1000 6s", 1, "bad status", undefined],
    [
      "not again within a second, in which that may still be on its way",
      "b? 1900 a? 1 a:bad@1000 101 . 500",
      2,
      "bad status",
      "good",
    ],
  ])("%s", async (_, script, writes, a, b) => {
    await world.play(script);
    expect([world.writes, world.shared("a"), world.shared("b")]).toEqual([writes, a, b]);
  });

  it("when it is news, or the entry's is older than half of HEALTH_CHECK_INTERVAL; else nothing is read either", async () => {
    const counts: string[] = [];
    for (const script of ["a:good@-1000 a? 300", "20000 a? 300", "10001 a? 300", "a=bad 1000 a? 300", "1000 a? 300"]) {
      await world.play(script, configWith({ HEALTH_CHECK_INTERVAL: 60_000 }));
      counts.push(`read ${world.reads}, written ${world.writes}`);
    }
    const [none, first, second] = ["read 1, written 0", "read 2, written 1", "read 2, written 2"];
    expect(counts).toEqual([none, none, first, second, second]);
  });

  it("by one write at a time of an invocation, the last of which holds all of its results", async () => {
    const { put } = world;
    let writing = 0;
    let most = 0;
    world.put = async (text) => {
      most = Math.max(most, ++writing);
      await new Promise((resolve) => setTimeout(resolve, 100));
      writing--;
      await put(text);
    };
    const invocation = world.request("a");
    await world.pass(50);
    world.request("b", onRequest, invocation);
    await world.pass(1_000);
    expect([most, world.shared("a"), world.shared("b")]).toEqual([1, "good", "good"]);
  });

  it("again when its write was lost, and then no more; not by an isolate that has only read it", async () => {
    const { put } = world;
    world.put = async () => {};
    await world.play("a? 3s");
    world.put = put;
    await world.play("5s");
    const { writes } = world;
    await world.play("5s");
    expect([world.shared("a"), world.writes]).toEqual(["good", writes]);
    Object.assign(world, { health: newHealth(START_MS, 0), reads: 0 });
    await world.play("5s");
    world.entry = undefined;
    await world.play("5s");
    expect(world.writes).toBe(writes);
  });
});

it.each<[string, () => Promise<Response | undefined>, () => Promise<void>]>([
  ["fails", () => Promise.reject(new Error("read")), () => Promise.reject(new Error("write"))],
  ["never answers", lost, lost],
  ["is full of nonsense", async () => new Response('{"a":{"result":{"kind":"no answer"}}}'), async () => {}],
])("a cache that %s keeps no check waiting, and hides no result", async (_, match, put) => {
  Object.assign(world, { match, put, routes: { a: broken } });
  await world.play("a? . 1100", configWith());
  expect([world.states("a", "b"), world.known("b").result?.kind]).toEqual([["down", "up"], "good"]);
});

describe("the log", () => {
  it("says which backend was ejected and has recovered, with the status of its health route, once", async () => {
    await world.play("a=bad a? 500 a? 500 a=good a? 500 a? 500");
    expect(world.log).toEqual([
      { event: "ejected", reason: "check: bad status", backend: "a", status: 503, ray: "ray" },
      { event: "recovered", reason: "check: good", backend: "a", status: 200, ray: "ray" },
    ]);
  });

  it("says nothing of a check where requests have ejected a backend", () => {
    const known = world.known("a");
    take(known, "good", START_MS, true);
    for (const atMs of [0, 1, 2, 3, 10_000]) {
      const change = recordConsecutiveFailure(known, "x", atMs, atMs, DOWN_TIME_MS);
      emitChange(change, backendOf(onRequest, "a"), world.invoke());
    }
    expect(world.log).toEqual([{ event: "ejected", reason: "consecutive failures", backend: "a", ray: "ray" }]);
  });
});

describe("for the status page", () => {
  const lookMs = async (vars: Readonly<Record<string, unknown>>, waitMs: number) => {
    const config = configWith({ SHARE_HEALTH: false, BACKEND_C: "c.example.net backup", ...vars });
    let endedMs = -1;
    void checkAll(world.invoke(config), 1_000, waitMs).then(() => (endedMs = world.nowMs));
    await world.pass(waitMs + 100);
    return endedMs;
  };

  it("each backend is checked once that is not on standby and whose result is not young, and it waits for them", async () => {
    backendAfter(`good@${START_MS}`, world.known("a"));
    backendAfter(`good@${START_MS - 1_000}`, world.known("b"));
    world.routes.b = bad;
    expect(await lookMs({}, 4_000)).toBe(250);
    expect(world.asked).toBe("b0 b250");
  });

  it("a backup is checked once the last primary is found down, and it waits for so long and no longer", async () => {
    world.routes = { a: broken, c: hangs };
    expect(await lookMs({ BACKEND_B: "" }, 500)).toBe(500);
    expect(world.asked).toBe("a0 a250 c250");
  });
});
