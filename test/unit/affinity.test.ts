import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCookie, sessionCookie } from "../../src/affinity.ts";

describe("readCookie", () => {
  it("finds a cookie among others", () => {
    expect(readCookie("a=1; my.lb=duck; z=2", "my.lb")).toBe("duck");
  });

  it("takes the name for text, not for a pattern", () => {
    expect(readCookie("myxlb=cf", "my.lb")).toBeUndefined();
  });

  it("does not take another cookie's end for the name", () => {
    expect(readCookie("notmy.lb=cf", "my.lb")).toBeUndefined();
  });

  it("does not take another cookie's value for the name", () => {
    expect(readCookie("a=my.lb=cf", "my.lb")).toBeUndefined();
  });

  it("tells upper from lower case", () => {
    expect(readCookie("LB=cf", "lb")).toBeUndefined();
  });

  it("takes the first of two", () => {
    expect(readCookie("lb=cf; lb=duck", "lb")).toBe("cf");
  });

  it("leaves a percent-encoded value as it is", () => {
    expect(readCookie("lb=%E0%A4%A", "lb")).toBe("%E0%A4%A");
  });

  it("finds any value that may stand in a cookie, wherever it stands", () => {
    const octets = fc.string({ unit: fc.constantFrom(..."!#$%&'()*+-./0123456789:<=>?@ABCabc[]^_`{|}~") });
    const others = fc.array(octets.map((value) => `other=${value}`));
    fc.assert(
      fc.property(others, octets, others, (before, value, after) => {
        expect(readCookie([...before, `lb=${value}`, ...after].join("; "), "lb")).toBe(value);
      }),
      { numRuns: 1_000 },
    );
  });

  it("never throws and never invents a value, whatever the header holds", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (header) => {
        const value = readCookie(header, "lb");
        expect(value === undefined || header.includes(value)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});

it("binds for the whole site, out of the reach of scripts, over HTTPS only", () => {
  expect(sessionCookie("lb", "duck", 60)).toBe("lb=duck; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60");
});
