import { describe, expect, it } from "vitest";
import {
  always,
  type Behaviour,
  changing,
  frozen,
  refuses,
  simulated,
  split,
  start,
  status,
  works,
} from "./simulation.ts";

simulated();

/** Has `a` ejected twice, as on a host that crashes twice: its term goes on for half a minute although it works again. */
async function inTerm(a: Behaviour, vars = {}) {
  const { world, isolate } = await start({ a: works(), b: works(), c: works() }, vars);
  for (let i = 0; i < 2; i++) {
    world.set("a", always(status(503)));
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(1_000);
    world.set("a", a);
    if (i === 1) break;
    await world.pass(34_000);
    await isolate.ask("/x", { cookie: "b" });
    await world.pass(1_000);
  }
  expect(world.events("ejected").filter(({ backend }) => backend === "a")).toHaveLength(2);
  return { world, isolate };
}

describe("last resort: the only backend that works, in its term, with a good check", () => {
  it.each([
    { name: "3 s, others 502", appMs: 3_000, fault: 502, vars: {} },
    { name: "3 s, others 503, MAX_RETRIES 10", appMs: 3_000, fault: 503, vars: { MAX_RETRIES: 10 } },
    { name: "100 ms, others 502, PROBE_AFTER 1", appMs: 100, fault: 502, vars: { PROBE_AFTER: 1 } },
  ])("answers: $name", async ({ appMs, fault, vars }) => {
    const { world, isolate } = await inTerm(split(works(appMs), works()), vars);
    world.set("b", always(status(fault)));
    world.set("c", always(status(fault)));
    const first = await isolate.ask("/stream/x.json", { cookie: "b" });
    const next = await isolate.ask("/stream/x.json", { cookie: "b" });
    expect([first.status, next.status]).toEqual([200, 200]);
  });
});

it("last resort: a POST at a backend in its term whose check is good is not sent to others beside it", async () => {
  const { world, isolate } = await inTerm(split(works(3_000), works()));
  for (const id of ["b", "c"]) {
    world.set(id, always(status(503)));
    await isolate.ask("/x", { cookie: id });
    await world.pass(1_000);
  }
  for (const id of ["b", "c"]) world.set(id, split(works(3_000), always(status(503))));
  world.asked.length = 0;
  const answer = await isolate.ask("/x", { method: "POST", body: "1", cookie: "a" });
  expect(answer).toMatchObject({ status: 200, backend: "a" });
  expect(world.asked.map(({ backend }) => backend)).toEqual(["a"]);
});

it("last resort waits for no backend that freezes after its good check", async () => {
  const { world, isolate } = await inTerm(works());
  world.set("a", split(frozen, changing(works(), world.nowMs + 500, frozen)));
  for (const id of ["b", "c"]) world.set(id, always(status(502)));
  const { status: code, tookMs } = await isolate.ask("/x", { cookie: "b" });
  expect({ code, isSoon: tookMs < 5_000 }).toEqual({ code: 502, isSoon: true });
});

describe("a fallback is not relayed while the only backend that works", () => {
  async function withSlowB() {
    const { world, isolate } = await start({ a: always(status(503)), b: works() });
    await isolate.ask("/x", { cookie: "b" });
    await world.pass(10_000);
    return { world, isolate };
  }

  it("takes its time, and its health route fails for half a second", async () => {
    const { world, isolate } = await withSlowB();
    const health = changing(changing(works(), 10_500, always(status(503))), 11_500, works());
    world.set("b", split(works(3_000), health));
    expect(await isolate.ask("/x", { cookie: "b" })).toMatchObject({ status: 200, backend: "b" });
  });

  it("takes its time, and another isolate says that it is down", async () => {
    const { world, isolate } = await withSlowB();
    world.set("b", split(works(3_000), works()));
    world.share("b", { kind: "network error", status: null, atMs: Date.now() - 3 });
    expect(await isolate.ask("/x", { cookie: "b" })).toMatchObject({ status: 200, backend: "b" });
  });

  it("has been asked blindly, and is quiet for longer than a short PROBE_AFTER", async () => {
    const { world, isolate } = await start({ a: works(), b: works() }, { PROBE_AFTER: 50 });
    await isolate.ask("/x", { cookie: "b" });
    await world.pass(26_000);
    world.set("a", refuses);
    await isolate.ask("/x", { cookie: "a" });
    await world.pass(5_000);
    world.set("a", works(100));
    world.set("b", split(always(status(503), 400), always(status(503), 50)));
    expect(await isolate.ask("/x", { cookie: "b" })).toMatchObject({ status: 200, backend: "a" });
  });
});
