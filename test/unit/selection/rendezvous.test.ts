import fc from "fast-check";
import { expect, it } from "vitest";
import type { Backend } from "../../../src/config.ts";
import { hashText } from "../../../src/hash.ts";
import { clientKey, score } from "../../../src/selection/rendezvous.ts";
import { configWith } from "../sample.ts";

type Weights = Readonly<Record<string, number>>;

const NONE = { BACKEND_A: "", BACKEND_B: "", BACKEND_C: "" };

function backendsWith(weights: Weights): readonly Backend[] {
  const vars = Object.entries(weights).map(([id, weight]) => [`BACKEND_${id}`, `${id}.example.net weight=${weight}`]);
  return configWith({ ...NONE, ...Object.fromEntries(vars) }).backends;
}

/** All backends, in a client's own order. */
function orderOf(ip: string, backends: readonly Backend[]): string[] {
  const keyHash = hashText(clientKey(ip));
  return backends.toSorted((a, b) => score(keyHash, b) - score(keyHash, a)).map(({ id }) => id);
}

const CLIENTS = Array.from(
  { length: 10_000 },
  (_, n) => `10.${(n * 7) >> 16}.${((n * 7) >> 8) & 255}.${(n * 7) & 255}`,
);
const homesOf = (backends: readonly Backend[], ips = CLIENTS) => ips.map((ip) => orderOf(ip, backends)[0] ?? "");
const count = (homes: readonly string[], id: string) => homes.filter((home) => home === id).length;
const shareOf = (weights: Weights, id: string) =>
  (weights[id] ?? 0) / Object.values(weights).reduce((sum, weight) => sum + weight, 0);

it.each<Weights>([
  { cf: 1, koyeb: 1, duck: 1 },
  { cf: 2, koyeb: 1, duck: 1 },
  { cf: 10, koyeb: 3, duck: 7, home: 4 },
  { cf: 100, koyeb: 50, duck: 25 },
])("the shares of 10,000 clients follow the weights within a tenth: %j", (weights) => {
  const homes = homesOf(backendsWith(weights));
  for (const id of Object.keys(weights)) {
    const share = CLIENTS.length * shareOf(weights, id);
    expect(Math.abs(count(homes, id) - share) / share, id).toBeLessThan(0.1);
  }
});

it.each<[Weights, number]>([
  [{ cf: 1, koyeb: 1, duck: 1 }, 2],
  [{ cf: 3, koyeb: 1, duck: 1 }, 1],
  [{ cf: 10, koyeb: 3, duck: 7 }, 100],
])("a weight that changes moves no more clients than it asks for: that of cf in %j to %i", (before, cf) => {
  const after = { ...before, cf };
  const old = homesOf(backendsWith(before));
  const moved = homesOf(backendsWith(after)).filter((home, n) => home !== old[n]);
  const asked = CLIENTS.length * Math.abs(shareOf(after, "cf") - shareOf(before, "cf"));
  expect(moved.length).toBeGreaterThan(asked / 1.1);
  expect(moved.length).toBeLessThan(asked * 1.1);
});

it("a backend that leaves moves its own clients only, and spreads them over the others by their weights", () => {
  const all = backendsWith({ cf: 4, koyeb: 1, duck: 2 });
  const old = homesOf(all);
  const homes = homesOf(all.filter(({ id }) => id !== "duck"));
  const moved = homes.filter((_, n) => old[n] === "duck");
  expect(homes.filter((home, n) => home !== old[n])).toEqual(moved);
  expect(count(moved, "cf") / count(moved, "koyeb") / 4).toBeCloseTo(1, 0);
});

it("a backend that leaves, joins or changes its weight leaves the order of the others as it was", () => {
  const weight = fc.integer({ min: 1, max: 100 });
  const weights = fc.record({ attic: weight, cf: weight, duck: weight, koyeb: weight });
  fc.assert(
    fc.property(weights, weight, fc.oneof(fc.ipV4(), fc.ipV6()), (before, cf, ip) => {
      const all = backendsWith(before);
      const others = (order: string[]) => order.filter((id) => id !== "cf").join();
      const order = others(orderOf(ip, all));
      const without = all.filter(({ id }) => id !== "cf");
      return others(orderOf(ip, backendsWith({ ...before, cf }))) === order && others(orderOf(ip, without)) === order;
    }),
  );
});

it("a client's home does not depend on where a backend is hosted", () => {
  const moved = configWith({ BACKEND_A: "http://elsewhere.example.org:8080" }).backends;
  expect(homesOf(moved, CLIENTS.slice(0, 200))).toEqual(homesOf(configWith().backends, CLIENTS.slice(0, 200)));
});

it("a client's home is what it has always been: an update moves no client", () => {
  const homes = homesOf(backendsWith({ cf: 1, koyeb: 1, duck: 2 }), CLIENTS.slice(0, 20));
  expect(homes.map((id) => id[0]).join("")).toBe("kckdkcckddcdccddddkd");
});

it("a score is a positive number, whatever the hash", () => {
  const hashes = fc.oneof(fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1), fc.nat(2 ** 32 - 1));
  fc.assert(
    fc.property(hashes, hashes, fc.integer({ min: 1, max: 100 }), (keyHash, seed, weight) => {
      const value = score(keyHash, { seed, weight });
      return Number.isFinite(value) && value > 0;
    }),
  );
});
