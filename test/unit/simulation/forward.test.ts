import { describe, expect, it, vi } from "vitest";
import {
  always,
  type Behaviour,
  changing,
  frozen,
  refuses,
  simulate,
  simulated,
  split,
  start,
  status,
  works,
} from "./simulation.ts";

simulated();

/** Nothing is checked but what a request asks for. */
const QUIET = { HEALTH_CHECK_INTERVAL: 0, SHARE_HEALTH: false };
const RAY = { headers: { "CF-Ray": "ray" } };

/** A behaviour that does one thing after the other, and stays with the last. Checks are good. */
function inTurn(...all: Behaviour[]): Behaviour {
  let asked = 0;
  return split((request) => (all[Math.min(asked++, all.length - 1)] ?? works())(request), works());
}

/** An answer, and whether its body was thrown away. */
function watched(code: number, headers: Record<string, string> = {}) {
  const cancel = vi.fn();
  return { gives: () => new Response(new ReadableStream({ cancel }), { status: code, headers }), cancel };
}

describe("the log", () => {
  it.each<[string, Behaviour, object]>([
    ["what it answered", split(always(status(503)), works()), { reason: "unavailable", status: 503, attempt: 1 }],
    ["that it is silent, and another backend is asked beside it", frozen, { reason: "silent", attempt: 1 }],
    ["that it was not vouched for", always(status(404)), { reason: "not vouched for", status: 404, attempt: 1 }],
    ["its number, once more included", inTurn(refuses), { reason: "network error", attempt: 2 }],
  ])("says of the attempt that failed when a request goes on to another backend: %s", async (_, a, said) => {
    const { world, isolate } = await start({ a, b: works(), c: works() }, QUIET);
    await isolate.ask("/x", { cookie: "a", ...RAY });
    const others = world.log.filter(({ event }) => event !== "ejected");
    expect(others).toEqual([{ event: "failover", backend: "a", ...said, ray: "ray" }]);
  });

  it("says nothing of a stale connection: the same backend is asked once more", async () => {
    const { world, isolate } = await start({ a: inTurn(refuses, works()), b: works() });
    expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ status: 200, backend: "a" });
    expect([world.askedOf("a"), world.log]).toEqual([2, []]);
  });

  it.each<[string, Behaviour, object]>([
    ["503", always(status(503)), { reason: "unavailable", status: 503 }],
    ["500", always(status(500)), { reason: "application error", status: 500 }],
    ["521", always(status(521)), { reason: "unreachable", status: 521 }],
    ["BACKEND_TIMEOUT has ended it", frozen, { reason: "timeout" }],
  ])("says that no attempt succeeded, with the last failure: %s", async (_, app, said) => {
    const { world, isolate } = await start({ a: split(app, works()) }, { ...QUIET, BACKEND_TIMEOUT: 2_000 });
    await isolate.ask("/x", RAY);
    expect(world.log).toEqual([{ event: "exhausted", backend: "a", ...said, attempt: 1, ray: "ray" }]);
  });

  it("says nothing of a doubtful answer that is relayed as it is", async () => {
    const world = simulate({ a: split(always(status(503)), works()), b: split(always(status(404)), frozen) }, QUIET);
    expect(await (await world.isolate()).ask("/x", { cookie: "a" })).toMatchObject({ status: 404 });
    expect([world.events("failover").length, world.events("exhausted").length]).toEqual([1, 0]);
  });
});

/** How many attempts at a backend the status page counts, and how many of them failed. */
const sumOf = ({ minutes }: { minutes: { requests: number; failures: number }[] }) =>
  minutes.reduce(
    ([requests = 0, failures = 0], minute) => [requests + minute.requests, failures + minute.failures],
    [0, 0],
  );

describe("the counts", () => {
  it.each<[string, Behaviour, number, number[], string | undefined]>([
    ["a success", works(), 0, [1, 0], undefined],
    ["a failure", split(always(status(503)), works()), 1, [1, 1], "unavailable"],
    ["each attempt, once more included", inTurn(refuses), 1, [2, 2], "network error"],
    ["an attempt that stays silent while another backend serves", frozen, 1, [1, 1], "silent"],
  ])("hold %s", async (_, behaviour, failovers, a, reason) => {
    const { isolate } = await start({ a: behaviour, b: works() }, { STATUS_PATH: "/status" });
    await isolate.ask("/x", { cookie: "a" });
    const { isolate: all, backends } = JSON.parse((await isolate.ask("/status?format=json")).text);
    expect([all.requests, all.failovers, backends[0].lastFailure?.reason]).toEqual([1, failovers, reason]);
    expect(backends.map(sumOf)).toEqual([a, [failovers, 0]]);
  });
});

it("a hedge that is still open when another attempt wins has not failed", async () => {
  const { world, isolate } = await start(
    { a: split(works(2_500), frozen), b: works(3_000) },
    { ...QUIET, STATUS_PATH: "/status" },
  );
  expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ backend: "a" });
  const { backends } = JSON.parse((await isolate.ask("/status?format=json")).text);
  expect([world.askedOf("b"), sumOf(backends[1])]).toEqual([1, [1, 0]]);
});

describe("connections", () => {
  it("have no signal on a request's first attempt, and are free as soon as another one has won", async () => {
    const world = simulate({ a: frozen, b: frozen, c: works() }, QUIET);
    await (await world.isolate()).ask("/x", { ip: world.ipOf("ab") });
    const aborted = ["a", "b", "c"].map(
      (id) => world.asked.find(({ backend }) => backend === id)?.init.signal?.aborted,
    );
    expect(aborted).toEqual([undefined, true, false]);
  });

  it("of a failure that cannot be relayed are freed at once, of a fallback once another one has won", async () => {
    const [unreachable, fallback] = [watched(521), watched(503)];
    const world = simulate({
      a: split(always(unreachable.gives), works()),
      b: split(always(fallback.gives), works()),
      c: works(2_000),
    });
    const answer = (await world.isolate()).send("/x", { ip: world.ipOf("abc") });
    await world.pass(500);
    expect([unreachable.cancel.mock.calls.length, fallback.cancel.mock.calls.length]).toEqual([1, 0]);
    expect((await world.until(answer)).backend).toBe("c");
    expect(fallback.cancel).toHaveBeenCalledTimes(1);
  });

  it("of an answer that comes too late are freed", async () => {
    const late = watched(200);
    const world = simulate({ a: split(always(late.gives, 20_000), frozen), b: works() });
    expect(await (await world.isolate()).ask("/x", { cookie: "a" })).toMatchObject({ backend: "b" });
    await world.pass(20_000);
    expect(late.cancel).toHaveBeenCalledTimes(1);
  });

  it("of an answer that comes after its attempt was given up are freed, while another one is waited for", async () => {
    const late = watched(200);
    const world = simulate(
      { a: split(always(late.gives, 3_000), works()), b: works(1_900) },
      { ...QUIET, BACKEND_TIMEOUT: 2_000 },
    );
    expect(await (await world.isolate()).ask("/x", { cookie: "a" })).toMatchObject({ backend: "b", tookMs: 3_900 });
    expect(late.cancel).toHaveBeenCalledTimes(1);
  });

  it("of an attempt that has timed out are freed", async () => {
    const world = simulate(
      { a: split(always(status(503)), works()), b: split(frozen, works()), c: works(1_500) },
      { ...QUIET, BACKEND_TIMEOUT: 2_000 },
    );
    const answer = (await world.isolate()).send("/x", { ip: world.ipOf("ab") });
    await world.pass(2_100);
    expect(world.asked.map(({ backend, init }) => [backend, init.signal?.aborted])).toEqual([
      ["a", undefined],
      ["b", true],
      ["c", false],
    ]);
    expect(await world.until(answer)).toMatchObject({ backend: "c" });
  });

  it("are free again once headers have come, however many attempts have failed", async () => {
    const fails = split(always(status(503)), works());
    const world = simulate({ a: fails, b: fails, c: fails, d: fails, e: fails, f: works() }, { MAX_RETRIES: 10 });
    const { backend, tookMs } = await (await world.isolate()).ask("/x", { ip: world.ipOf("abcde") });
    expect({ backend, isAtOnce: tookMs < 100 }).toEqual({ backend: "f", isAtOnce: true });
  });

  it("are free again for a blind attempt once one that waited has broken", async () => {
    const all = Object.fromEntries(["b", "c", "d", "e", "f"].map((id) => [id, frozen]));
    const { world, isolate } = await start(
      { a: split(always("error", 30_000), frozen), ...all },
      { ...QUIET, MAX_RETRIES: 10 },
    );
    void isolate.send("/x", { cookie: "b" });
    await world.pass(20_000);
    const asked = world.asked.length;
    void isolate.send("/x", { cookie: "a" });
    await world.pass(29_900);
    expect(world.asked.length - asked).toBe(4);
    await world.pass(3_000);
    expect(world.asked.length - asked).toBe(5);
  });

  it("are freed by one attempt alone where all four wait at backends that are down, for one that is up", async () => {
    const all = Object.fromEntries(["a", "b", "c", "d"].map((id) => [id, frozen]));
    const world = simulate({ ...all, e: works(3_000) }, { ...QUIET, MAX_RETRIES: 10 });
    const answer = (await world.isolate()).send("/x", { ip: world.ipOf("abcd") });
    for (; world.askedOf("e") === 0; await world.pass(100));
    const givenUp = world.asked.filter(({ init }) => init.signal?.aborted).map(({ backend }) => backend);
    expect(givenUp).toHaveLength(1);
    expect(await world.until(answer)).toMatchObject({ status: 200, backend: "e" });
    expect(world.invocations[0]?.maxWaiting).toBeLessThanOrEqual(6);
    // A check has said already that it is down.
    expect(givenUp.map((id) => world.checksOf(id))).toEqual([1]);
  });

  it("are taken by four attempts at most", async () => {
    const all = Object.fromEntries(["a", "b", "c", "d", "e", "f"].map((id) => [id, frozen]));
    const world = simulate(all, { ...QUIET, MAX_RETRIES: 10 });
    void (await world.isolate()).send("/x");
    for (let i = 0; i < 30; i++) {
      await world.pass(1_000);
      expect(world.asked.filter(({ init }) => !init.signal?.aborted).length).toBeLessThanOrEqual(4);
    }
    expect(world.asked.length).toBeGreaterThan(4);
  });

  it("of an attempt that was given up are freed, and its late answer counts no more", async () => {
    const late = watched(200);
    const world = simulate({ a: always(late.gives, 3_000) }, { ...QUIET, BACKEND_TIMEOUT: 2_000 });
    expect(await (await world.isolate()).ask("/x")).toMatchObject({ status: 504 });
    await world.pass(2_000);
    expect(late.cancel).toHaveBeenCalledTimes(1);
  });
});

it("an answer that was not vouched for is a fallback", async () => {
  const world = simulate({ a: always(status(404)), b: refuses }, QUIET);
  expect(await (await world.isolate()).ask("/x", { cookie: "a" })).toMatchObject({ status: 404, text: "says 404" });
});

it("a doubtful answer that is believed makes no belief last longer: only one that an ask vouched for does", async () => {
  const { world, isolate } = await start({ a: split(always(status(404)), works()), b: works() }, QUIET);
  const checks: number[] = [];
  for (const [atMs, ip] of [
    [0, "192.0.2.1"],
    [600, "192.0.2.2"],
    [900, "192.0.2.1"],
    [1_300, "192.0.2.1"],
  ] as const) {
    await world.pass(atMs - world.nowMs);
    await isolate.ask("/x", { cookie: "a", ip });
    checks.push(world.checksOf("a"));
  }
  expect(checks).toEqual([1, 2, 2, 3]);
});

it("a page of HTML is doubtful once its health route gives one too, while another backend is waited for", async () => {
  const page = (afterMs: number) => always(status(200, { "Content-Type": "text/html" }, "<h1>gone</h1>"), afterMs);
  const world = simulate({ a: split(page(600), page(5)), b: works(2_000) }, { SHARE_HEALTH: false });
  expect(await (await world.isolate()).ask("/x", { cookie: "a" })).toMatchObject({ backend: "b", text: "fine" });
});

it("a fallback is not cut by the signal of its attempt", async () => {
  const world = simulate({ a: refuses, b: always(status(404)), c: refuses }, QUIET);
  const answer = await (await world.isolate()).ask("/x", { ip: world.ipOf("ab") });
  expect(answer).toMatchObject({ status: 404, text: "says 404" });
  expect(world.asked.find(({ backend }) => backend === "b")?.init.signal?.aborted).toBe(false);
});

it("a doubtful answer is believed for a second after the ask that vouched for the last one, not after that answer", async () => {
  const { world, isolate } = await start(
    { a: split(always(status(404), 90), works()), b: works() },
    { SHARE_HEALTH: false },
  );
  await isolate.ask("/x", { cookie: "a" });
  const before = world.checksOf("a");
  await world.pass(1_050 - world.nowMs);
  await isolate.ask("/x", { cookie: "a" });
  expect([before, world.checksOf("a")]).toEqual([1, 2]);
});

describe("a wait", () => {
  it("for a check that another request makes ends within 25 ms of its result", async () => {
    const app: Behaviour = split(always(status(404), 5), works(400));
    const { world, isolate } = await start({ a: app, b: works() }, QUIET);
    const first = isolate.send("/x", { cookie: "a" });
    await world.pass(100);
    const second = isolate.send("/x", { cookie: "a" });
    const [one, other] = [await world.until(first), await world.until(second)];
    expect([one.status, one.atMs]).toEqual([404, 405]);
    expect(other.atMs).toBeLessThanOrEqual(430);
  });

  it("leaves no timer behind", async () => {
    const world = simulate({ a: works(300), b: works() }, QUIET);
    await (await world.isolate()).ask("/x", { cookie: "a" });
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the session", () => {
  it("is not bound by an answer of a cache, which shows no life", async () => {
    const cached = always(status(200, { "CF-Cache-Status": "HIT" }));
    const app: Behaviour = (asked) => (asked.path === "/film" ? frozen : cached)(asked);
    const { world, isolate } = await start({ a: split(app, works()), b: works() }, QUIET);
    void isolate.send("/film", { cookie: "a" });
    await world.pass(900);
    const { status: code, backend, cookie } = await isolate.ask("/x", { ip: world.ipOf("a") });
    expect({ code, backend, cookie }).toEqual({ code: 200, backend: "a", cookie: undefined });
    await world.pass(200);
    expect(world.checks.map(({ atMs }) => atMs)).toEqual([1_000]);
  });

  it("is not bound by an answer of last resort", async () => {
    const { world, isolate } = await start(
      { a: changing(refuses, 10_000, works()), b: refuses },
      { SHARE_HEALTH: false },
    );
    await isolate.ask("/x");
    await world.pass(20_000);
    const answer = await isolate.ask("/x", { ip: world.ipOf("b") });
    expect([answer.backend, answer.cookie]).toEqual(["a", undefined]);
  });

  it("is bound by an attempt from before last resort", async () => {
    const { world, isolate } = await start({ a: works(), b: refuses }, QUIET);
    await isolate.ask("/x", { cookie: "b" });
    await world.pass(60_000);
    // Its check is bad, so last resort begins; then a check is good, and its answer comes.
    world.set("a", split(works(4_000), refuses));
    const answer = isolate.send("/x", { ip: world.ipOf("a") });
    await world.pass(2_500);
    expect(world.events("ejected").map(({ backend }) => backend)).toEqual(["b", "a"]);
    world.set("a", works());
    await isolate.ask("/x");
    await world.pass(500);
    expect(world.events("recovered")).toHaveLength(1);
    expect(await world.until(answer)).toMatchObject({ backend: "a", cookie: "a" });
  });
});

describe("what health is told", () => {
  const failing = split(always(status(503)), works());

  it.each([
    ["a failure requests a check", failing, 1],
    // One check is two questions.
    ["an answer that was not vouched for requests no second check", always(status(404)), 2],
  ])("%s", async (_, a, count) => {
    const { world, isolate } = await start({ a, b: works() }, QUIET);
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(2_000);
    expect([world.checksOf("a"), world.checksOf("b")]).toEqual([count, 0]);
  });

  it.each([
    ["a failure ends", split(always(status(503)), always(status(500))), 0],
    ["silence, once another backend has served the request, ends", frozen, 2_005],
  ])("%s that a backend works all the same", async (_, fault, tookMs) => {
    const app = split(works(), always(status(500)));
    const { world, isolate } = await start({ a: app, b: app }, { SHARE_HEALTH: false });
    for (const cookie of ["a", "b"]) {
      expect(await isolate.ask("/x", { cookie })).toMatchObject({ backend: cookie });
      await world.pass(1_000);
    }
    expect(world.events("ejected")).toHaveLength(2);
    world.set("a", fault);
    const before = world.askedOf("a");
    for (const ms of [tookMs, 0]) {
      expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ backend: "b", tookMs: expect.closeTo(ms, -2) });
    }
    expect(world.askedOf("a") - before).toBe(1);
  });

  it("a redirect of a POST is no proof that a backend that is down works all the same", async () => {
    const redirects = always(status(302, { Location: "https://login.example.org/" }));
    const { world, isolate } = await start(
      { a: split(redirects, always(status(503))), b: refuses },
      { SHARE_HEALTH: false, STATUS_PATH: "/status" },
    );
    await isolate.ask("/x");
    await world.pass(1_000);
    expect(world.events("ejected")).toHaveLength(2);
    expect(await isolate.ask("/x", { method: "POST", body: "1", cookie: "a" })).toMatchObject({ status: 302 });
    const { backends } = JSON.parse((await isolate.ask("/status?format=json")).text);
    const works = (backend: { worksAllTheSame: boolean }) => backend.worksAllTheSame;
    expect(backends.map(works)).toEqual([false, false]);
  });

  it("a success of a backend that is down requests a check, which has it recover", async () => {
    const { world, isolate } = await start(
      { a: split(works(600), changing(refuses, 60_300, works())) },
      { ...QUIET, BACKEND_DOWN_TIME: 3_600_000 },
    );
    await isolate.ask("/x");
    world.set("a", split(refuses, refuses));
    await isolate.ask("/x");
    world.set("a", split(works(600), changing(refuses, 60_300, works())));
    await world.pass(60_000 - world.nowMs);
    expect([world.events("ejected").length, world.events("recovered").length]).toEqual([1, 0]);
    await isolate.ask("/x");
    await world.pass(1_000);
    expect(world.events("recovered")).toHaveLength(1);
  });

  it("a request's own first attempt starts before any check", async () => {
    const order: string[] = [];
    const seen: Behaviour = (asked) => {
      order.push(asked.isCheck ? "check" : "attempt");
      return works()(asked);
    };
    const world = simulate({ a: seen, b: seen }, { SHARE_HEALTH: false });
    await (await world.isolate()).ask("/x");
    expect(order).toEqual(["attempt", "check", "check"]);
  });

  it("a request begins the checks that are due by age when it passes, and none while it waits", async () => {
    const world = simulate({ a: split(works(70_000), works()), b: works() }, { SHARE_HEALTH: false });
    await (await world.isolate()).ask("/x", { cookie: "a" });
    expect(world.checksOf("b")).toBe(1);
  });

  it("a backend that answers, however badly, does not hang", async () => {
    const { world, isolate } = await start({ a: failing, b: works() }, QUIET);
    for (let i = 0; i < 4; i++) {
      await isolate.ask("/x", { cookie: "a" });
      await world.pass(3_000);
    }
    world.set("a", split(works(3_000), works()));
    expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ backend: "a" });
  });

  it("a late answer of a cache does not end that a backend hangs", async () => {
    const cached = always(status(200, { "CF-Cache-Status": "HIT" }), 3_000);
    const app: Behaviour = (asked) => (asked.path === "/film" ? frozen : cached)(asked);
    const { world, isolate } = await start({ a: split(app, works()), b: works() }, QUIET);
    for (const ip of ["192.0.2.1", "192.0.2.2"]) void isolate.send("/film", { cookie: "a", ip, method: "POST" });
    await world.pass(12_000);
    for (let i = 0; i < 2; i++) {
      expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ backend: "b" });
      await world.pass(3_000);
    }
  });

  it.each([
    ["that hangs behind good checks, ejects it: outlier ejection", split(frozen, works()), 1],
    ["whose check is silent too, is left to its check", split(frozen, changing(works(), 1_000, frozen)), 0],
  ])("a hedge that another backend serves, beside one %s", async (_, behaviour, count) => {
    const { world, isolate } = await start({ a: behaviour, b: works(), c: works() }, QUIET);
    for (let i = 0; i < 12; i++) {
      const answer = isolate.send("/x", { cookie: "a", ip: `192.0.2.${i}` });
      await world.pass(2_500);
      void answer;
    }
    const ejections = world.events("ejected").filter(({ reason }) => reason === "consecutive failures");
    expect(ejections).toHaveLength(count);
  });

  it.each([
    ["a failure counts at its moment, however long another backend takes: a success since ends the row", true, 0],
    ["consecutive failures eject a backend, however long another backend takes", false, 1],
  ])("%s", async (_, succeeds, count) => {
    const a: Behaviour = split(({ path }) => ({ afterMs: 5, gives: status(path === "/fails" ? 503 : 200) }), works());
    const { world, isolate } = await start({ a, b: split(works(20_000), works()) }, QUIET);
    for (let i = 0; i < 6; i++) {
      void isolate.send("/fails", { cookie: "a", ip: `192.0.2.${i}` });
      await world.pass(2_500);
    }
    if (succeeds) await isolate.ask("/x", { cookie: "a", ip: "198.51.100.1" });
    await world.pass(25_000);
    expect(world.events("ejected")).toHaveLength(count);
  });

  it.each([
    ["one household's IPv6 addresses count as one client", (i: number) => `2001:db8::${i}`, 0],
    ["clients of different networks are told apart", (i: number) => `2001:db8:0:${i}::1`, 1],
  ])("%s", async (_, ipOf, count) => {
    const a: Behaviour = split(({ path }) => ({ afterMs: 5, gives: status(path === "/fails" ? 500 : 200) }), works());
    const { world, isolate } = await start({ a, b: works() }, QUIET);
    await isolate.ask("/x", { cookie: "a", ip: "198.51.100.1" });
    for (let i = 1; i <= 6; i++) {
      await isolate.ask("/fails", { cookie: "a", ip: ipOf(i) });
      await world.pass(2_500);
    }
    expect(world.events("ejected")).toHaveLength(count);
  });
});
