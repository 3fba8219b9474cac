import { describe, expect, it } from "vitest";
import {
  always,
  type Behaviour,
  changing,
  frozen,
  type Reply,
  refuses,
  type Simulation,
  simulate,
  simulated,
  split,
  start,
  status,
  works,
} from "./simulation.ts";

simulated();

const slow = (afterMs: number): Behaviour => split(works(afterMs), works());
const hangs = split(frozen, works());
const posts = ({ asked }: Simulation) => asked.flatMap(({ method, backend }) => (method === "POST" ? backend : []));

describe("doubt", () => {
  it("of HEAD, GET and GET of a playback within a second costs one check together, and no viewer 250 ms", async () => {
    const playback: Behaviour = (asked) =>
      asked.isCheck
        ? works()(asked)
        : asked.method === "HEAD"
          ? { afterMs: 5, gives: status(405) }
          : { afterMs: 5, gives: status(302, { Location: "https://debrid.example.org/film" }) };
    const { world, isolate } = await start(
      { a: playback, b: works(), c: works() },
      { HEALTH_CHECK_INTERVAL: 0, SHARE_HEALTH: false },
    );
    const answers = [];
    for (const method of ["HEAD", "GET", "GET"]) {
      answers.push(await isolate.ask("/playback", { cookie: "a", method }));
      await world.pass(300);
    }
    expect(answers.map(({ status }) => status)).toEqual([405, 302, 302]);
    expect(Math.max(...answers.map(({ tookMs }) => tookMs))).toBeLessThan(50);
    expect(world.checksOf("a")).toBe(1);
  });

  it("relays a 404 at once where no other backend could be asked", async () => {
    const world = simulate({ a: split(always(status(404)), frozen) });
    const { status: code, tookMs } = await (await world.isolate()).ask("/x");
    expect({ code, isAtOnce: tookMs < 50 }).toEqual({ code: 404, isAtOnce: true });
  });

  it("relays a 404 as it is when the check is late by a second", async () => {
    const world = simulate({ a: split(always(status(404)), frozen), b: works() });
    const { status: code, tookMs, cookie } = await (await world.isolate()).ask("/x", { ip: world.ipOf("a") });
    expect({ code, cookie }).toEqual({ code: 404, cookie: undefined });
    expect(tookMs).toBeLessThan(1_100);
  });

  it("carries out a POST once that a working application with a bad health route answers with a redirect", async () => {
    const app = split(always(status(302, { Location: "https://elsewhere.example.org/" })), always(status(503)));
    const { world, isolate } = await start({ a: app, b: app });
    expect(await isolate.ask("/x", { method: "POST", body: "1", cookie: "a" })).toMatchObject({ status: 302 });
    expect(world.asked).toHaveLength(1);
  });

  it("relays no 404 whose check is bad while another backend's answer is being vouched for", async () => {
    const a = split(always(status(302, { Location: "https://debrid.example.org/film" })), works(200));
    const { isolate } = await start({ a, b: always(status(404), 1_150) });
    expect(await isolate.ask("/playback", { cookie: "b" })).toMatchObject({ status: 302, backend: "a" });
  });

  it("sends a request elsewhere whose redirect leads back to the very URL", async () => {
    const loop: Behaviour = ({ isCheck, path }) => ({
      afterMs: 5,
      gives: isCheck ? status(301) : status(301, { Location: `https://a.example.net${path}` }),
    });
    const world = simulate({ a: loop, b: works() });
    expect(await (await world.isolate()).ask("/x?y=1", { cookie: "a" })).toMatchObject({ text: "fine" });
  });
});

describe("patience", () => {
  it("does not end with a fallback: a suspect's 200 is better than a proxy's 503", async () => {
    const { world, isolate } = await start({
      cf: split(always(status(503)), works()),
      koyeb: split(works(), works(1_500)),
      duck: frozen,
    });
    await isolate.ask("/x", { cookie: "duck" });
    await world.pass(40_000);
    await isolate.ask("/x", { ip: world.ipOf("duck") });
    await world.pass(1_200);
    expect(await isolate.ask("/x", { cookie: "cf" })).toMatchObject({ status: 200, backend: "koyeb" });
  });

  it("ends with an honest 500 of a backend that is up: a second at most", async () => {
    const { world, isolate } = await start({ a: split(always(status(500)), works()), b: frozen, c: frozen });
    await isolate.ask("/x", { ip: world.ipOf("a") });
    await world.pass(10_000);
    const { status: code, tookMs } = await isolate.ask("/x", { ip: world.ipOf("a") });
    expect({ code, isSoon: tookMs <= 1_100 }).toEqual({ code: 500, isSoon: true });
  });
});

describe("once more", () => {
  it("is outside MAX_RETRIES: two dead backends do not use up the turn of the third", async () => {
    const world = simulate({ a: refuses, b: refuses, c: works() }, { MAX_RETRIES: 2 });
    const answer = await (await world.isolate()).ask("/x", { ip: world.ipOf("ab") });
    expect(answer).toMatchObject({ status: 200, backend: "c" });
  });

  it("never goes to a backend that a request may have crashed, a second after it was sent", async () => {
    const world = simulate({ a: split(always("error", 1_500), works()), b: works() });
    expect(await (await world.isolate()).ask("/x", { cookie: "a" })).toMatchObject({ status: 200, backend: "b" });
    expect(world.askedOf("a")).toBe(1);
  });
});

describe("waiting", () => {
  it("for hosts that all sleep ends with the first one that wakes", async () => {
    const world = simulate({ a: frozen, b: frozen, c: always(status(200), 6_000) });
    const { status: code, atMs } = await (await world.isolate()).ask("/x", { ip: world.ipOf("ab") });
    expect(code).toBe(200);
    expect(atMs).toBeLessThan(9_000);
  });

  it.each([4_200, 8_400, 16_300])("ends within ten seconds of the moment its backend freezes: %i ms", async (ms) => {
    const app = split(frozen, changing(works(), ms, frozen));
    const { isolate } = await start({ a: app, b: works(), c: works() });
    const { status: code, atMs } = await isolate.ask("/x", { cookie: "a" });
    expect(code).toBe(200);
    expect(atMs).toBeLessThan(ms + 10_000);
  });

  it.each(
    [4_200, 8_400, 16_300].flatMap((ms) => [
      { ms, method: "GET" },
      { ms, method: "POST" },
    ]),
  )("of a $method ends within a second of the ejection of its backend, which freezes after $ms ms", async (waiting) => {
    const { ms, method } = waiting;
    const { world, isolate } = await start({
      a: split(frozen, changing(works(), ms, frozen)),
      b: works(),
      c: works(),
    });
    const answer = isolate.send("/x", { cookie: "a", method });
    await world.pass(ms);
    void isolate.send("/x", { cookie: "a", ip: "203.0.113.9" });
    while (world.events("ejected").length === 0) await world.pass(10);
    const ejectedMs = world.nowMs;
    const { status: code, atMs } = await world.until(answer);
    expect([code, ejectedMs < ms + 6_000, atMs < ejectedMs + 1_000]).toEqual([200, true, true]);
  });

  it("for an honest answer of 50 s, by one viewer of a cold isolate, ends with its own backend's answer", async () => {
    const world = simulate({ a: slow(50_000), b: works(), c: works() });
    const { backend, tookMs } = await (await world.isolate()).ask("/x", { ip: world.ipOf("a") });
    expect({ backend, tookMs }).toEqual({ backend: "a", tookMs: expect.closeTo(50_000, -2) });
    expect(world.invocations[0]?.subrequests).toBeLessThanOrEqual(50);
  });

  it("is not for an application that hangs behind a good health route: the second try is answered", async () => {
    const { world, isolate } = await start({ a: hangs, b: works(), c: works() });
    void isolate.send("/x", { cookie: "a" });
    await world.pass(8_000);
    const { backend, tookMs } = await isolate.ask("/x", { cookie: "a" });
    expect(backend).not.toBe("a");
    expect(tookMs).toBeLessThan(8_000);
  });
});

describe("a cold isolate", () => {
  it("asks elsewhere as soon as it has read that its data centre knows the backend to be frozen", async () => {
    const world = simulate({ a: frozen, b: works(), c: works() });
    const first = await world.isolate();
    await first.ask("/x", { cookie: "a" });
    await world.pass(5_000);
    expect(world.events("ejected")).toHaveLength(1);
    world.cacheDelayMs = 300;
    const { backend, tookMs } = await (await world.isolate()).ask("/x", { cookie: "a" });
    expect({ isElsewhere: backend !== "a", isSoon: tookMs < 400 }).toEqual({ isElsewhere: true, isSoon: true });
  });

  it("lets each of five requests at once wait for the shared results", async () => {
    const world = simulate({ a: frozen, b: works(), c: works() });
    await (await world.isolate()).ask("/x", { cookie: "a" });
    await world.pass(5_000);
    world.cacheDelayMs = 40;
    const isolate = await world.isolate();
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => world.until(isolate.send("/x", { cookie: "a" }))));
    expect(Math.max(...answers.map(({ tookMs }) => tookMs))).toBeLessThan(100);
    expect(world.askedOf("a")).toBe(1);
  });
});

describe("a backend that hangs", () => {
  it("is known as one however long it has hung: its viewers wait for PROBE_AFTER, and not for BACKEND_TIMEOUT", async () => {
    const { world, isolate } = await start({ a: works(), b: works() });
    await isolate.ask("/x", { cookie: "a" });
    world.set("a", split(frozen, works()));
    const answers: Promise<{ tookMs: number; atMs: number }>[] = [];
    for (let n = 0; n < 600; n++) {
      answers.push(isolate.send("/x", { cookie: "a", ip: `192.0.${n >> 8}.${n & 255}` }));
      await world.pass(500);
    }
    await world.pass(110_000);
    const late = (await Promise.all(answers)).filter(({ tookMs, atMs }) => atMs - tookMs > 30_000);
    expect(Math.max(...late.map(({ tookMs }) => tookMs))).toBeLessThan(2_000);
  });

  it("is none that answers late: one request that never ends takes it from no household", async () => {
    const app = (ms: number) => split((asked) => (asked.path === "/film" ? frozen : works(ms))(asked), works());
    for (const household of ["192.0.2.1", "203.0.113.9"]) {
      const { world, isolate } = await start({ a: app(3_000), b: app(1_500), c: app(1_500) });
      await isolate.ask("/x", { cookie: "a" });
      void isolate.send("/film", { cookie: "a", ip: household });
      await world.pass(12_000);
      const served: unknown[] = [];
      for (let i = 0; i < 20; i++) {
        served.push((await isolate.ask("/x", { cookie: "a" })).backend);
        await world.pass(3_000);
      }
      // The first one cannot know.
      expect([served.slice(1).join(""), world.events("ejected")]).toEqual(["a".repeat(19), []]);
    }
  });

  it("is none whose hedge lost and was cut: it is not checked again and again", async () => {
    const a = split(works(2_500), changing(frozen, 3_000, works()));
    const { world, isolate } = await start({ a, b: split(works(3_000), works()), c: works() });
    await isolate.ask("/x", { ip: world.ipOf("ab") });
    for (const id of ["a", "b"]) world.set(id, works());
    await world.pass(5_000);
    const before = world.checksOf("b");
    for (let i = 0; i < 60; i++) {
      await isolate.ask("/x", { cookie: "c" });
      await world.pass(1_000);
    }
    expect(world.checksOf("b") - before).toBeLessThanOrEqual(3);
  });
});

describe("a slow POST of a bystander is carried out once, whatever bad requests of five clients eject its backend", () => {
  it.each([
    ["and is answered 200", status(200)],
    ["and is answered 409", status(409)],
    ["and is answered with a page", status(200, { "Content-Type": "text/html" })],
  ])("%s", async (_, gives) => {
    const app = (code: number): Behaviour =>
      split(
        (asked) =>
          asked.path === "/bad"
            ? always(status(code))(asked)
            : asked.method === "POST"
              ? { afterMs: 14_000, gives }
              : works()(asked),
        works(),
      );
    const { world, isolate } = await start({ a: app(500), b: app(200), c: app(200) });
    await isolate.ask("/x", { cookie: "a" });
    const post = isolate.send("/x", { cookie: "a", method: "POST", body: "1" });
    for (let i = 0; i < 6; i++) {
      await isolate.ask("/bad", { cookie: "a", ip: `203.0.113.${i}` });
      await world.pass(2_200);
    }
    await world.until(post);
    expect(world.events("ejected")).toHaveLength(1);
    expect(posts(world)).toEqual(["a"]);
  });

  it("and so is one at a backend in a term that another isolate knows of", async () => {
    const a = split((asked) => works(asked.method === "POST" ? 3_000 : 5)(asked), works());
    const { world, isolate } = await start({ a, b: works(), c: works() });
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(5_000);
    world.share("a", { atMs: Date.now() - 500 }, [Date.now() - 40_000, Date.now() - 3_000]);
    await isolate.ask("/x", { cookie: "a", method: "POST", body: "1" });
    await world.pass(3_500);
    expect(world.events("ejected")).toMatchObject([{ reason: "repeated ejections" }]);
    expect(posts(world)).toEqual(["a"]);
  });
});

it("a POST leaves a frozen backend after its check, though another isolate found it good meanwhile", async () => {
  const { world, isolate } = await start({ a: works(), b: works(), c: works() });
  await isolate.ask("/x", { cookie: "b" });
  await world.pass(5_000);
  world.set("a", frozen);
  const post = isolate.send("/x", { cookie: "a", method: "POST", body: "1" });
  await world.pass(2_500);
  world.share("a", { atMs: Date.now() - 1_100 });
  await isolate.ask("/x", { cookie: "b" });
  await world.pass(10);
  expect((await world.until(post)).tookMs).toBeLessThan(12_000);
});

it.each<[string, Reply["gives"]]>([
  ["throws", "error"],
  ["is answered 521", status(521)],
])("a POST leaves a host that has gone after its check, where a new connection %s", async (_, gives) => {
  const { world, isolate } = await start({ a: works(), b: works() });
  await isolate.ask("/x", { cookie: "a" });
  await world.pass(10_000);
  world.set("a", split(frozen, always(gives)));
  const answer = await isolate.ask("/x", { cookie: "a", method: "POST", body: "1" });
  expect(answer).toMatchObject({ status: 200, backend: "b" });
  expect(answer.tookMs).toBeLessThan(2_000);
});

it("a POST is carried out once at a backend that showed life until its check was bad for a moment", async () => {
  const { world, isolate } = await start({ a: works(), b: works() });
  await isolate.ask("/x", { cookie: "a" });
  const badMs = world.nowMs + 15_900;
  const health = changing(changing(works(), badMs, always(status(503))), badMs + 1_000, works());
  world.set("a", split(works(17_000), health));
  const answer = await isolate.ask("/x", { cookie: "a", method: "POST", body: "1" });
  expect([answer.backend, posts(world)]).toEqual(["a", ["a"]]);
});

it("a POST that hangs at a backend that was found down does not keep an honest failure from its client", async () => {
  const { world, isolate } = await start({ a: works(), b: works() });
  await isolate.ask("/x", { cookie: "a" });
  world.set("a", split(frozen, always(status(503))));
  world.set("b", split(always(status(500)), works()));
  const answer = await isolate.ask("/x", { cookie: "a", method: "POST", body: "1" });
  expect(answer).toMatchObject({ status: 500, backend: "b" });
  expect(answer.tookMs).toBeLessThan(15_000);
});

it("an honest failure elsewhere gives up no backend that hangs behind good checks: it may be slow", async () => {
  const a = split((asked) => works(asked.path === "/slow" ? 15_000 : 5)(asked), works());
  const { world, isolate } = await start({ a, b: split(always(status(500)), works()) });
  await isolate.ask("/fast", { cookie: "a" });
  for (const ip of ["192.0.2.1", "203.0.113.1"]) void isolate.send("/slow", { cookie: "a", ip });
  await world.pass(11_000);
  expect(await isolate.ask("/slow", { cookie: "b", ip: "203.0.113.2" })).toMatchObject({ status: 200, backend: "a" });
});

it("a POST leaves a frozen backend after its check, whatever clock of another isolate wrote the entry", async () => {
  const { world, isolate } = await start({ a: works(), b: works(), c: works() });
  await isolate.ask("/x", { cookie: "b" });
  await world.pass(10_000);
  world.share("a", { atMs: Date.now() + 4_000 });
  await isolate.ask("/x", { cookie: "b" });
  world.set("a", frozen);
  const { status: code, tookMs } = await isolate.ask("/x", { cookie: "a", method: "POST", body: "1" });
  expect([code, tookMs]).toEqual([200, expect.closeTo(4_000, -2)]);
});

it.each([
  ["slow", 300],
  ["hanging", 1e9],
])("a frozen backend costs a viewer of a cold isolate a second though the cache is %s", async (_, delayMs) => {
  const world = simulate({ a: frozen, b: works(), c: works() });
  world.cacheDelayMs = delayMs;
  const { tookMs } = await (await world.isolate()).ask("/x", { cookie: "a" });
  expect(tookMs).toBeLessThan(1_200);
});

it("one outage that several isolates find is one ejection", async () => {
  const world = simulate({ a: works(), b: works(), c: works() });
  world.cacheDelayMs = 10;
  const isolates = [];
  for (let i = 0; i < 5; i++) isolates.push(await world.isolate());
  for (const isolate of isolates) await isolate.ask("/x", { cookie: "a" });
  await world.pass(3_000);
  world.set("a", refuses);
  const counts: number[] = [];
  for (const isolate of isolates) {
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(5_500);
    const [entry = "{}"] = [...(world.cache?.values() ?? [])];
    counts.push(JSON.parse(entry).a.ejectionsMs.length);
  }
  expect(counts).toEqual([1, 1, 1, 1, 1]);
});
