import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Config } from "../../../src/config.ts";
import { CHECK_RESULTS, type Finding, healthOf, newHealth, takeFinding } from "../../../src/health/findings.ts";
import { ENTRY_BYTES_MAX, entryUrl, formatEntry, parseEntry } from "../../../src/health/shared.ts";
import { anyText, configWith, VARS } from "../sample.ts";
import { found } from "./given.ts";

const NOW_MS = 1_790_000_000_000;
const config = configWith({ BACKEND___PROTO__: "proto.example.net", HEALTH_CHECK_PATH: "/secret-route" });
const IDS = config.backends.map(({ id }) => id);

function healthWith(findings: Readonly<Record<string, Finding>>) {
  const health = newHealth(0);
  for (const [id, finding] of Object.entries(findings)) takeFinding(healthOf(health, id), finding, NOW_MS, false);
  return health;
}
const parsed = (findings: unknown) => parseEntry(JSON.stringify({ findings }), config, NOW_MS);

describe("the entry's name", () => {
  const nameWith = (vars: Record<string, unknown>) => entryUrl(configWith(vars));
  const name = nameWith({});

  it("is an address of the public domain, which a zone's cache may hold", () => {
    expect(name).toMatch(/^https:\/\/aiostreams\.example\.com\/findings-[0-9a-f]{2,16}$/);
  });

  it.each([
    ["another backend", { BACKEND_D: "d.example.net" }],
    ["one backend less", { BACKEND_C: "" }],
    ["another origin", { BACKEND_C: "c2.example.net" }],
    ["another port", { BACKEND_C: "c.example.net:8443" }],
    ["another scheme", { BACKEND_C: "http://c.example.net" }],
    ["another id", { BACKEND_C: "", BACKEND_D: "c.example.net" }],
    ["two origins exchanged", { BACKEND_A: VARS.BACKEND_B, BACKEND_B: VARS.BACKEND_A }],
    ["another route to check by", { HEALTH_CHECK_PATH: "/health" }],
    ["another domain", { PRIMARY_DOMAIN: "other.example.com" }],
  ])("is another one with %s", (_, vars) => {
    expect(nameWith(vars)).not.toBe(name);
  });

  it.each([
    ["a weight", { BACKEND_C: "c.example.net weight=5" }],
    ["a backup", { BACKEND_C: "c.example.net backup" }],
    ["a time", { HEALTH_CHECK_INTERVAL: 5_000, BACKEND_DOWN_TIME: 1 }],
  ])("is the same with %s, which changes nothing that was found", (_, vars) => {
    expect(nameWith(vars)).toBe(name);
  });
});

describe("an entry", () => {
  const findings: fc.Arbitrary<Finding> = fc.record({
    result: fc.constantFrom(...CHECK_RESULTS),
    status: fc.oneof(fc.constant(null), fc.integer({ min: 100, max: 599 })),
    tookMs: fc.integer({ min: 0, max: 6_000 }),
    atMs: fc.integer({ min: 0, max: NOW_MS }),
  });

  it("is read as it was written", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(fc.constantFrom(...IDS), findings), { selector: ([id]) => id }), (known) => {
        const health = newHealth(0);
        for (const [id, finding] of known) takeFinding(healthOf(health, id), finding, NOW_MS, false);
        expect(parseEntry(formatEntry(config, health), config, NOW_MS)).toEqual(new Map(known));
      }),
    );
  });

  it("holds no host name and no path", () => {
    const text = formatEntry(config, healthWith({ a: found("bad status", 1), b: found("good", 2) }));
    expect(text).toContain('"bad status"');
    expect(text).not.toMatch(/example|secret|http|\//);
  });

  it("holds what is known of configured backends, and of no other", () => {
    const text = formatEntry(config, healthWith({ a: found("good", 1), gone: found("good", 1) }));
    expect(Object.keys(JSON.parse(text).findings)).toEqual(["a"]);
  });

  it("of two hundred backends is small enough to be read", () => {
    const names = Array.from({ length: 200 }, (_, n) => `long_name_of_a_backend_${n}`);
    const many = configWith(Object.fromEntries(names.map((name) => [`BACKEND_${name}`, `${name}.example.net`])));
    const all = Object.fromEntries(
      many.backends.map(({ id }) => [id, { ...found("network error", NOW_MS), tookMs: 3_000 }]),
    );
    expect(formatEntry(many, healthWith(all)).length).toBeLessThan(ENTRY_BYTES_MAX / 2);
  });
});

describe("an entry that may hold anything", () => {
  it("counts a time from the future as now", () => {
    expect(parsed({ a: found("good", NOW_MS + 60_000) }).get("a")?.atMs).toBe(NOW_MS);
  });

  it("keeps what is good of it", () => {
    expect([...parsed({ a: found("good", 1), b: "nonsense" }).keys()]).toEqual(["a"]);
  });

  it("knows no backend that is not configured", () => {
    expect(parsed({ z: found("good", 1), constructor: found("good", 1), "": found("good", 1) }).size).toBe(0);
  });

  it("inherits nothing", () => {
    const text = `{"findings":{"a":{"__proto__":${JSON.stringify(found("good", 1))}}},"__proto__":{"findings":{}}}`;
    expect(parseEntry(text, config, NOW_MS).size).toBe(0);
    expect(parseEntry('{"findings":{}}', config, NOW_MS).size).toBe(0);
  });

  it.each([
    ["a result that there is none of", { result: "excellent" }],
    ["a result that is a list", { result: ["good"] }],
    ["no result", { result: undefined }],
    ["a status that is text", { status: "200" }],
    ["a status that there is none of", { status: 1e9 }],
    ["a negative status", { status: -200 }],
    ["no status", { status: undefined }],
    ["a time that is text", { atMs: "1" }],
    ["a time before all time", { atMs: -1 }],
    ["a time beyond all numbers", { atMs: 1e300 }],
    ["no time", { atMs: undefined }],
    ["a negative duration", { tookMs: -1 }],
    ["a duration of an hour", { tookMs: 3_600_000 }],
    ["no duration", { tookMs: null }],
  ])("leaves out a finding with %s", (_, wrong) => {
    expect(parsed({ a: { ...found("good", 1), ...wrong } }).size).toBe(0);
  });

  it.each(["", "{", "null", "[]", '"findings"', "1e999", '{"findings":null}', '{"findings":[1]}', "[".repeat(60_000)])(
    "is empty when it is %.20s",
    (text) => {
      expect(parseEntry(text, config, NOW_MS).size).toBe(0);
    },
  );

  const isValid = (read: ReadonlyMap<string, Finding>, { backends }: Config) =>
    [...read].every(
      ([id, { result, status, tookMs, atMs, ...more }]) =>
        backends.some((backend) => backend.id === id) &&
        CHECK_RESULTS.includes(result) &&
        (status === null || (status >= 100 && status <= 999)) &&
        tookMs >= 0 &&
        tookMs <= 60_000 &&
        atMs >= 0 &&
        atMs <= NOW_MS &&
        Object.keys(more).length === 0,
    );

  it("never throws, whatever the text", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, fc.json()), (text) => isValid(parseEntry(text, config, NOW_MS), config)),
      { numRuns: 1_000 },
    );
  });

  it("yields nothing but findings of configured backends, none in the future, whatever the JSON", () => {
    const numbers = fc.constantFrom(
      0,
      1,
      99,
      100,
      200,
      999,
      1_000,
      60_000,
      60_001,
      NOW_MS,
      NOW_MS + 1,
      2 ** 53,
      1e308,
      -1,
    );
    const anything = fc.oneof({ weight: 8, arbitrary: numbers }, fc.double(), fc.jsonValue({ maxDepth: 2 }));
    const near = fc.record(
      { result: fc.constantFrom(...CHECK_RESULTS), status: anything, tookMs: anything, atMs: anything, more: anything },
      { requiredKeys: ["result", "status", "tookMs", "atMs"] },
    );
    const ids = fc.constantFrom(...IDS, "z", "constructor", "toString");
    const entries = fc.dictionary(ids, fc.oneof({ weight: 4, arbitrary: near }, anything));
    let read = 0;
    fc.assert(
      fc.property(entries, (given) => {
        const findings = parsed(given);
        read += findings.size;
        return isValid(findings, config);
      }),
      { numRuns: 1_000 },
    );
    expect(read, "Otherwise nothing was tried.").toBeGreaterThan(10);
  });
});
