import { describe, expect, it } from "vitest";
import { always, type Behaviour, frozen, refuses, simulated, split, start, status, works } from "./simulation.ts";

simulated();

const FAULTS: Readonly<Record<string, Behaviour>> = {
  "refuses connections": refuses,
  "answers 500": always(status(500)),
  "answers 503": always(status(503)),
  "is unreachable for Cloudflare (522)": always(status(522)),
  "is gone, and its platform answers 404": always(status(404)),
  "is gone, and its platform answers 403": always(status(403)),
};
const GET = { method: "GET" };
const UNHEDGED = {
  "a POST": { method: "POST", body: "1" },
  "a PUT": { method: "PUT", body: "1" },
  "a WebSocket's handshake": { method: "GET", headers: { Upgrade: "websocket" } },
};

/**
 * Asks for backend `a`, of three, when it, or each of them, begins to behave so; with every variable as it is delivered. A warm
 * isolate has known all three as up for ten seconds, a cold one has just started.
 */
async function ask(behaviour: Behaviour, options: object, { isWarm = true, all = false } = {}) {
  const { world, isolate } = await start({ a: works(), b: works(), c: works() });
  if (isWarm) {
    for (const id of ["a", "b", "c"]) await isolate.ask("/x", { cookie: id });
    await world.pass(10_000);
  }
  for (const id of all ? ["a", "b", "c"] : ["a"]) world.set(id, behaviour);
  const first = await isolate.ask("/x", { cookie: "a", ...options });
  return { world, isolate, first };
}

/** These are the figures of the README's table. */
describe.each(Object.entries({ "a GET": GET, ...UNHEDGED }))("%s waits", (_, options) => {
  it.each(Object.entries(FAULTS))("for another attempt, and a check at most, when its backend %s", async (_, fault) => {
    for (const isWarm of [false, true]) {
      const { first } = await ask(fault, options, { isWarm });
      expect(first.status).toBe(200);
      expect(first.tookMs).toBeLessThan(50);
    }
  });

  it.each(Object.entries(FAULTS))("for a second at most when every backend %s, and is told so", async (_, fault) => {
    const { isolate, first } = await ask(fault, options, { all: true });
    const next = await isolate.ask("/x", { cookie: "a", ...options });
    expect(first.status).toBeGreaterThanOrEqual(400);
    expect(Math.max(first.tookMs, next.tookMs)).toBeLessThanOrEqual(1_000);
  });

  it("for its backend's answer when that is slow, and its check is good", async () => {
    const { first } = await ask(split(works(50_000), works()), options);
    expect(first).toMatchObject({ backend: "a", tookMs: 50_000 });
  });

  it("for BACKEND_TIMEOUT and ten seconds at most when every backend is frozen, and is answered 504", async () => {
    const { first } = await ask(frozen, options, { all: true });
    expect(first.status).toBe(504);
    expect(first.tookMs).toBeGreaterThanOrEqual(100_000);
    expect(first.tookMs).toBeLessThanOrEqual(110_000);
  });
});

describe.each([
  { name: "a GET", options: GET, coldMs: 1_000, warmMs: 2_000 },
  ...Object.entries(UNHEDGED).map(([name, options]) => ({ name, options, coldMs: 3_000, warmMs: 4_000 })),
])("$name waits for a frozen backend", ({ options, coldMs, warmMs }) => {
  it.each([
    ["cold", coldMs],
    ["warm", warmMs],
  ])("in a %s isolate %i ms, and the next one not at all", async (heat, ms) => {
    const { isolate, first } = await ask(frozen, options, { isWarm: heat === "warm" });
    expect(first).toMatchObject({ status: 200, tookMs: expect.closeTo(ms, -2) });
    expect((await isolate.ask("/x", { cookie: "a", ...options })).tookMs).toBeLessThan(50);
  });
});

it.each([
  ["GET", 1_250],
  ["POST", 10_000],
])(
  "a %s waits for %i ms, and a second more at most, at a backend that hangs, and whose check is answered badly",
  async (method, ms) => {
    const { world, isolate } = await start({ a: works(), b: works() });
    await isolate.ask("/x", { cookie: "a" });
    world.set("a", split(frozen, always(status(503))));
    const { tookMs } = await isolate.ask("/x", { cookie: "a", method, ...(method === "POST" && { body: "1" }) });
    expect(Math.floor((tookMs - ms) / 1_000)).toBe(0);
  },
);

it("a GET waits for PROBE_AFTER at a backend that hangs behind a good check, once another one has waited for long", async () => {
  const { isolate, first } = await ask(split(frozen, works()), GET);
  expect(first).toMatchObject({ status: 200, tookMs: expect.closeTo(100_000, -2) });
  expect((await isolate.ask("/x", { cookie: "a" })).tookMs).toBeLessThan(1_100);
});
