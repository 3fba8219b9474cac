import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Backend, parseConfig } from "../../src/config.ts";
import { clientKey } from "../../src/rendezvous.ts";
import { nextBackend } from "../../src/selection.ts";

function backendsNamed(...names: string[]): readonly Backend[] {
  const vars = Object.fromEntries(names.map((name) => [`BACKEND_${name}`, `${name}.example.net`]));
  return parseConfig({ PRIMARY_DOMAIN: "aiostreams.example.com", ...vars }).backends;
}

const choose = (ip: string, backends: readonly Backend[]) =>
  nextBackend(backends, { bound: undefined, ip }, new Map(), new Map())?.id;

const ipv4 = (n: number) => `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
const KEYS = Array.from({ length: 10_000 }, (_, n) => ipv4(n * 7));

describe("rendezvous hashing", () => {
  it.each([
    { names: ["cf", "koyeb"] },
    { names: ["cf", "koyeb", "duck"] },
    { names: ["a", "b", "c", "d", "e", "f", "g", "h"] },
    { names: ["eu1", "eu2", "eu3", "eu4"] },
  ])("gives each of $names.length backends its share of 10,000 clients within 10 %", ({ names }) => {
    const backends = backendsNamed(...names);
    const counts = new Map<string, number>();
    for (const key of KEYS) {
      const id = choose(key, backends) ?? "";
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    const share = KEYS.length / names.length;
    for (const { id } of backends) expect(Math.abs((counts.get(id) ?? 0) - share) / share).toBeLessThan(0.1);
  });

  it("moves only the clients of the backend that leaves, about half to each of the two others", () => {
    const all = backendsNamed("cf", "koyeb", "duck");
    const survivors = all.filter(({ id }) => id !== "duck");
    const movedTo = { cf: 0, koyeb: 0 };
    for (const key of KEYS) {
      const before = choose(key, all) ?? "";
      const after = choose(key, survivors) ?? "";
      if (before === "duck") movedTo[after as keyof typeof movedTo]++;
      else expect(after).toBe(before);
    }
    expect(movedTo.cf / movedTo.koyeb).toBeGreaterThan(0.8);
    expect(movedTo.cf / movedTo.koyeb).toBeLessThan(1.25);
  });

  it("does not depend on the order of the variables", () => {
    const names = ["cf", "koyeb", "duck", "home", "attic"];
    fc.assert(
      fc.property(fc.shuffledSubarray(names, { minLength: names.length }), fc.ipV4(), (shuffled, ip) => {
        expect(choose(ip, backendsNamed(...shuffled))).toBe(choose(ip, backendsNamed(...names)));
      }),
    );
  });

  it("does not depend on where a backend is hosted", () => {
    const before = parseConfig({ PRIMARY_DOMAIN: "a.example.com", BACKEND_A: "one.example", BACKEND_B: "two.example" });
    const after = parseConfig({
      PRIMARY_DOMAIN: "a.example.com",
      BACKEND_A: "moved.example",
      BACKEND_B: "two.example",
    });
    for (const key of KEYS.slice(0, 200)) {
      expect(choose(key, after.backends)).toBe(choose(key, before.backends));
    }
  });
});

describe("a client's key", () => {
  it("is an IPv4 address as it is", () => {
    expect(clientKey("192.0.2.1")).toBe("192.0.2.1");
  });

  it.each([
    ["2001:db8:1:2:a:b:c:d", "2001:db8:1:2::1"],
    ["2001:db8:1:2::", "2001:DB8:1:2:ffff:ffff:ffff:ffff"],
    ["2001:0db8:0001:0002::1", "2001:db8:1:2::1"],
    ["2001:db8::1", "2001:db8:0:0:5:6:7:8"],
    ["::1", "::2"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
  ])("is the same for %s and %s", (one, other) => {
    expect(clientKey(one)).toBe(clientKey(other));
  });

  it("differs between two /64 networks", () => {
    expect(clientKey("2001:db8:1:2::1")).not.toBe(clientKey("2001:db8:1:3::1"));
  });

  it("is the same for all addresses of a /64, however they are written", () => {
    fc.assert(
      fc.property(fc.ipV6(), (ip) => {
        if (ip.includes(".")) return;
        const canonical = new URL(`http://[${ip}]`).hostname.slice(1, -1);
        expect(clientKey(ip)).toBe(clientKey(canonical));
      }),
      { numRuns: 1_000 },
    );
  });

  it("exists for any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => typeof clientKey(text) === "string"));
  });
});
