import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { healthOf, mergeEjections, newHealth, RESULT_KINDS, takeResult } from "../../../src/health/health-state.ts";
import {
  ENTRY_BYTES_MAX,
  entryUrl,
  formatEntry,
  parseEntry,
  readEntry,
  writeEntry,
} from "../../../src/health/shared.ts";
import { anyText, configWith, VARS } from "../sample.ts";
import { DOWN_TIME_MS, found, take } from "./given.ts";

const NOW_MS = 1_790_000_000_000;
const NUMBERS = Array.from({ length: 30 }, (_, n) => n);
const config = configWith({ BACKEND___PROTO__: "proto.example.net", HEALTH_CHECK_PATH: "/secret-route" });

const health = newHealth(0, 0);
takeResult(healthOf(health, "a"), found("good", NOW_MS - 5, 3), NOW_MS, DOWN_TIME_MS);
mergeEjections(
  healthOf(health, "a"),
  { result: found("good", 0), ejectionsMs: [NOW_MS - 90_000, NOW_MS - 60_000] },
  NOW_MS,
);
takeResult(healthOf(health, "b"), found("no answer", NOW_MS, 3_000), NOW_MS, DOWN_TIME_MS);
take(healthOf(health, "gone"), "good", NOW_MS);

/** What another isolate reads of it. */
const SHARED = new Map([
  ["a", { result: found("good", NOW_MS - 5, 3), ejectionsMs: [NOW_MS - 90_000, NOW_MS - 60_000] }],
  ["b", { result: found("no answer", NOW_MS, 3_000), ejectionsMs: [NOW_MS] }],
]);
const ENTRY = formatEntry(config, health);

describe("the name of the entry", () => {
  const nameWith = (vars: Readonly<Record<string, unknown>>) => entryUrl(configWith(vars));

  it("is an address of the public domain, which a zone's cache may hold", () => {
    expect(nameWith({})).toMatch(/^https:\/\/aiostreams\.example\.com\/health-[0-9a-f]{2,16}$/);
  });

  it.each([
    ["another backend", { BACKEND_D: "d.example.net" }, true],
    ["one backend less", { BACKEND_C: "" }, true],
    ["another id", { BACKEND_C: "", BACKEND_D: "c.example.net" }, true],
    ["another port", { BACKEND_C: "c.example.net:8443" }, true],
    ["another scheme", { BACKEND_C: "http://c.example.net" }, true],
    ["two origins exchanged", { BACKEND_A: VARS.BACKEND_B, BACKEND_B: VARS.BACKEND_A }, true],
    ["another route", { HEALTH_CHECK_PATH: "/health", HEALTH_CHECK_EXPECT: '"success":true' }, true],
    ["another text that it has to contain", { HEALTH_CHECK_EXPECT: "OK" }, true],
    ["another weight, which changes no result", { BACKEND_C: "c.example.net weight=5" }, false],
    ["other times, which change no result", { HEALTH_CHECK_INTERVAL: 5_000, BACKEND_DOWN_TIME: 1 }, false],
  ])("is another one with %s: %j", (_, vars, isAnother) => {
    expect(nameWith(vars) !== nameWith({})).toBe(isAnother);
  });
});

describe("an entry", () => {
  it("says of each configured backend its last result and its ejections, and is read as it was written", () => {
    expect(parseEntry(ENTRY, config, NOW_MS)).toEqual(SHARED);
    expect(Object.keys(JSON.parse(ENTRY))).toEqual(["a", "b"]);
  });

  it("holds no host name and no path", () => {
    expect(ENTRY).not.toMatch(/example|secret|http|\//);
  });

  it("of two hundred backends is small enough to be read, and holds twenty ejections of each at most", () => {
    const names = Array.from({ length: 200 }, (_, n) => [`BACKEND_${n}`, `backend${n}.example.net`]);
    const many = configWith(Object.fromEntries(names));
    const known = newHealth(0, 0);
    for (const { id } of many.backends) take(healthOf(known, id), "unexpected answer", NOW_MS);
    expect(formatEntry(many, known).length).toBeLessThan(ENTRY_BYTES_MAX / 2);
    healthOf(known, "1").ejectionsMs = NUMBERS;
    expect(JSON.parse(formatEntry(many, known))[1].ejectionsMs).toEqual(NUMBERS.slice(-20));
  });
});

describe("an entry may hold anything:", () => {
  const parsed = (entry: unknown) => parseEntry(JSON.stringify(entry), config, NOW_MS);

  it.each<[string, unknown[]]>([
    ["kind", ["excellent", ["good"], undefined]],
    ["status", ["200", 99, 1_000, undefined]],
    ["atMs", ["1", -1, undefined, NOW_MS + 5_001]],
    ["tookMs", [-1, 60_001, null]],
  ])("a result whose %s is none, such as %j, is left out, and the others are not", (name, values) => {
    for (const value of values) {
      const result = { ...found("good", NOW_MS), [name]: value };
      expect([...parsed({ a: { result }, b: SHARED.get("b") }).keys()]).toEqual(["b"]);
    }
  });

  it("a clock that is 5 s ahead is believed, but of the moment itself", () => {
    const result = { ...found("good", NOW_MS, 60_000), status: 999 };
    const entry = { result: { ...result, atMs: NOW_MS + 5_000 }, ejectionsMs: [NOW_MS + 5_000] };
    expect(parsed({ a: entry }).get("a")).toEqual({ ...entry, result });
  });

  it.each([
    ["no list", "often", []],
    ["absent", undefined, []],
    ["partly nonsense", [1, "2", null, -3, NOW_MS + 5_001, 4], [1, 4]],
    ["more than twenty, of which the last count", NUMBERS, NUMBERS.slice(-20)],
  ])("ejections that are %s", (_, ejectionsMs, read) => {
    expect(parsed({ a: { result: found("good", 1), ejectionsMs } }).get("a")?.ejectionsMs).toEqual(read);
  });

  it.each(["", "{", "null", "[]", '"a"', "1e999", '{"a":null}', '{"a":[1]}', '{"__proto__":1}', "[".repeat(60_000)])(
    "%.20s is no result of any backend",
    (text) => {
      expect(parseEntry(text, config, NOW_MS).size).toBe(0);
    },
  );

  it("whatever it is, it yields results of configured backends alone, none of the future, and never throws", () => {
    const edges = fc.constantFrom(0, 99, 100, 999, 1_000, 60_001, NOW_MS, NOW_MS + 5_001, 2 ** 53, -1);
    const value = fc.oneof({ weight: 8, arbitrary: edges }, fc.double(), fc.jsonValue({ maxDepth: 2 }));
    const kind = fc.constantFrom(...RESULT_KINDS);
    const shared = fc.record({
      result: fc.record({ kind, status: value, tookMs: value, atMs: value }),
      ejectionsMs: value,
    });
    const ids = config.backends.map(({ id }) => id);
    const entry = fc.dictionary(fc.constantFrom(...ids, "z", "constructor", "toString"), fc.oneof(shared, value));
    const text = fc.oneof({ weight: 4, arbitrary: entry.map((all) => JSON.stringify(all)) }, fc.json(), anyText);
    fc.assert(
      fc.property(text, (any) => {
        for (const [id, { result, ejectionsMs }] of parseEntry(any, config, NOW_MS)) {
          expect(ids).toContain(id);
          expect(Math.max(result.atMs, ...ejectionsMs)).toBeLessThanOrEqual(NOW_MS + 5_000);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("the cache", () => {
  const stub = (cache: Readonly<Record<string, unknown>>) => {
    const open = vi.fn(async () => cache);
    vi.stubGlobal("caches", { open });
    return open;
  };
  const fails = () => Promise.reject(new Error("internal error"));
  const throws = () => {
    throw new Error("no cache");
  };
  const half = { headers: new Headers(), text: fails };

  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it("gives what another isolate has put there under the same name, for a day", async () => {
    vi.useFakeTimers({ now: NOW_MS });
    const kept = new Map<string, Response>();
    const open = stub({
      put: async (url: string, response: Response) => void kept.set(url, response),
      match: async (url: string) => kept.get(url)?.clone(),
    });
    await writeEntry(config, health);
    expect(await readEntry(config)).toEqual(SHARED);
    expect([...kept.keys()]).toEqual([entryUrl(config)]);
    expect(kept.get(entryUrl(config))?.headers.get("Cache-Control")).toBe("max-age=86400");
    expect(new Set(open.mock.calls.flat())).toEqual(new Set(["aiostreams-load-balancer"]));
  });

  it.each<[string, unknown]>([
    ["is absent", undefined],
    ["cannot be opened", { open: fails }],
    ["fails", { open: async () => ({ match: fails, put: fails }) }],
    ["has no entry", { open: async () => ({ match: async () => undefined, put: fails }) }],
    ["throws", { open: throws }],
    ["breaks halfway", { open: async () => ({ match: async () => half, put: fails }) }],
  ])("that %s gives nothing, and throws nothing", async (_, caches) => {
    vi.stubGlobal("caches", caches);
    expect(await readEntry(config)).toBeUndefined();
    await expect(writeEntry(config, health)).resolves.toBeUndefined();
  });

  it("gives an entry of 64 KiB, and not a byte more, which it lets go unread", async () => {
    const cancel = vi.fn();
    const readOf = (length: number) => {
      const body = new ReadableStream({ cancel, start: (controller) => controller.enqueue(new Uint8Array(1)) });
      const isRead = length <= ENTRY_BYTES_MAX;
      const headers = { "Content-Length": `${length}` };
      stub({ match: async () => new Response(isRead ? ENTRY.padEnd(length) : body, { headers }) });
      return readEntry(config);
    };
    expect((await readOf(64 * 1024))?.size).toBe(2);
    expect(await readOf(64 * 1024 + 1)).toBeUndefined();
    expect(cancel).toHaveBeenCalledOnce();
  });
});
