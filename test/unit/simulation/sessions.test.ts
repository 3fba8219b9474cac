import { describe, expect, it } from "vitest";
import {
  type Answer,
  always,
  type Behaviour,
  changing,
  frozen,
  type Isolate,
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

/** Twenty players, each with the backend that its cookie names or its hash chooses. */
async function visit(
  world: Simulation,
  isolate: Isolate,
  { everyMs, rounds, cookies }: { everyMs: number; rounds: number; cookies: boolean },
) {
  const ids = [...world.behaviours.keys()];
  const answers: (Answer & { readonly home: string })[] = [];
  for (let round = 0; round < rounds; round++) {
    for (let player = 0; player < 20; player++) {
      const home = ids[player % ids.length] ?? "";
      const options = cookies ? { cookie: home, ip: `192.0.2.${player}` } : { ip: world.ipOf(home, player) };
      answers.push({ ...(await isolate.ask("/x", options)), home });
      await world.pass(everyMs);
    }
  }
  return {
    moved: answers.filter(({ backend, home }) => backend !== home).length,
    rebound: answers.filter(({ cookie, home }) => cookie !== undefined && cookie !== home).length,
    areLate: answers.filter(({ tookMs }) => tookMs > 500).length > 1,
    failed: answers.filter((answer) => answer.status >= 400).length,
  };
}

const UNHARMED = { moved: 0, rebound: 0, areLate: false, failed: 0 };

describe.each([
  ["bad", always(status(500))],
  ["hanging", frozen],
  ["not as expected", always(status(200, {}, "ok"))],
])("while every health route is %s and every application works", (_, health) => {
  it.each([
    ["one viewer in 2.5 s", 2_500, true],
    ["twenty viewers a second", 50, true],
    ["players without cookies, one in 2.5 s", 2_500, false],
    ["players without cookies, twenty a second", 50, false],
  ])("no session moves and the first request at most waits: %s", async (_, everyMs, cookies) => {
    const app = split(works(), health);
    const { world, isolate } = await start({ a: app, b: app, c: app });
    const options = { everyMs, rounds: everyMs > 1_000 ? 3 : 8, cookies };
    expect(await visit(world, isolate, options)).toEqual(UNHARMED);
  });

  it("a cold isolate that knows all of them as down moves no session either", async () => {
    const app = split(works(), health);
    const world = simulate({ a: app, b: app, c: app });
    await visit(world, await world.isolate(), { everyMs: 50, rounds: 10, cookies: true });
    const cold = await world.isolate();
    expect(await visit(world, cold, { everyMs: 2_500, rounds: 2, cookies: true })).toEqual(UNHARMED);
  });
});

describe("a health route that fails while users are served", () => {
  it("once, moves no session", async () => {
    let asked = 0;
    const health: Behaviour = (request) => (++asked === 3 ? always(status(503))(request) : works()(request));
    const world = simulate({ a: split(works(), health), b: works(), c: works() });
    const { moved } = await visit(world, await world.isolate(), { everyMs: 1_000, rounds: 6, cookies: true });
    expect(moved).toBe(0);
  });

  it.each([
    ["every other question", 1_000, (asked: number) => asked % 2 === 0, 0],
    ["every other second", 30_000, (_: number, atMs: number) => Math.floor(atMs / 1_000) % 2 === 1, 3],
  ])("at %s moves one player a few times at most in 20 s", async (_, downTimeMs, isBad, movesMax) => {
    let count = 0;
    const health: Behaviour = (asked) => (isBad(++count, asked.atMs) ? always(status(503))(asked) : works()(asked));
    const vars = { BACKEND_DOWN_TIME: downTimeMs, HEALTH_CHECK_INTERVAL: 1_000 };
    const { world, isolate } = await start({ a: split(works(), health), b: works(), c: works() }, vars);
    const served: (string | undefined)[] = [];
    for (let i = 0; i < 80; i++) {
      served.push((await isolate.ask("/x", { ip: world.ipOf("a") })).backend);
      await world.pass(250);
    }
    const moves = served.filter((backend, i) => i > 0 && backend !== served[i - 1]).length;
    expect(moves).toBeLessThanOrEqual(movesMax);
  });
});

describe("an outage that the data centre found once", () => {
  it("costs one wait of about a second in a whole evening, of visits every ten minutes", async () => {
    const world = simulate({ a: frozen, b: works(), c: works() });
    const waits: number[] = [];
    for (let visit = 0; visit < 18; visit++) {
      const isolate = await world.isolate();
      for (let i = 0; i < 5; i++) waits.push((await isolate.ask("/x", { ip: world.ipOf("a") })).tookMs);
      await world.pass(600_000);
    }
    expect(waits.filter((ms) => ms > 100)).toHaveLength(1);
    expect(Math.max(...waits)).toBeLessThan(1_200);
  });

  it.each([
    ["one backend", ["a"]],
    ["all of them", ["a", "b", "c"]],
  ])("and that is over since hours moves no cookie: %s", async (_, ids) => {
    const world = simulate({ a: works(), b: works(), c: works() });
    for (const id of ids) world.set(id, changing(refuses, 60_000, works()));
    const first = await world.isolate();
    for (const id of ids) await first.ask("/x", { cookie: id });
    await world.pass(4 * 3_600_000);
    const { status: code, cookie } = await (await world.isolate()).ask("/x", { cookie: "a" });
    expect({ code, cookie }).toEqual({ code: 200, cookie: undefined });
  });
});

describe("a backup", () => {
  it("serves while every primary is suspect, and its name is in no cookie", async () => {
    const health = changing(works(), 1_000, frozen);
    const { world, isolate } = await start(
      { a: split(works(), health), b: split(works(), health), c: works() },
      { BACKEND_C: "c.example.net backup", STATUS_PATH: "/status" },
    );
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(40_000);
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(1_500);
    const answer = await isolate.ask("/x");
    expect(answer.status).toBe(200);
    expect(answer.cookie).not.toBe("c");
  });

  it("gets no request and no check while a primary is up", async () => {
    const { world, isolate } = await start({ a: works(), b: works() }, { BACKEND_B: "b.example.net backup" });
    for (let i = 0; i < 10; i++) {
      await isolate.ask("/x", { cookie: "b" });
      await world.pass(20_000);
    }
    expect([world.askedOf("b"), world.checksOf("b")]).toEqual([0, 0]);
  });

  it("gets no check when a primary recovers", async () => {
    const sleeps = always(status(503));
    const { world, isolate } = await start({ a: works(), s: sleeps }, { BACKEND_S: "s.example.net backup" });
    world.set("a", sleeps);
    for (let i = 0; i < 2; i++) {
      await isolate.ask("/x");
      await world.pass(10_000);
    }
    world.set("a", works());
    const before = world.checksOf("s");
    while (world.events("recovered").length === 0) {
      await isolate.ask("/x");
      await world.pass(20);
    }
    const during = world.checksOf("s") - before;
    await world.pass(5_000);
    expect(world.checksOf("s") - before - during).toBeLessThanOrEqual(1);
  });
});

describe("outlier ejection", () => {
  const failing: Behaviour = ({ path, isCheck }) =>
    path === "/fails" && !isCheck
      ? { afterMs: 5, gives: status(500) }
      : { afterMs: 5, gives: status(200, {}, '"success":true') };

  it.each([
    ["in one burst in 30 s", 30_000, 0],
    ["with one request in six seconds", 30_000, 6_000],
  ])(
    "takes no backend from bystanders for five addresses with a URL that fails there: %s",
    async (_, roundMs, gapMs) => {
      const { world, isolate } = await start({ a: failing, b: works(), c: works() });
      let moved = 0;
      let rebound = 0;
      const bystander = async () => {
        const { backend, cookie } = await isolate.ask("/x", { cookie: "a", ip: "198.51.100.1" });
        if (backend !== "a") moved++;
        if (cookie !== undefined) rebound++;
      };
      let nextMs = 0;
      for (let attack = 0; attack < 40; attack++) {
        await isolate.ask("/fails", { cookie: "a", ip: `2001:db8:0:${attack.toString(16)}::1` });
        await world.pass(gapMs || (attack % 5 === 4 ? roundMs : 0));
        while (nextMs <= world.nowMs) {
          await bystander();
          nextMs += 9_000;
        }
      }
      expect({ moved, rebound }).toEqual({ moved: 0, rebound: 0 });
    },
  );

  it("takes a backend out that fails all clients behind a good health route", async () => {
    const { world, isolate } = await start({ a: split(always(status(500)), works()), b: works(), c: works() });
    for (let i = 0; i < 8; i++) {
      await isolate.ask("/x", { cookie: "a", ip: `192.0.2.${i}` });
      await world.pass(2_500);
    }
    expect(world.events("ejected")).toMatchObject([{ backend: "a", reason: "consecutive failures" }]);
    const asked = world.askedOf("a");
    expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ status: 200 });
    expect(world.askedOf("a")).toBe(asked);
  });
});

it("what a shared entry says of an hour from now is nonsense", async () => {
  const { world, isolate } = await start({ a: works(), b: works(), c: works() });
  await isolate.ask("/x");
  await world.pass(1_000);
  world.share("a", { kind: "no answer", status: null, tookMs: 3_000, atMs: Date.now() + 3_600_000 });
  expect(await (await world.isolate()).ask("/x", { cookie: "a" })).toMatchObject({ backend: "a" });
});

it("eight isolates make sixteen checks of each backend at most in four intervals", async () => {
  const world = simulate({ a: works(), b: works(), c: works() });
  const isolates: Isolate[] = [];
  const visitAll = () =>
    Promise.all(isolates.map((isolate, i) => world.until(isolate.send("/x", { ip: `192.0.2.${i}` }))));
  for (let i = 0; i < 8; i++) {
    isolates.push(await world.isolate());
    await visitAll();
    await world.pass(500);
  }
  const before = ["a", "b", "c"].map((id) => world.checksOf(id));
  for (let ms = 0; ms < 120_000; ms += 500) {
    await visitAll();
    await world.pass(480);
  }
  const checks = ["a", "b", "c"].map((id, i) => world.checksOf(id) - (before[i] ?? 0));
  expect(Math.max(...checks)).toBeLessThanOrEqual(16);
});

it("outlier ejection: one client whose bad request gets 500 here and 429 there ejects nothing", async () => {
  const app =
    (code: number): Behaviour =>
    (asked) =>
      asked.path === "/bad" ? { afterMs: 5, gives: status(code) } : works()(asked);
  const { world, isolate } = await start({ a: app(500), b: app(429), c: app(429) });
  // The family's film is one long answer.
  await isolate.ask("/film", { cookie: "a", ip: "198.51.100.1" });
  await world.pass(61_000);
  for (let i = 0; i < 6; i++) {
    await isolate.ask("/bad", { cookie: "a", ip: "203.0.113.9" });
    await world.pass(2_100);
  }
  expect(world.events("ejected")).toEqual([]);
  expect(await isolate.ask("/film", { cookie: "a", ip: "198.51.100.1" })).toMatchObject({ backend: "a" });
});

it("a shared entry that names one ejection 20 times takes no good backend and no session", async () => {
  const world = simulate({ a: works(), b: works() });
  await (await world.isolate()).ask("/x", { cookie: "a" });
  await world.pass(1_000);
  world.share("a", { atMs: Date.now() }, Array(20).fill(Date.now() - 1_000));
  const { backend, cookie } = await (await world.isolate()).ask("/x", { cookie: "a" });
  expect({ backend, cookie }).toEqual({ backend: "a", cookie: undefined });
});

it("no session moves in a term whose last check is good, however long ago it was bad", async () => {
  const { world, isolate } = await start({ a: works(), b: works(), c: works() });
  for (const rounds of [4, 8, 12, 7]) {
    world.set("a", always(status(503)));
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(1_000);
    world.set("a", works());
    for (let i = 0; i < rounds; i++) {
      await world.pass(10_000);
      await isolate.ask("/x", { cookie: "b" });
    }
  }
  expect([world.events("ejected").length, world.events("recovered").length]).toEqual([4, 3]);
  const { backend, cookie } = await isolate.ask("/x", { cookie: "a" });
  expect([backend === "a", cookie]).toEqual([false, undefined]);
});

it("while every health route is wrong, a page moves no client of its backend", async () => {
  const page: Behaviour = (asked) =>
    asked.path === "/configure" ? always(status(200, { "Content-Type": "text/html" }))(asked) : works()(asked);
  const app = split(page, always(status(404)));
  const { world, isolate } = await start({ a: app, b: app, c: app });
  for (let i = 0; i < 3; i++) {
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(3_000);
  }
  const served = [];
  for (const path of ["/configure", "/x"]) served.push((await isolate.ask(path, { cookie: "b" })).backend);
  expect(served).toEqual(["b", "b"]);
});
