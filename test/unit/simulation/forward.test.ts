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
  it("says which attempt failed when a request goes on to another backend", async () => {
    const world = simulate({ a: split(always(status(503)), works()), b: works(), c: works() });
    await (await world.isolate()).ask("/x", { cookie: "a", ...RAY });
    expect(world.log).toEqual([
      { event: "failover", backend: "a", reason: "unavailable", status: 503, attempt: 1, ray: "ray" },
    ]);
  });

  it("says that an attempt is silent when another backend is asked beside it", async () => {
    const world = simulate({ a: frozen, b: works(), c: works() });
    await (await world.isolate()).ask("/x", { cookie: "a", ...RAY });
    expect(world.log).toEqual([{ event: "failover", backend: "a", reason: "silent", attempt: 1, ray: "ray" }]);
  });

  it("says that an answer was not vouched for when a request goes on for that", async () => {
    const world = simulate({ a: always(status(404)), b: works() }, QUIET);
    await (await world.isolate()).ask("/x", { cookie: "a", ...RAY });
    expect(world.events("failover")).toEqual([
      { event: "failover", backend: "a", reason: "not vouched for", status: 404, attempt: 1, ray: "ray" },
    ]);
  });

  it("says that BACKEND_TIMEOUT has ended the last attempt", async () => {
    const world = simulate({ a: split(frozen, works()) }, { ...QUIET, BACKEND_TIMEOUT: 2_000 });
    await (await world.isolate()).ask("/x", RAY);
    expect(world.log).toEqual([{ event: "exhausted", backend: "a", reason: "timeout", attempt: 1, ray: "ray" }]);
  });

  it("says nothing of a stale connection: the same backend is asked once more", async () => {
    const world = simulate({ a: inTurn(refuses, works()), b: works() });
    await (await world.isolate()).ask("/x", { cookie: "a" });
    expect([world.askedOf("a"), world.log]).toEqual([2, []]);
  });

  it("numbers attempts, once more included", async () => {
    const world = simulate({ a: inTurn(refuses), b: works() });
    await (await world.isolate()).ask("/x", { cookie: "a", ...RAY });
    expect(world.log).toEqual([{ event: "failover", backend: "a", reason: "network error", attempt: 2, ray: "ray" }]);
  });

  it.each([
    [503, "unavailable"],
    [500, "application error"],
    [521, "unreachable"],
  ])("says that no attempt succeeded, with the last failure: %d", async (code, reason) => {
    const world = simulate({ a: split(always(status(code)), works()) });
    await (await world.isolate()).ask("/x", RAY);
    expect(world.log).toEqual([{ event: "exhausted", backend: "a", reason, status: code, attempt: 1, ray: "ray" }]);
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
  async function countsOf(behaviour: Behaviour, vars = {}) {
    const world = simulate({ a: behaviour, b: works() }, { STATUS_PATH: "/status", ...vars });
    const isolate = await world.isolate();
    await isolate.ask("/x", { cookie: "a" });
    const { isolate: all, backends } = JSON.parse((await isolate.ask("/status?format=json")).text);
    const [a, b] = backends;
    const reason = a.lastFailure?.reason;
    return { requests: all.requests, failovers: all.failovers, a: sumOf(a), b: sumOf(b), reason };
  }

  it.each<[string, Behaviour, number, number[], string | undefined]>([
    ["a success", works(), 0, [1, 0], undefined],
    ["a failure", split(always(status(503)), works()), 1, [1, 1], "unavailable"],
    ["each attempt, once more included", inTurn(refuses), 1, [2, 2], "network error"],
    ["an attempt that stays silent while another backend serves", frozen, 1, [1, 1], "silent"],
  ])("hold %s", async (_, behaviour, failovers, a, reason) => {
    const b = failovers === 0 ? [0, 0] : [1, 0];
    expect(await countsOf(behaviour)).toEqual({ requests: 1, failovers, a, b, reason });
  });
});

it("a hedge that is still open when another attempt wins has not failed", async () => {
  const world = simulate({ a: split(works(2_500), frozen), b: works(3_000) }, { ...QUIET, STATUS_PATH: "/status" });
  const isolate = await world.isolate();
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
    const world = simulate({ a: split(always("error", 30_000), frozen), ...all }, { ...QUIET, MAX_RETRIES: 10 });
    const isolate = await world.isolate();
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
    expect(await world.until(answer)).toMatchObject({ backend: "e" });
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
  const world = simulate({ a: split(always(status(404)), works()), b: works() }, QUIET);
  const isolate = await world.isolate();
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
  const world = simulate({ a: split(always(status(404), 90), works()), b: works() }, { SHARE_HEALTH: false });
  const isolate = await world.isolate();
  await isolate.ask("/x", { cookie: "a" });
  const before = world.checksOf("a");
  await world.pass(1_050 - world.nowMs);
  await isolate.ask("/x", { cookie: "a" });
  expect([before, world.checksOf("a")]).toEqual([1, 2]);
});

describe("a wait", () => {
  it("for a check that another request makes ends within 25 ms of its result", async () => {
    const app: Behaviour = split(always(status(404), 5), works(400));
    const world = simulate({ a: app, b: works() }, QUIET);
    const isolate = await world.isolate();
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
    const world = simulate({ a: split(app, works()), b: works() }, QUIET);
    const isolate = await world.isolate();
    void isolate.send("/film", { cookie: "a" });
    await world.pass(900);
    const { status: code, backend, cookie } = await isolate.ask("/x", { ip: world.ipOf("a") });
    expect({ code, backend, cookie }).toEqual({ code: 200, backend: "a", cookie: undefined });
    await world.pass(200);
    expect(world.checks.map(({ atMs }) => atMs)).toEqual([1_000]);
  });

  it("is not bound by an answer of last resort", async () => {
    const world = simulate({ a: changing(refuses, 10_000, works()), b: refuses }, { SHARE_HEALTH: false });
    const isolate = await world.isolate();
    await isolate.ask("/x");
    await world.pass(20_000);
    const answer = await isolate.ask("/x", { ip: world.ipOf("b") });
    expect([answer.backend, answer.cookie]).toEqual(["a", undefined]);
  });

  it("is bound by an attempt from before last resort", async () => {
    const world = simulate({ a: works(), b: refuses }, QUIET);
    const isolate = await world.isolate();
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

  it("a failure requests a check", async () => {
    const world = simulate({ a: failing, b: works() }, QUIET);
    await (await world.isolate()).ask("/x", { cookie: "a" });
    await world.pass(1_000);
    expect([world.checksOf("a"), world.checksOf("b")]).toEqual([1, 0]);
  });

  it("an answer that was not vouched for requests no second check", async () => {
    const world = simulate({ a: always(status(404)), b: works() }, QUIET);
    await (await world.isolate()).ask("/x", { cookie: "a" });
    await world.pass(2_000);
    // One check is two questions.
    expect(world.checksOf("a")).toBe(2);
  });

  it("a failure ends that a backend works all the same", async () => {
    const app = split(works(), always(status(500)));
    const world = simulate({ a: app, b: app }, { SHARE_HEALTH: false });
    const isolate = await world.isolate();
    for (const cookie of ["a", "b"]) {
      expect(await isolate.ask("/x", { cookie })).toMatchObject({ backend: cookie });
      await world.pass(1_000);
    }
    expect(world.events("ejected")).toHaveLength(2);
    world.set("a", split(always(status(503)), always(status(500))));
    const before = world.askedOf("a");
    for (const _ of [1, 2]) expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ backend: "b" });
    expect(world.askedOf("a") - before).toBe(1);
  });

  it("a redirect of a POST is no proof that a backend that is down works all the same", async () => {
    const redirects = always(status(302, { Location: "https://login.example.org/" }));
    const world = simulate(
      { a: split(redirects, always(status(503))), b: refuses },
      { SHARE_HEALTH: false, STATUS_PATH: "/status" },
    );
    const isolate = await world.isolate();
    await isolate.ask("/x");
    await world.pass(1_000);
    expect(world.events("ejected")).toHaveLength(2);
    expect(await isolate.ask("/x", { method: "POST", body: "1", cookie: "a" })).toMatchObject({ status: 302 });
    const { backends } = JSON.parse((await isolate.ask("/status?format=json")).text);
    expect(backends.map(({ worksAllTheSame }: { worksAllTheSame: boolean }) => worksAllTheSame)).toEqual([
      false,
      false,
    ]);
  });

  it("silence ends it too, once another backend has served the request", async () => {
    const app = split(works(), always(status(500)));
    const world = simulate({ a: app, b: app }, { SHARE_HEALTH: false });
    const isolate = await world.isolate();
    for (const cookie of ["a", "b"]) {
      await isolate.ask("/x", { cookie });
      await world.pass(1_000);
    }
    world.set("a", frozen);
    expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ backend: "b", tookMs: expect.closeTo(2_005, -2) });
    expect((await isolate.ask("/x", { cookie: "a" })).tookMs).toBeLessThan(100);
  });

  it("a success of a backend that is down requests a check, which has it recover", async () => {
    const world = simulate(
      { a: split(works(600), changing(refuses, 60_300, works())) },
      { ...QUIET, BACKEND_DOWN_TIME: 3_600_000 },
    );
    const isolate = await world.isolate();
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
    const world = simulate({ a: failing, b: works() }, QUIET);
    const isolate = await world.isolate();
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
    const world = simulate({ a: split(app, works()), b: works() }, QUIET);
    const isolate = await world.isolate();
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
    const world = simulate({ a: behaviour, b: works(), c: works() }, QUIET);
    const isolate = await world.isolate();
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
    const world = simulate({ a, b: split(works(20_000), works()) }, QUIET);
    const isolate = await world.isolate();
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
    const world = simulate({ a, b: works() }, QUIET);
    const isolate = await world.isolate();
    await isolate.ask("/x", { cookie: "a", ip: "198.51.100.1" });
    for (let i = 1; i <= 6; i++) {
      await isolate.ask("/fails", { cookie: "a", ip: ipOf(i) });
      await world.pass(2_500);
    }
    expect(world.events("ejected")).toHaveLength(count);
  });
});
