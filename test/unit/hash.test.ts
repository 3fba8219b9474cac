import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashText, mix } from "../../src/hash.ts";
import { anyText } from "./sample.ts";

describe("the hash of a text", () => {
  // A change of these moves every client to another backend.
  it.each([
    ["", 0xab3e7c0b],
    ["a", 0x1a80b1b3],
    ["cf", 0x28f2f5d2],
    ["192.0.2.1", 0x73b5d649],
    ["ü€😀", 0x76ca375d],
  ])("is what it has always been: %j", (text, hash) => {
    expect(hashText(text)).toBe(hash);
  });

  it("has 32 bits, whatever the text", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const hash = hashText(text);
        expect(hash >>> 0).toBe(hash);
      }),
    );
  });
});

it("the mixed hash changes half of its bits on average when one bit of the number changes", () => {
  let changed = 0;
  for (let n = 1; n <= 1_000; n++) {
    let difference = mix(n) ^ mix(n ^ (1 << (n % 32)));
    for (; difference !== 0; difference &= difference - 1) changed++;
  }
  expect(changed / 1_000).toBeGreaterThan(15);
  expect(changed / 1_000).toBeLessThan(17);
});
