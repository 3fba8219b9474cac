import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { DataCentre } from "../support/data-centre.ts";
import { boundTo, changesOf, HINTS_ONLY, IDS } from "../support/fixture.ts";
import { figuresOf, PLATFORM } from "../support/platform.ts";
import { head, rawConnection } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import type { Options, Worker } from "../support/worker.ts";
import type { Vars } from "../support/workerd.ts";

/** So many backends, and a Worker on a platform with Cloudflare's limits, with a cache. */
async function start(ids: readonly string[], vars: Vars): Promise<[DataCentre, Worker]> {
  const dc = await DataCentre.start(vars, ids);
  return [dc, await dc.isolate({}, { ...PLATFORM, cacheService: dc.cache.address })];
}

function named(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `b${i + 1}`);
}

/**
 * No subrequest was refused, and none had to wait for a connection. `queuedMax` is 1 where an attempt takes the place of one
 * that is let go in the same moment: it may have to wait for that moment.
 */
async function expectWithinLimits(worker: Worker, queuedMax = 0): Promise<void> {
  for (const figures of await figuresOf(worker)) {
    expect(figures.refused, JSON.stringify(figures)).toBe(0);
    expect(figures.subrequests, JSON.stringify(figures)).toBeLessThanOrEqual(50);
    expect(figures.queuedMax, JSON.stringify(figures)).toBeLessThanOrEqual(queuedMax);
  }
}

function ejected(worker: Worker): unknown[] {
  return worker.log.filter(({ event }) => event === "ejected");
}

async function idOf(worker: Worker, options: Options): Promise<string> {
  const { status, text } = await worker.fetch("/", options);
  expect(status, text).toBe(200);
  return (JSON.parse(text) as Echo).id;
}

describe.concurrent("within 50 subrequests and six connections", () => {
  it.each([["GET"], ["POST"]])(
    "three backends are asked that answer 500 after long, with many looks at how they are: %s",
    async (method) => {
      const [dc, worker] = await start(IDS, { PROBE_AFTER: 1 });
      await using _dc = dc;
      for (const backend of dc.backends) {
        backend.handler = (_, response) => void setTimeout(() => response.writeHead(500).end(backend.id), 2_000);
      }
      const { status, text } = await worker.fetch("/", { method });
      expect([status, IDS]).toEqual([500, expect.arrayContaining([text])]);
      for (const { seen } of dc.backends) expect(seen).toHaveLength(1);
      await expectWithinLimits(worker);
      expect(ejected(worker)).toEqual([]);
    },
  );

  it("eleven backends are asked that all answer 500, and none is ejected for what could not be asked any more", async () => {
    const [dc, worker] = await start(named(11), { MAX_RETRIES: 10 });
    await using _dc = dc;
    for (const backend of dc.backends) backend.mode = { kind: "status", status: 500, healthStatus: 200 };
    for (let i = 0; i < 5; i++) expect((await worker.fetch("/", { ip: `192.0.2.${i}` })).status).toBe(500);
    for (const { seen } of dc.backends) expect(seen).toHaveLength(5);
    await expectWithinLimits(worker);
    expect(ejected(worker)).toEqual([]);
  });

  it("eleven backends are asked that all refuse connections, by every request anew", async () => {
    // None of them is silent, however busy the machine is.
    const [dc, worker] = await start(named(11), { MAX_RETRIES: 10, BACKEND_DOWN_TIME: 0, PROBE_AFTER: 60_000 });
    await using _dc = dc;
    await Promise.all(dc.backends.map((backend) => backend.kill()));
    for (let i = 0; i < 5; i++) expect((await worker.fetch("/", { ip: `192.0.2.${i}` })).status).toBe(502);
    await dc.backend("b7").start();
    expect(await idOf(worker, {})).toBe("b7");
    await expectWithinLimits(worker);
  });

  it("the only one of thirty that works is found, while the others refuse connections", async () => {
    const [dc, worker] = await start(named(30), {});
    await using _dc = dc;
    const alive = dc.backend("b30");
    await Promise.all(dc.backends.map((backend) => backend !== alive && backend.kill()));
    await until("it is found", async () => (await worker.fetch("/")).status === 200);
    for (const { id } of dc.backends) expect(await idOf(worker, boundTo(id))).toBe("b30");
    expect(alive.seen.length).toBeGreaterThan(0);
    await expectWithinLimits(worker);
    expect(ejected(worker)).not.toContainEqual(expect.objectContaining({ backend: "b30" }));
  });

  it("thirty backends are left that are all silent, and are back when they answer", async () => {
    const [dc, worker] = await start(named(30), { PROBE_AFTER: 100, BACKEND_TIMEOUT: 5_000, BACKEND_DOWN_TIME: 100 });
    await using _dc = dc;
    for (const backend of dc.backends) backend.mode = { kind: "hang" };
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => worker.fetch("/", { ip: `192.0.2.${i}` })));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 504));
    for (const backend of dc.backends) backend.mode = { kind: "well" };
    for (let i = 0; i < 8; i++) expect((await worker.fetch("/", { ip: `192.0.2.${i}` })).status).toBe(200);
    await expectWithinLimits(worker, 1);
  });

  it.each([
    ["as delivered", 0, {}],
    ["with MAX_RETRIES=10", 0, { MAX_RETRIES: 10 }],
    ["with checks on hints alone", 1, { ...HINTS_ONLY, MAX_RETRIES: 10 }],
  ])("the only one of eight that works is reached, while the others are silent: %s", async (_, queuedMax, vars) => {
    const [dc, worker] = await start(named(8), { PROBE_AFTER: 100, ...vars });
    await using _dc = dc;
    for (const backend of dc.backends.slice(0, 7)) backend.mode = { kind: "hang" };
    expect(await Promise.all(["b1", "b4", "b8"].map((id) => idOf(worker, boundTo(id))))).toEqual(["b8", "b8", "b8"]);
    await expectWithinLimits(worker, queuedMax);
    expect(changesOf({ worker }, "b8")).toEqual([]);
  });

  it("the only one of eight that works is reached, while the others and the cache are silent", async () => {
    const [dc, worker] = await start(named(8), { PROBE_AFTER: 100, MAX_RETRIES: 10 });
    await using _dc = dc;
    dc.cache.mode = { kind: "hang" };
    for (const backend of dc.backends.slice(0, 7)) backend.mode = { kind: "hang" };
    expect(await Promise.all(["b1", "b4", "b8"].map((id) => idOf(worker, boundTo(id))))).toEqual(["b8", "b8", "b8"]);
    await expectWithinLimits(worker);
    expect(changesOf({ worker }, "b8")).toEqual([]);
  });

  it("the status page shows the only one of thirteen that answers", async () => {
    const [dc, worker] = await start(named(13), { STATUS_PATH: "/status" });
    await using _dc = dc;
    for (const backend of dc.backends.slice(0, 12)) backend.mode = { kind: "hang" };
    const { status, text } = await worker.fetch("/status?format=json");
    const { answering, backends } = JSON.parse(text) as {
      answering: number;
      backends: { id: string; state: string }[];
    };
    expect({ status, answering }).toEqual({ status: 200, answering: 1 });
    for (const { id, state } of backends) expect(state, id).toMatch(id === "b13" ? /^up$/ : /^(down|suspect)$/);
    await expectWithinLimits(worker);
  });

  it("the status page shows thirteen that answer", async () => {
    const [dc, worker] = await start(named(13), { STATUS_PATH: "/status" });
    await using _dc = dc;
    const { status, text } = await worker.fetch("/status?format=json");
    expect([status, JSON.parse(text).answering]).toEqual([200, 13]);
    await expectWithinLimits(worker);
  });
});

describe.concurrent("when a client that goes away takes its invocation along", () => {
  /** Asks as a client of this backend, and hangs up at some time; resolves to what was answered until then. */
  async function leave(worker: Worker, id: string, patience: () => Promise<unknown>): Promise<string> {
    const socket = await rawConnection(worker, head("GET", "/", { Cookie: `aiostreams_backend=${id}` }));
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    await patience();
    socket.resetAndDestroy();
    return answer;
  }

  it("a frozen backend is ejected by clients of whom none waits for longer than half a second", async () => {
    const [dc, worker] = await start(IDS, HINTS_ONLY);
    await using _dc = dc;
    expect(await idOf(worker, boundTo("cf"))).toBe("cf");
    dc.cf.mode = { kind: "hang" };
    const impatient = () => leave(worker, "cf", () => sleep(500));
    let lost = 0;
    while ((await impatient()) === "") expect(++lost, "so many were lost before").toBeLessThan(23);
    expect(lost).toBeGreaterThan(0);
    await until("it is ejected", () => changesOf({ worker }, "cf").length > 0);
    expect((await figuresOf(worker)).filter(({ hasLeft }) => hasLeft).length).toBeGreaterThan(0);
  });

  it("a check that it caused goes on, and what it finds is shared", async () => {
    const [dc, worker] = await start(IDS, { ...HINTS_ONLY, PROBE_AFTER: 100 });
    await using _dc = dc;
    dc.cf.mode = { kind: "hang" };
    await leave(worker, "cf", () => until("it is checked", () => dc.cf.checks > 0));
    await until("it is ejected", () => changesOf({ worker }, "cf").length > 0);
    await until("that is shared", () => [...dc.cache.entries.values()].some((text) => text.includes("no answer")));
    const [figures] = await figuresOf(worker);
    expect(figures).toMatchObject({ hasLeft: true, refused: 0 });
  });

  it("checks by age that it caused go on", async () => {
    const [dc, worker] = await start(IDS, {});
    await using _dc = dc;
    for (const backend of dc.backends) backend.mode = { kind: "frozen" };
    await leave(worker, "cf", () => until("all are checked", () => dc.backends.every(({ checks }) => checks > 0)));
    await until("the client is known to have left", async () => (await figuresOf(worker))[0]?.hasLeft === true);
    for (const backend of dc.backends) backend.mode = { kind: "well" };
    await until("all findings are shared", () =>
      [...dc.cache.entries.values()].some((text) => Object.keys(JSON.parse(text).findings).length === 3),
    );
    expect(ejected(worker)).toEqual([]);
  });

  it("no backend is ejected for it", async () => {
    const [dc, worker] = await start(IDS, HINTS_ONLY);
    await using _dc = dc;
    for (const backend of dc.backends) backend.mode = { kind: "hang", healthy: true };
    for (let i = 1; i <= 10; i++) {
      const asked = () => until("it is asked", () => dc.cf.seen.length === i);
      expect(await leave(worker, "cf", asked)).toBe("");
    }
    await sleep(1_100);
    dc.cf.mode = { kind: "well" };
    expect(await idOf(worker, boundTo("cf"))).toBe("cf");
    await until("it is checked", () => dc.cf.checks > 0);
    expect(await idOf(worker, boundTo("cf"))).toBe("cf");
    expect(worker.log).toEqual([]);
  });
});
