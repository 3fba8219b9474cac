import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { DataCentre, Traffic } from "../support/data-centre.ts";
import { boundTo, HINTS_ONLY, SECRET } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";
import type { LogLine, Options, Worker } from "../support/worker.ts";

/** What an isolate does not find out with these variables by its own requests, it has from another isolate. */
const FINDS_NOTHING = HINTS_ONLY;

function changes(worker: Worker, id: string): LogLine[] {
  return worker.log.filter(({ event, backend }) => backend === id && (event === "ejected" || event === "back"));
}

async function untilLast(event: string, workers: readonly Worker[]): Promise<void> {
  const isLast = (worker: Worker) => changes(worker, "cf").at(-1)?.event === event;
  await until(`cf is ${event} everywhere`, () => workers.every(isLast));
}

async function servedBy(worker: Worker, options: Options): Promise<string> {
  const { status, text } = await worker.fetch("/who", options);
  expect(status, text).toBe(200);
  return (JSON.parse(text) as Echo).id;
}

async function untilShared(dc: DataCentre): Promise<void> {
  const texts = () => [...dc.cache.entries.values()];
  await until("the finding is shared", () => texts().some((text) => text.includes("no answer")));
}

/**
 * The session that the first of these isolates gives to a client of `cf` without asking `cf`. Each waits for the cache for no
 * more than 100 ms, which may not be enough on a machine that is busy; but whoever does not wait always asks.
 */
async function avoiding(dc: DataCentre, isolates: readonly Worker[]): Promise<string | undefined> {
  for (const isolate of isolates) {
    const asked = dc.cf.seen.length;
    const { session } = await isolate.fetch("/", boundTo("cf"));
    if (dc.cf.seen.length === asked) return session;
  }
  return undefined;
}

describe.concurrent("a finding", () => {
  it.each([
    ["killed", (dc: DataCentre) => dc.cf.kill(), (dc: DataCentre) => dc.cf.start()],
    [
      "frozen",
      (dc: DataCentre) => {
        dc.cf.mode = { kind: "hang" };
      },
      (dc: DataCentre) => {
        dc.cf.mode = { kind: "well" };
      },
    ],
  ])(
    "of a backend that was %s, and of its return, is soon known to every isolate, for one that found out",
    async (_, fail, heal) => {
      await using dc = await DataCentre.start({ PROBE_AFTER: 100 });
      const finder = await dc.isolate({ BACKEND_DOWN_TIME: 300 });
      const others = await Promise.all([dc.isolate(FINDS_NOTHING), dc.isolate(FINDS_NOTHING)]);
      await using _finders = Traffic.begin(finder, boundTo("cf"));
      await using _duck = Traffic.begin(others[0], boundTo("duck"));
      await using _koyeb = Traffic.begin(others[1], boundTo("koyeb"));
      await until("there is traffic", () => dc.backends.every(({ seen }) => seen.length > 0));

      await fail(dc);
      await untilLast("ejected", [finder]);
      const asked = dc.cf.seen.length;
      await untilLast("ejected", others);
      for (const other of others) expect(await servedBy(other, boundTo("cf"))).not.toBe("cf");
      expect(dc.cf.seen).toHaveLength(asked);

      await heal(dc);
      await untilLast("back", [finder]);
      await untilLast("back", others);
      for (const other of others) expect(await servedBy(other, boundTo("cf"))).toBe("cf");

      for (const other of others) expect(changes(other, "cf")).toMatchObject([{ shared: true }, { shared: true }]);
      expect(changes(finder, "cf").filter((line) => "shared" in line)).toEqual([]);
    },
  );

  it("is known to an isolate before its first selection, which avoids the dead backend and moves the session", async () => {
    await using dc = await DataCentre.start({ PROBE_AFTER: 100, BACKEND_DOWN_TIME: 3_600_000 });
    const finder = await dc.isolate();
    dc.cf.mode = { kind: "hang" };
    await servedBy(finder, boundTo("cf"));
    await untilShared(dc);
    const isolates = await Promise.all([dc.isolate(), dc.isolate(), dc.isolate()]);
    expect(await avoiding(dc, isolates)).toMatch(/duck|koyeb/);
  });

  it("is read before the selection also by an isolate that was idle for longer than findings are good for", async () => {
    await using dc = await DataCentre.start({ PROBE_AFTER: 100 });
    const finder = await dc.isolate({ BACKEND_DOWN_TIME: 3_600_000 });
    const isolates = await Promise.all(Array.from({ length: 3 }, () => dc.isolate(FINDS_NOTHING)));
    for (const idle of isolates) await servedBy(idle, boundTo("cf"));
    const idleSinceMs = Date.now();
    dc.cf.mode = { kind: "hang" };
    await servedBy(finder, boundTo("cf"));
    await untilShared(dc);
    await sleep(idleSinceMs + 5_500 - Date.now());
    expect(await avoiding(dc, isolates)).toMatch(/duck|koyeb/);
  });

  it("is not lost where two isolates write at the same moment", async () => {
    // A failure that may not be retried makes each of them check one backend and no other.
    await using dc = await DataCentre.start({ ...FINDS_NOTHING, MAX_RETRIES: 0 });
    const isolates = await Promise.all([dc.isolate(), dc.isolate()]);
    for (const isolate of isolates) await servedBy(isolate, boundTo("koyeb"));
    dc.cf.mode = { kind: "status", status: 503 };
    dc.duck.mode = { kind: "status", status: 503 };
    dc.cache.mode = { kind: "slow", ms: 500 };
    const answers = [isolates[0].fetch("/", boundTo("cf")), isolates[1].fetch("/", boundTo("duck"))];
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([503, 503]);
    await until("both have written", () => dc.cache.writes.length === 2);
    const writes = dc.cache.writes.map(({ text }) => Object.keys(JSON.parse(text).findings));
    expect(writes.sort(), "neither had read what the other wrote").toEqual([["cf"], ["duck"]]);
    dc.cache.mode = { kind: "well" };

    await using _first = Traffic.begin(isolates[0], boundTo("koyeb"));
    await using _second = Traffic.begin(isolates[1], boundTo("koyeb"));
    for (const isolate of isolates) {
      await until("it knows both", () => ["cf", "duck"].every((id) => changes(isolate, id).length === 1));
    }
  });

  it("is not lost for good where the cache loses it more than once", async () => {
    await using dc = await DataCentre.start();
    const [finder, other] = await Promise.all([dc.isolate(HINTS_ONLY), dc.isolate(FINDS_NOTHING)]);
    dc.cache.mode = { kind: "status", status: 413 };
    await dc.cf.kill();
    await servedBy(finder, boundTo("cf"));
    await using _finders = Traffic.begin(finder, boundTo("duck"));
    const losses = () => dc.cache.writes.filter(({ text }) => text.includes("network error")).length;
    await until("its first write and one more are lost", () => losses() >= 2);
    dc.cache.mode = { kind: "well" };
    await using _others = Traffic.begin(other, boundTo("duck"));
    await untilLast("ejected", [other]);
    expect(changes(other, "cf")).toMatchObject([{ shared: true }]);
  });

  it("from the future counts as one of now, so that the next check overrules it", async () => {
    await using dc = await DataCentre.start({ HEALTH_CHECK_INTERVAL: 0, BACKEND_DOWN_TIME: 100 });
    const finding = { result: "bad status", status: 503, tookMs: 5, atMs: Date.now() + 3_600_000 };
    dc.cache.mode = { kind: "contents", text: JSON.stringify({ findings: { cf: finding } }) };
    const isolate = await dc.isolate();
    await using _traffic = Traffic.begin(isolate, boundTo("duck"));
    await until("it counts", () => changes(isolate, "cf").length > 0);
    expect(changes(isolate, "cf")[0]).toMatchObject({ event: "ejected", shared: true });
    dc.cache.mode = { kind: "well" };
    await untilLast("back", [isolate]);
    expect(await servedBy(isolate, boundTo("cf"))).toBe("cf");
  });
});

describe.concurrent("the entry", () => {
  it("holds ids, results, statuses and times, and no host name, path or secret", async () => {
    await using dc = await DataCentre.start({ HEALTH_CHECK_PATH: `/${SECRET}/health` });
    const isolate = await dc.isolate();
    dc.cf.mode = { kind: "status", status: 503 };
    await dc.duck.kill();
    const headers = { Authorization: SECRET, Cookie: `aiostreams_backend=cf; a=${SECRET}` };
    await isolate.fetch(`/stremio/${SECRET}/manifest.json?key=${SECRET}`, { headers, ip: "192.0.2.77" });
    const findings = () => [...dc.cache.entries.values()].map((text) => JSON.parse(text).findings);
    await until("all is shared", () => Object.keys(findings()[0] ?? {}).length === 3);

    const made = { tookMs: expect.any(Number), atMs: expect.any(Number) };
    expect(findings()).toEqual([
      {
        cf: { result: "bad status", status: 503, ...made },
        duck: { result: "network error", status: null, ...made },
        koyeb: { result: "good", status: 200, ...made },
      },
    ]);
    const all = JSON.stringify(dc.cache.operations);
    expect(all).not.toContain(SECRET);
    expect(all).not.toMatch(/127\.0\.0\.1|localhost|health|stremio|192\.0\.2/);
    for (const { port } of dc.backends) expect(all).not.toContain(String(port));
  });

  it.each([
    ["other backends", (other: DataCentre) => ({ vars: { BACKEND_CF: other.cf.url, BACKEND_DUCK: other.duck.url } })],
    ["one backend more", (other: DataCentre) => ({ vars: { BACKEND_OTHER: other.cf.url } })],
    [
      "the same backends by other names",
      (_: DataCentre, { cf, duck }: DataCentre) => ({ vars: { BACKEND_CF: duck.url, BACKEND_DUCK: cf.url } }),
    ],
    ["another HEALTH_CHECK_PATH", () => ({ vars: { HEALTH_CHECK_PATH: "/" } })],
  ])("of a Worker is never read by one of the same zone with %s", async (_, change) => {
    await using dc = await DataCentre.start(FINDS_NOTHING);
    await using others = await DataCentre.start();
    const [one, other] = await Promise.all([dc.isolate(), dc.isolate(change(others, dc).vars)]);
    dc.cf.mode = { kind: "status", status: 503, healthStatus: 503 };
    await servedBy(one, boundTo("cf"));
    await until("the finding is shared", () => dc.cache.writes.length > 0);
    dc.cf.mode = { kind: "well" };
    expect(await servedBy(other, boundTo("cf"))).not.toBe("");
    expect((await other.fetch("/", boundTo("cf"))).session, "cf is not taken for dead").toBeUndefined();
    const [mine, theirs] = [dc.cache.writes, dc.cache.readings].map((all) => new Set(all.map(({ url }) => url)));
    expect(mine?.size).toBe(1);
    expect(theirs?.size).toBe(2);
  });
});

describe.concurrent("sharing", () => {
  it("costs a burst of requests one reading in 2 s and isolate, and one write for each finding", async () => {
    await using dc = await DataCentre.start({ HEALTH_CHECK_INTERVAL: 1_000 });
    const isolates = await Promise.all([dc.isolate(), dc.isolate({ BACKEND_DUCK: "" })]);
    const untilMs = Date.now() + 5_000;
    let requests = 0;
    const burst = async (isolate: Worker) => {
      for (; Date.now() < untilMs; requests++) await servedBy(isolate, boundTo("koyeb"));
    };
    await Promise.all([...isolates, ...isolates, ...isolates, ...isolates].map(burst));
    expect(requests).toBeGreaterThan(50);

    // With other backends each of them has an entry of its own, and so has its operations.
    const urls = new Set(dc.cache.operations.map(({ url }) => url));
    expect(urls.size).toBe(2);
    for (const url of urls) {
      const readings = dc.cache.readings.filter((reading) => reading.url === url);
      expect(readings.length).toBeGreaterThan(1);
      expect(readings.length).toBeLessThanOrEqual(4);
      const writes = dc.cache.writes.filter((write) => write.url === url);
      const findings = new Set<string>();
      for (const { text } of writes) {
        for (const [id, { atMs }] of Object.entries<{ atMs: number }>(JSON.parse(text).findings))
          findings.add(`${id} ${atMs}`);
      }
      expect(writes.length).toBeGreaterThan(0);
      expect(writes.length).toBeLessThanOrEqual(findings.size);
    }
  });

  it("makes nobody but a cold isolate's first request wait, however slow the cache is", async () => {
    await using dc = await DataCentre.start();
    const isolate = await dc.isolate();
    await servedBy(isolate, boundTo("cf"));
    dc.cache.mode = { kind: "hang" };
    const traffic = Traffic.begin(isolate, boundTo("cf"));
    await until("it was read twice more", () => dc.cache.readings.length >= 3);
    // Nobody would ever be answered who waits for it.
    for (const { status } of await traffic.end()) expect(status).toBe(200);
  });

  it("makes the first request of a cold isolate wait for 100 ms and no longer where the cache hangs, and no other", async () => {
    await using well = await DataCentre.start();
    await using hung = await DataCentre.start();
    hung.cache.mode = { kind: "hang" };
    // Side by side, so that whatever else the machine does delays both alike.
    const [usual, slow] = await Promise.all([well, hung].map(async (dc) => twentyInTurn(await dc.isolate())));
    expect(slow?.firstMs).toBeGreaterThan(90);
    expect(slow?.firstMs).toBeLessThan((usual?.firstMs ?? 0) + 1_000);
    expect(slow?.laterMs).toBeLessThan((usual?.laterMs ?? 0) + 1_000);

    async function twentyInTurn(isolate: Worker) {
      const startedMs = performance.now();
      await servedBy(isolate, boundTo("cf"));
      const answeredMs = performance.now();
      for (let i = 1; i < 20; i++) await servedBy(isolate, boundTo("cf"));
      return { firstMs: answeredMs - startedMs, laterMs: performance.now() - answeredMs };
    }
  });

  it("does nothing at all with SHARE_HEALTH=false", async () => {
    await using dc = await DataCentre.start({ SHARE_HEALTH: "false", STATUS_PATH: "/status" });
    const isolate = await dc.isolate();
    dc.cf.mode = { kind: "status", status: 503 };
    await servedBy(isolate, boundTo("cf"));
    await untilLast("ejected", [isolate]);
    expect((await isolate.fetch("/status")).status).toBe(200);
    await using _traffic = Traffic.begin(isolate, boundTo("duck"));
    const sinceMs = Date.now();
    await until("an isolate that shares would have read again", () => Date.now() - sinceMs > 2_500);
    expect(dc.cache.operations).toEqual([]);
  });
});
