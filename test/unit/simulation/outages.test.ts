import { describe, expect, it } from "vitest";
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

/** What answers in place of an application that is gone, its health route included. */
const OUTAGES: readonly [name: string, afterMs: (afterMs: number) => Behaviour][] = [
  ["404", (afterMs) => always(status(404), afterMs)],
  ["403", (afterMs) => always(status(403), afterMs)],
  ["302 to a login page", (afterMs) => always(status(302, { Location: "https://login.example.org/" }), afterMs)],
  ["an empty 200", (afterMs) => always(status(200, { "Content-Length": "0" }, ""), afterMs)],
];

const page = always(status(200, { "Content-Type": "text/html" }, "<h1>This app is sleeping</h1>"));

describe.each(OUTAGES)("a platform that answers %s", (_, outage) => {
  it.each([5, 400])("never reaches a viewer of a cold isolate, from %i ms away", async (afterMs) => {
    const { world, isolate } = await start({ a: outage(afterMs), b: works(), c: works() });
    const answers = await Promise.all([1, 2, 3].map(() => world.until(isolate.send("/x", { cookie: "a" }))));
    expect(answers.map(({ text }) => text)).toEqual(["fine", "fine", "fine"]);
  });

  it("never reaches a viewer of a warm isolate", async () => {
    const { world, isolate } = await start({ a: changing(works(), 60_000, outage(5)), b: works(), c: works() });
    const texts: string[] = [];
    for (let i = 0; i < 30; i++) {
      texts.push((await isolate.ask("/x", { cookie: "a" })).text);
      await world.pass(7_000);
    }
    expect(new Set(texts)).toEqual(new Set(["fine"]));
  });
});

describe("a page in place of the application", () => {
  it("never reaches a viewer whose path ends in .json", async () => {
    const { isolate } = await start({ a: page, b: works(), c: works() });
    expect(await isolate.ask("/stremio/x/manifest.json?a=b", { cookie: "a" })).toMatchObject({ text: "fine" });
  });

  it("reaches no viewer once a check has found it", async () => {
    const { world, isolate } = await start({ a: page, b: works(), c: works() });
    await isolate.ask("/configure", { cookie: "a" });
    await world.pass(300);
    expect(await isolate.ask("/configure", { cookie: "a" })).toMatchObject({ text: "fine" });
  });

  it("does not work all the same: one that has come back is asked, though it is known to be down", async () => {
    const { world, isolate } = await start({
      a: changing(changing(works(), 5_000, frozen), 45_000, works()),
      b: changing(works(), 5_000, page),
      c: always(status(503)),
    });
    await isolate.ask("/configure", { cookie: "c" });
    await world.pass(35_000);
    for (const cookie of ["b", "a", "b", "b"]) {
      await isolate.ask("/configure", { cookie });
      await world.pass(300);
    }
    const ejected = world.events("ejected").map(({ backend }) => backend);
    expect(ejected.sort()).toEqual(["a", "b", "c"]);
    await world.pass(8_000);
    for (let i = 0; i < 3; i++) {
      expect(await isolate.ask("/configure", { cookie: "b" })).toMatchObject({ backend: "a", text: "fine" });
    }
  });

  it("is not believed of a backend that is tried blindly: the next one is tried", async () => {
    const badHealth = split(works(), always(status(503)));
    const { world, isolate } = await start({ a: page, b: badHealth, c: refuses });
    for (const method of ["GET", "POST"]) {
      await isolate.ask("/configure", { cookie: "c", method });
      await world.pass(1_000);
      expect(await isolate.ask("/configure", { cookie: "a", method })).toMatchObject({ text: "fine" });
      await world.pass(70_000);
    }
  });

  it("is the application's own, and is relayed, where every backend answers so", async () => {
    const app = split(page, works());
    const { isolate } = await start({ a: app, b: app, c: app });
    const { status, text } = await isolate.ask("/x.json", { cookie: "a" });
    expect({ status, text }).toEqual({ status: 200, text: "<h1>This app is sleeping</h1>" });
  });
});

it("a host that wakes, whose platform answers its first request 404, sends no viewer a 404", async () => {
  let asked = 0;
  const waking: Behaviour = (request) => (++asked <= 2 ? always(status(404))(request) : works()(request));
  const world = simulate({ a: waking, b: works(), c: works() });
  expect(await (await world.isolate()).ask("/x", { cookie: "a" })).toMatchObject({ text: "fine" });
});

describe("a bot challenge", () => {
  const challenge = split(always(status(403, { "cf-mitigated": "challenge" }, "Just a moment")), works());

  it("of one backend is answered elsewhere, and binds no client to it", async () => {
    const world = simulate({ a: challenge, b: works(), c: works() });
    const { text, cookie } = await (await world.isolate()).ask("/x", { ip: world.ipOf("a") });
    expect({ text, cookie: cookie !== "a" }).toEqual({ text: "fine", cookie: true });
  });

  it("of every backend is answered 502", async () => {
    const world = simulate({ a: challenge, b: challenge });
    expect(await (await world.isolate()).ask("/x")).toMatchObject({ status: 502 });
  });
});

it("a Set-Cookie of 14 KB costs no second of CPU", async () => {
  const cookie = `x=1; domain=a${" ".repeat(14_000)}b`;
  const { isolate } = await start({ a: split(always(status(200, { "Set-Cookie": cookie })), works()) });
  const beganMs = performance.now();
  expect(await isolate.ask("/x", { cookie: "a" })).toMatchObject({ status: 200 });
  expect(performance.now() - beganMs).toBeLessThan(500);
});
