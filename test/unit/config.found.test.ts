import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { issuesOf, VARS } from "./sample.ts";

const SECRET = "s3cret";

/** All that is said of a wrong value: to the public, and in the log. */
const saidOf = (vars: Record<string, unknown>) => JSON.stringify(issuesOf({ ...VARS, ...vars }));
const foundIn = (variable: string, value: unknown) => issuesOf({ ...VARS, [variable]: value })[0]?.found;

describe("what was found in a wrong variable", () => {
  it.each([
    ["MAX_RETRIES", "-1", "-1"],
    ["MAX_RETRIES", 1.5, "1.5"],
    ["STICKY_SESSIONS", "maybe", "maybe"],
    ["BACKEND_A", "ftp://a.example.net", "ftp://a.example.net"],
    ["BACKEND_A", "a.example.net weight=0", "a.example.net weight=0"],
    ["PRIMARY_DOMAIN", "https://aiostreams.example.org", "https://aiostreams.example.org"],
    ["PRIMARY_DOMAIN", "", ""],
  ])("is said, so that it can be found again: %s = %j", (variable, value, found) => {
    expect(foundIn(variable, value)).toBe(found);
  });

  it("is not said of headers that stand in the wrong variable", () => {
    for (const value of [`X-Key: ${SECRET}`, `a.example.net\nX-Key:\t${SECRET}`, `a.example.net X-Key: ${SECRET}`]) {
      expect(foundIn("BACKEND_A", value)).toBe("(not shown)");
    }
  });

  it("is nothing where there was nothing", () => {
    expect(foundIn("PRIMARY_DOMAIN", undefined)).toBeUndefined();
  });

  it("is not said of an object", () => {
    const objects: unknown[] = [{ a: SECRET }, [SECRET], { toString: () => SECRET }, null];
    expect(objects.map((value) => foundIn("BACKEND_A", value))).toEqual(objects.map(() => "object"));
  });

  it.each([
    `https://user:${SECRET}@a.example.net`,
    `https://${SECRET}@a.example.net`,
    `user:${SECRET}@a.example.net`,
    `https://user:${SECRET}/x@a.example.net`,
    `https://user:x/${SECRET}@a.example.net`,
    `https://user:${SECRET}@x@a.example.net`,
    `https://user:x@${SECRET}@a.example.net`,
    `user:x/y@${SECRET}@a.example.net`,
    `user:x?${SECRET}#y@a.example.net`,
    `https://user:x ${SECRET}@a.example.net`,
    `https://user:x\n${SECRET}@a.example.net`,
    `ftp://user:${SECRET}@a.example.net/x`,
    `a.example.net https://user:${SECRET}@b.example.net`,
    "s3cret://x@a.example.net",
  ])("holds no credentials, but the host that they stand before: %j", (value) => {
    for (const variable of ["BACKEND_A", "PRIMARY_DOMAIN", "HEALTH_CHECK_PATH", "SERVED_BY_HEADER"]) {
      expect(saidOf({ [variable]: value })).not.toContain(SECRET);
    }
    expect(foundIn("BACKEND_A", value)).toMatch(/…@[ab]\.example\.net/);
  });

  it.each([
    `a.example.net/${SECRET}`,
    `https://a.example.net/stremio/x/${SECRET}/manifest.json`,
    `https://a.example.net:8443/${SECRET}`,
    `https://a.example.net?${SECRET}`,
    `a.example.net#${SECRET}`,
    `https:/${SECRET}`,
    `https:///${SECRET}`,
    `https:\\\\a.example.net\\${SECRET}`,
    `//a.example.net/${SECRET}`,
    `https://a.example.net/${SECRET} weight=2`,
    `https://a.example.net/x,https://b.example.net/${SECRET}`,
    `https://[2001:db8::1]/${SECRET}`,
    `https://a.example.net/x https://b.example.net/${SECRET}`,
  ])("holds no path, which may be a user's: %s", (value) => {
    expect(saidOf({ BACKEND_A: value })).not.toContain(SECRET);
    expect(saidOf({ PRIMARY_DOMAIN: value })).not.toContain(SECRET);
  });

  it.each([
    { STATUS_PATH: `/${SECRET}?x` },
    { STATUS_PATH: SECRET },
    { STATUS_PATH: `/a b/${SECRET}` },
    { STATUS_PATH: `/../${SECRET}` },
    { STATUS_PATH: `/${SECRET}`, HEALTH_CHECK_PATH: `/${SECRET}` },
  ])("is never the status page's address: %j", (vars) => {
    expect(issuesOf({ ...VARS, ...vars })).toMatchObject([{ variable: "STATUS_PATH", found: "(not shown)" }]);
    expect(saidOf(vars)).not.toContain(SECRET);
  });

  it("holds no credentials, whatever stands in them", () => {
    const text = fc.string({ unit: fc.constantFrom(..."ab:/@?#\\%. []") });
    const schemes = fc.constantFrom("", "http://", "https://", "ftp://");
    fc.assert(
      fc.property(schemes, text, text, (scheme, before, after) => {
        const value = `${scheme}${before}${SECRET}${after}@a.example.net`;
        expect(saidOf({ BACKEND_A: value })).not.toContain(SECRET);
      }),
      { numRuns: 1_000 },
    );
  });
});
