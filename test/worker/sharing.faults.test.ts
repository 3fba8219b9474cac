import { describe, expect, it } from "vitest";
import type { CacheMode } from "../support/cache-service.ts";
import { DataCentre, type Passed, Traffic } from "../support/data-centre.ts";
import { boundTo } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";
import type { Worker } from "../support/worker.ts";

/** An isolate reads every 2 s while there is traffic. */
const ONE_READING_MS = 2_500;

const now = Date.now();
const BAD = { result: "bad status", status: 503, tookMs: 5, atMs: now };

/** What stands there instead of an entry; none of it is a finding of `cf`. */
const CONTENTS: Readonly<Record<string, string>> = {
  nothing: "",
  "no JSON": '{"findings":{"cf":{"result":"bad st',
  "bytes that are no text": "\0\xff\xfe\r\n",
  null: "null",
  "a number": "1e999",
  "a list": JSON.stringify([{ findings: { cf: BAD } }]),
  "a list of findings": JSON.stringify({ findings: [BAD] }),
  "a list as a finding": JSON.stringify({ findings: { cf: [BAD] } }),
  "another version's shape": JSON.stringify({ version: 2, backends: { cf: BAD } }),
  "an unknown result": JSON.stringify({ findings: { cf: { ...BAD, result: "worse" } } }),
  "numbers as text": JSON.stringify({ findings: { cf: { ...BAD, status: "503", tookMs: "5", atMs: String(now) } } }),
  "huge numbers": `{"findings":{"cf":{"result":"bad status","status":503,"tookMs":5,"atMs":1e999}}}`,
  "times before all time": JSON.stringify({ findings: { cf: { ...BAD, atMs: -1 } } }),
  "a check of a month": JSON.stringify({ findings: { cf: { ...BAD, tookMs: 3e9 } } }),
  "unknown ids": JSON.stringify({ findings: { nobody: BAD, CF: BAD, "": BAD, 0: BAD } }),
  "names of an object's own": `{"findings":{"__proto__":{"cf":${JSON.stringify(BAD)}},"constructor":1,"toString":[]}}`,
  "10,000 nested lists": "[".repeat(10_000) + "]".repeat(10_000),
  "10 MB that begin well": `{"findings":{"cf":${JSON.stringify(BAD)}},"more":"${"x".repeat(10_000_000)}"}`,
};

const MODES: Readonly<Record<string, CacheMode>> = {
  "takes 5 s": { kind: "slow", ms: 5_000 },
  "never answers": { kind: "hang" },
  "sends half an answer": { kind: "stall" },
  "answers 500": { kind: "status", status: 500 },
  "answers 413": { kind: "status", status: 413 },
  "resets its connections": { kind: "reset" },
};

/** An isolate with a cache like this serves everybody as if there was none, and finds out itself what there is to find out. */
async function expectUntroubled(dc: DataCentre, isolate: Worker): Promise<void> {
  const ejections = () => isolate.log.filter(({ event }) => event === "ejected" || event === "back");
  const first = Traffic.begin(isolate, boundTo("cf"));
  await until("there is traffic", () => first.passed.length >= 5);
  for (const { session } of expectPrompt(await first.end())) expect(session).toBeUndefined();
  expect(ejections()).toEqual([]);

  await dc.cf.kill();
  expect((await isolate.fetch("/", boundTo("cf"))).status).toBe(200);
  await until("cf is ejected", () => ejections().length > 0);

  await using later = Traffic.begin(isolate, boundTo("cf"));
  const sinceMs = Date.now();
  await until("it would have been read once more", () => Date.now() - sinceMs > ONE_READING_MS);
  for (const { session } of expectPrompt(await later.end())) expect(session).toMatch(/duck|koyeb/);
  expect(ejections()).toMatchObject([{ event: "ejected", backend: "cf" }]);
}

function expectPrompt(all: readonly Passed[]): readonly Passed[] {
  expect(all.length).toBeGreaterThan(0);
  for (const { status, text, tookMs } of all) {
    expect(status, text).toBe(200);
    // Who waits for the cache waits for 5 s or for ever.
    expect(tookMs).toBeLessThan(5_000);
  }
  return all;
}

describe.concurrent("nobody notices a cache", () => {
  it.each(Object.entries(MODES))("that %s", async (_, mode) => {
    await using dc = await DataCentre.start();
    dc.cache.mode = mode;
    await expectUntroubled(dc, await dc.isolate());
    expect(dc.cache.readings.length).toBeGreaterThan(1);
  });

  it.each(Object.entries(CONTENTS))("that holds %s", async (_, text) => {
    await using dc = await DataCentre.start();
    dc.cache.mode = { kind: "contents", text };
    await expectUntroubled(dc, await dc.isolate());
    expect(dc.cache.readings.length).toBeGreaterThan(1);
  });

  it("that is not there", async () => {
    await using dc = await DataCentre.start();
    await dc.cache.stop();
    await expectUntroubled(dc, await dc.isolate());
  });

  it("that the platform does not have", async () => {
    await using dc = await DataCentre.start();
    await expectUntroubled(dc, await dc.isolate({}, {}));
    expect(dc.cache.operations).toEqual([]);
  });
});
