import { describe, expect, it } from "vitest";
import {
  always,
  type Behaviour,
  changing,
  frozen,
  type Isolate,
  refuses,
  simulated,
  split,
  start,
  status,
  works,
} from "./simulation.ts";

simulated();

type World = Awaited<ReturnType<typeof start>>["world"];

/** A viewer of each of these backends asks, every so many ms, until a moment. */
async function visit(world: World, isolate: Isolate, ids: readonly string[], everyMs: number, untilMs: number) {
  const answers: { home: string; backend: string | undefined; cookie: string | undefined }[] = [];
  while (world.nowMs < untilMs) {
    for (const [i, home] of ids.entries()) {
      const { backend, cookie } = await isolate.ask("/x", { cookie: home, ip: `192.0.2.${i + 1}` });
      answers.push({ home, backend, cookie });
    }
    await world.pass(Math.max(0, Math.min(everyMs, untilMs - world.nowMs)));
  }
  return answers;
}

const IDS = ["a", "b", "c"];

describe("the end of a database outage in which every application works", () => {
  /** Health routes that need the database, which is away from 20 s to 100 s. */
  const health = changing(changing(works(), 20_000, always(status(500))), 100_000, works());
  const app = split(works(), health);

  it.each([7_000, 2_000, 500])("moves no session, of viewers who come every %i ms", async (everyMs) => {
    const { world, isolate } = await start({ a: app, b: app, c: app });
    const answers = await visit(world, isolate, IDS, everyMs, 160_000);
    expect(answers.filter(({ home, backend, cookie }) => backend !== home || cookie)).toEqual([]);
  });

  it("moves none of a viewer who comes a minute later, either", async () => {
    const { world, isolate } = await start({ a: app, b: app, c: app });
    await visit(world, isolate, IDS, 1_000, 30_000);
    await visit(world, isolate, ["a", "b"], 1_000, 110_000);
    expect(await isolate.ask("/x", { cookie: "c" })).toMatchObject({ backend: "c", cookie: undefined });
  });

  it("rebinds none who comes while the first one has recovered, and the others are being checked", async () => {
    const away = split(works(), changing(changing(works(150), 20_000, always(status(500), 150)), 100_000, works(150)));
    const { world, isolate } = await start({ a: away, b: away, c: away });
    await visit(world, isolate, IDS, 0, world.nowMs + 1);
    while (world.events("recovered").length === 0) await visit(world, isolate, ["a"], 50, world.nowMs + 1);
    expect((await isolate.ask("/x", { cookie: "b", ip: "192.0.2.2" })).cookie).toBeUndefined();
  });

  it("is no reason to send a POST to another one that recovers first", async () => {
    const slow = split((asked) => works(asked.method === "POST" ? 3_000 : 5)(asked), health);
    const { world, isolate } = await start({ a: slow, b: slow, c: slow });
    await visit(world, isolate, IDS, 1_000, 98_500);
    const post = isolate.send("/x", { cookie: "b", method: "POST", body: "1" });
    await visit(world, isolate, ["a"], 500, 103_000);
    await world.until(post);
    expect(world.asked.filter(({ method }) => method === "POST").map(({ backend }) => backend)).toEqual(["b"]);
  });

  it("is no reason to relay a failure of the one that recovers first, while another one is at work", async () => {
    const { world, isolate } = await start({ a: split(works(600), health), b: app });
    await visit(world, isolate, ["a", "b"], 500, 98_000);
    await world.pass(99_900 - world.nowMs);
    world.set("b", split(always(status(500)), health));
    expect(await isolate.ask("/x", { cookie: "b" })).toMatchObject({ status: 200, backend: "a" });
  });
});

describe("when a database comes back, and a platform ends an application that went on meanwhile", () => {
  const outage = (untilMs: number, after: Behaviour) =>
    changing(changing(works(), 20_000, split(works(), always(status(500)))), untilMs, after);
  const gone = always(status(404));

  it("its 404 is not believed where another isolate has found both out", async () => {
    const { world, isolate } = await start({ a: outage(60_000, gone), b: outage(60_000, works()) });
    const other = await world.isolate();
    const late: unknown[] = [];
    while (world.nowMs < 90_000) {
      await visit(world, isolate, ["a", "b"], 0, world.nowMs + 1);
      const { status, atMs } = await other.ask("/x", { cookie: "a" });
      // The other isolate reads what is shared every two seconds.
      if (status !== 200 && atMs > 64_000) late.push(atMs);
      await world.pass(700);
    }
    expect(late).toEqual([]);
  });

  it("its 404 is asked about once another one is known to be up", async () => {
    const { world, isolate } = await start({ a: outage(61_500, gone), b: outage(60_000, works()) });
    const other = await world.isolate();
    while (world.nowMs < 62_000) {
      await isolate.ask("/x", { cookie: "b", ip: "192.0.2.2" });
      if (world.nowMs < 59_000) await other.ask("/x", { cookie: "a" });
      await world.pass(500);
    }
    const statuses: number[] = [];
    for (let i = 0; i < 10; i++) {
      statuses.push((await other.ask("/x", { cookie: "a" })).status);
      await world.pass(500);
    }
    // The first one may not have heard of b.
    expect(statuses.slice(1)).toEqual(Array(9).fill(200));
  });
});

it("a backend whose last answer ends when its platform already speaks for it does not work all the same", async () => {
  const b: Behaviour = (asked) =>
    asked.atMs >= 20_000 ? always(status(404))(asked) : works(asked.path === "/stream" ? 1_500 : 5)(asked);
  const { world, isolate } = await start({ a: changing(always(status(503)), 40_000, works()), b });
  await isolate.ask("/x", { cookie: "b" });
  await world.pass(19_000 - world.nowMs);
  void isolate.send("/stream", { cookie: "b", ip: "192.0.2.2" });
  await world.pass(600);
  const late: unknown[] = [];
  while (world.nowMs < 60_000) {
    await world.pass(500);
    const { status, atMs } = await isolate.ask("/x", { cookie: "b" });
    if (status !== 200 && atMs > 42_000) late.push(atMs);
  }
  expect(late).toEqual([]);
});

describe("while every health route hangs and the applications work, a frozen backend", () => {
  const app = split(works(), frozen);

  it("is left by a POST after its check", async () => {
    const { world, isolate } = await start({ a: app, b: app, c: app });
    await visit(world, isolate, IDS, 1_000, 70_000);
    world.set("b", frozen);
    const post = isolate.send("/x", { cookie: "b", method: "POST", body: "1" });
    await visit(world, isolate, ["a", "c"], 1_000, 76_000);
    expect(await world.until(post)).toMatchObject({ status: 200, tookMs: expect.closeTo(3_000, -2) });
  });

  it("is left by a POST after ten seconds for one that has served none lately", async () => {
    const { world, isolate } = await start({ a: frozen, b: app });
    await isolate.ask("/x", { cookie: "b" });
    await world.pass(70_000);
    const { backend, tookMs } = await isolate.ask("/x", { cookie: "a", method: "POST", body: "1" });
    expect([backend, Math.floor(tookMs / 1_000)]).toEqual(["b", expect.closeTo(10, -1)]);
  });

  it("costs its viewers a wait once, not at each request", async () => {
    const { world, isolate } = await start({ a: app, b: frozen, c: app });
    const waits: number[] = [];
    for (let i = 0; i < 20; i++) {
      await visit(world, isolate, ["a", "c"], 5_000, world.nowMs + 5_000);
      waits.push((await isolate.ask("/x", { cookie: "b" })).tookMs);
    }
    expect(waits.filter((ms) => ms > 500).length).toBeLessThanOrEqual(2);
  });
});

describe("while every health route is wrong, and the applications are slow", () => {
  const app = (afterMs: number) =>
    split(
      (asked) => works(asked.path === "/slow" ? afterMs : 5)(asked),
      changing(works(), 20_000, always(status(500))),
    );

  it("a POST is carried out once, however slow they are", async () => {
    const { world, isolate } = await start({ a: app(12_000), b: app(12_000), c: app(12_000) });
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(50_000);
    expect((await isolate.ask("/slow", { cookie: "a", method: "POST", body: "1" })).status).toBe(200);
    expect(world.asked.flatMap(({ path, backend }) => (path === "/slow" ? backend : []))).toEqual(["a"]);
  });

  it("one that has served is asked alone for a minute after its answer", async () => {
    const { world, isolate } = await start({ a: app(25_000), b: app(25_000), c: app(25_000) });
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(50_000);
    for (const path of ["/x", "/slow", "/slow"]) {
      await isolate.ask(path, { cookie: "a" });
      await world.pass(20_000);
    }
    expect(world.asked.flatMap(({ path, backend }) => (path === "/slow" ? backend : []))).toEqual(["a", "a"]);
  });

  it("one has failed no user that was asked beside a slow one, and later", async () => {
    const { world, isolate } = await start({ a: app(12_000), b: app(12_000), c: app(12_000) });
    for (const cookie of IDS) await isolate.ask("/x", { cookie });
    await world.pass(60_000);
    const lists = [];
    for (const cookie of IDS) {
      lists.push(isolate.send("/slow", { cookie }));
      await world.pass(1_000);
    }
    await world.until(Promise.all(lists));
    const homes: unknown[] = [];
    for (const cookie of IDS) homes.push((await isolate.ask("/x", { cookie })).backend);
    expect(homes).toEqual(IDS);
  });
});

it("a POST of three seconds is carried out once while every health route is wrong, in a cold isolate too", async () => {
  const app = split(works(3_000), always(status(404)));
  const { world, isolate } = await start({ a: app, b: app, c: app });
  const { status: answer } = await isolate.ask("/x", { cookie: "a", method: "POST", body: "1" });
  expect([answer, world.asked.map(({ backend }) => backend)]).toEqual([200, ["a"]]);
});

it("a redirect is vouched for by a good check where all are in their terms: it moves no viewer", async () => {
  const app = split(
    ({ path }) => ({
      afterMs: 5,
      gives: path === "/film" ? status(302, { Location: "https://debrid.example.org/" }) : status(200),
    }),
    works(),
  );
  const { world, isolate } = await start({ a: app, b: app, c: app });
  // Twice within ten minutes all are away: the second ejection has a term.
  for (const backAfterMs of [40_000, 1_000]) {
    for (const id of IDS) world.set(id, refuses);
    for (const cookie of IDS) await isolate.ask("/x", { cookie });
    await world.pass(1_000);
    for (const id of IDS) world.set(id, app);
    await visit(world, isolate, ["a"], 1_000, world.nowMs + backAfterMs);
  }
  expect([world.events("ejected").length, world.events("recovered").length]).toEqual([6, 3]);
  const served: unknown[] = [];
  for (const path of ["/film", "/x", "/x"])
    served.push((await isolate.ask(path, { cookie: "b", ip: "192.0.2.2" })).backend);
  expect(served).toEqual(["b", "b", "b"]);
});
