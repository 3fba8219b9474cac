import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Backend } from "../../../src/config.ts";
import { hashText } from "../../../src/hash.ts";
import { clientKey, score } from "../../../src/selection/rendezvous.ts";
import { configWith } from "../sample.ts";

const NONE = { BACKEND_A: "", BACKEND_B: "", BACKEND_C: "" };

/** Backends by name and weight. */
function backendsWith(weights: Readonly<Record<string, number>>): readonly Backend[] {
  const vars = Object.entries(weights).map(([id, weight]) => [`BACKEND_${id}`, `${id}.example.net weight=${weight}`]);
  return configWith({ ...NONE, ...Object.fromEntries(vars) }).backends;
}

/** All backends, in a client's own order. */
function orderOf(ip: string, backends: readonly Backend[]): string[] {
  const keyHash = hashText(clientKey(ip));
  return [...backends].sort((a, b) => score(keyHash, b) - score(keyHash, a)).map(({ id }) => id);
}
const homesOf = (ips: readonly string[], backends: readonly Backend[]) =>
  ips.map((ip) => orderOf(ip, backends)[0] ?? "");

const CLIENTS = Array.from(
  { length: 10_000 },
  (_, n) => `10.${(n * 7) >> 16}.${((n * 7) >> 8) & 255}.${(n * 7) & 255}`,
);

const count = (homes: readonly string[], id: string) => homes.filter((home) => home === id).length;
const weightOf = (weights: Readonly<Record<string, number>>, id: string) => weights[id] ?? 0;
const totalOf = (weights: Readonly<Record<string, number>>) =>
  Object.values(weights).reduce((sum, weight) => sum + weight, 0);

describe("shares of clients", () => {
  it.each([
    { cf: 1, koyeb: 1 },
    { cf: 1, koyeb: 1, duck: 1 },
    { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1 },
    { cf: 2, koyeb: 1, duck: 1 },
    { cf: 1, koyeb: 2, duck: 3 },
    { cf: 5, koyeb: 5, duck: 2 },
    { cf: 10, koyeb: 3, duck: 7, home: 4 },
    { cf: 100, koyeb: 50, duck: 25 },
  ] as Record<string, number>[])("follow the weights within 10 %% over 10,000 clients: %j", (weights) => {
    const homes = homesOf(CLIENTS, backendsWith(weights));
    for (const id of Object.keys(weights)) {
      const share = (CLIENTS.length * weightOf(weights, id)) / totalOf(weights);
      expect(Math.abs(count(homes, id) - share) / share, id).toBeLessThan(0.1);
    }
  });

  it("are those of the ratio of the weights, not of their size", () => {
    const small = homesOf(CLIENTS, backendsWith({ cf: 1, koyeb: 2, duck: 3 }));
    expect(homesOf(CLIENTS, backendsWith({ cf: 30, koyeb: 60, duck: 90 }))).toEqual(small);
  });
});

describe("a weight that changes", () => {
  it.each([
    [
      { cf: 1, koyeb: 1, duck: 1 },
      { cf: 2, koyeb: 1, duck: 1 },
    ],
    [
      { cf: 3, koyeb: 1, duck: 1 },
      { cf: 1, koyeb: 1, duck: 1 },
    ],
    [
      { cf: 1, koyeb: 1, duck: 1 },
      { cf: 100, koyeb: 1, duck: 1 },
    ],
    [
      { cf: 10, koyeb: 3, duck: 7, home: 4 },
      { cf: 10, koyeb: 5, duck: 7, home: 4 },
    ],
  ] as Record<string, number>[][])(
    "from %j to %j moves clients only to or from its backend, and no more than it asks for",
    (before = {}, after = {}) => {
      const changed = Object.keys(before).find((id) => before[id] !== after[id]) ?? "";
      const old = homesOf(CLIENTS, backendsWith(before));
      const homes = homesOf(CLIENTS, backendsWith(after));
      const moved = homes.flatMap((home, n) => (home === old[n] ? [] : [[old[n], home]]));
      const grows = weightOf(after, changed) > weightOf(before, changed);
      expect(moved.filter(([from, to]) => (grows ? to : from) !== changed)).toEqual([]);
      const share = (weights: Record<string, number>) => weightOf(weights, changed) / totalOf(weights);
      const asked = CLIENTS.length * Math.abs(share(after) - share(before));
      expect(moved.length).toBeGreaterThan(asked / 1.1);
      expect(moved.length).toBeLessThan(asked * 1.1);
    },
  );

  it("moves no client between two others, whatever the weights", () => {
    const weights = fc.record({
      cf: fc.integer({ min: 1, max: 100 }),
      duck: fc.integer({ min: 1, max: 100 }),
      koyeb: fc.integer({ min: 1, max: 100 }),
    });
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 100 }), fc.ipV4(), (before, weight, ip) => {
        const [old] = orderOf(ip, backendsWith(before));
        const [home] = orderOf(ip, backendsWith({ ...before, cf: weight }));
        return home === old || (weight > before.cf ? home : old) === "cf";
      }),
      { numRuns: 500 },
    );
  });

  it("changes the order of no two others", () => {
    const weights = fc.record({
      cf: fc.integer({ min: 1, max: 100 }),
      duck: fc.integer({ min: 1, max: 100 }),
      koyeb: fc.integer({ min: 1, max: 100 }),
    });
    const others = (order: string[]) => order.filter((id) => id !== "cf").join();
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 100 }), fc.ipV6(), (before, weight, ip) => {
        return (
          others(orderOf(ip, backendsWith(before))) === others(orderOf(ip, backendsWith({ ...before, cf: weight })))
        );
      }),
      { numRuns: 500 },
    );
  });
});

describe("a backend that leaves", () => {
  it.each([
    { cf: 1, koyeb: 1, duck: 1 },
    { cf: 4, koyeb: 1, duck: 2 },
  ])("moves its own clients only, and spreads them over the others by their weights: %j", (weights) => {
    const all = backendsWith(weights);
    const old = homesOf(CLIENTS, all);
    const homes = homesOf(
      CLIENTS,
      all.filter(({ id }) => id !== "duck"),
    );
    const moved = homes.filter((home, n) => home !== old[n]);
    expect(homes.filter((home, n) => home !== old[n] && old[n] !== "duck")).toEqual([]);
    expect(moved).toHaveLength(count(old, "duck"));
    expect(count(moved, "cf") / count(moved, "koyeb") / (weights.cf / weights.koyeb)).toBeCloseTo(1, 0);
  });

  it("leaves everybody's order of the others as it was", () => {
    const all = backendsWith({ attic: 3, cf: 1, duck: 2, home: 1, koyeb: 7 });
    fc.assert(
      fc.property(fc.ipV4(), fc.constantFrom(...all), (ip, gone) => {
        const without = orderOf(
          ip,
          all.filter((backend) => backend !== gone),
        );
        return (
          without.join() ===
          orderOf(ip, all)
            .filter((id) => id !== gone.id)
            .join()
        );
      }),
    );
  });
});

describe("a client's home", () => {
  it("does not depend on the order of the variables", () => {
    const weights: [string, number][] = [
      ["cf", 1],
      ["koyeb", 3],
      ["duck", 2],
      ["home", 1],
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(weights, { minLength: 4 }), fc.ipV4(), (shuffled, ip) => {
        const order = (entries: [string, number][]) => orderOf(ip, backendsWith(Object.fromEntries(entries))).join();
        return order(shuffled) === order(weights);
      }),
    );
  });

  it("does not depend on where a backend is hosted", () => {
    const ips = CLIENTS.slice(0, 200);
    const moved = configWith({ BACKEND_A: "http://elsewhere.example.org:8080" }).backends;
    expect(homesOf(ips, moved)).toEqual(homesOf(ips, configWith().backends));
  });

  it("is some backend's, whatever the hash", () => {
    const weights = fc.integer({ min: 1, max: 100 });
    const hashes = fc.oneof(fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1), fc.nat(2 ** 32 - 1));
    fc.assert(
      fc.property(hashes, hashes, weights, (keyHash, seed, weight) => {
        const value = score(keyHash, { seed, weight });
        return Number.isFinite(value) && value > 0;
      }),
      { numRuns: 1_000 },
    );
  });
});
