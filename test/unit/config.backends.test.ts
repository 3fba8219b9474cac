import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { anyText, backendOf, configWith, issuesOf } from "./sample.ts";

const ONE = { PRIMARY_DOMAIN: "aiostreams.example.com", BACKEND_CF: "cf.example.net" };

const refusedOf = (vars: Record<string, unknown>) => issuesOf(vars).map(({ variable }) => variable);
const backendFrom = (text: unknown) => parseConfig({ ...ONE, BACKEND_CF: text }).backends[0];

describe("a backend's address", () => {
  it.each([
    ["host.example.net", "https://host.example.net"],
    ["host.example.net:8443", "https://host.example.net:8443"],
    ["localhost:3000", "https://localhost:3000"],
    ["http://host.example.net", "http://host.example.net"],
    ["http://host.example.net:8080", "http://host.example.net:8080"],
    ["https://host.example.net:443", "https://host.example.net"],
    ["http://host.example.net:80", "http://host.example.net"],
    ["https://host.example.net:80", "https://host.example.net:80"],
    ["https://host.example.net/", "https://host.example.net"],
    ["  host.example.net  ", "https://host.example.net"],
    ["HTTPS://HOST.Example.NET", "https://host.example.net"],
    ["host.example.net.", "https://host.example.net"],
    ["my_host.example.net", "https://my_host.example.net"],
    ["bücher.example", "https://xn--bcher-kva.example"],
    ["192.0.2.7:8080", "https://192.0.2.7:8080"],
    ["http://[2001:db8::1]:3000", "http://[2001:db8::1]:3000"],
  ])("%j is the origin %s", (text, origin) => {
    expect(backendFrom(text)?.origin).toBe(origin);
  });

  it.each([
    ["a path", ["host.example.net/path", "https://host.example.net/path", "https://host.example.net//"]],
    ["a query or fragment", ["host.example.net?x", "host.example.net#x"]],
    [
      "credentials",
      ["https://user:secret@host.example.net", "user@host.example.net", "host.example.net\\@evil.example"],
    ],
    ["another scheme", ["ftp://host.example.net", "https:host.example.net"]],
    ["no host", ["https://", "https:///", ".", "..", "...", "%2e%2e"]],
    ["an empty label", [".host.example.net", "host..example.net", "host.example.net.."]],
    ["a port that is none", ["host.example.net:", "host.example.net:0", "host.example.net:99999"]],
    ["a number that a URL parser takes for an IPv4 address", ["30000", "127.1", "0x7f.0.0.1", "192.0.2.256"]],
    ["brackets around no IPv6 address", ["[::1", "[192.0.2.1]"]],
    ["two hosts", ["a,b"]],
    ["no text", [30_000, true, null, {}, ["host.example.net"]]],
  ])("cannot be or have %s", (_, refused) => {
    for (const text of refused) expect(refusedOf({ ...ONE, BACKEND_CF: text }), String(text)).toEqual(["BACKEND_CF"]);
  });

  it("is one that the URL parser agrees with, whatever was accepted", () => {
    const near = fc.string({
      unit: fc.constantFrom("http", "://", "a", "B", "7", ".", "..", "-", "_", ":", "/", "@", "[", "]", "ü", "%"),
    });
    const texts = fc.oneof(near, fc.ipV6(), fc.ipV4(), anyText);
    fc.assert(
      fc.property(texts, (text) => {
        const vars = { PRIMARY_DOMAIN: "aiostreams.example.com", BACKEND_ANY: text };
        if (issuesOf(vars).length > 0) return;
        const origin = parseConfig(vars).backends[0]?.origin ?? "";
        expect(new URL(origin).origin).toBe(origin);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a backend's options", () => {
  it.each([
    ["host.example.net", 1, false],
    ["host.example.net weight=1", 1, false],
    ["host.example.net weight=100", 100, false],
    ["http://host.example.net:8080/ \t weight=007", 7, false],
    ["host.example.net backup", 1, true],
    ["host.example.net weight=3 backup", 3, true],
    ["host.example.net  backup  weight=3", 3, true],
  ])("of %j are a weight of %d, and whether it is a backup: %j", (text, weight, isBackup) => {
    expect(backendOf(configWith({ BACKEND_CF: text }), "cf")).toMatchObject({ weight, isBackup });
  });

  it.each([
    ["a weight out of bounds", ["weight=0", "weight=101", "weight=-1"]],
    ["a weight that is no whole number", ["weight=1.5", "weight=1e1", "weight=", "weight", "weight= 2"]],
    ["one option twice", ["weight=2 weight=2", "backup backup"]],
    ["another option", ["Weight=2", "backup=true", "BACKUP", "down", "drain"]],
    ["a second backend", ["cf.example.net", ", cf.example.net", "https://cf.example.net"]],
  ])("cannot be %s", (_, refused) => {
    for (const options of refused) {
      const issues = issuesOf({ ...ONE, BACKEND_DUCK: `duck.example.net ${options}` });
      expect(issues).toMatchObject([{ variable: "BACKEND_DUCK", allowed: expect.stringContaining("weight=1") }]);
    }
  });

  it("do not change its id, its origin or its place in the hash", () => {
    const { weight: _, ...heavy } = backendFrom("cf.example.net weight=9") ?? {};
    expect(backendFrom("cf.example.net")).toMatchObject(heavy);
  });
});

describe("backends", () => {
  it.each<[string, Record<string, unknown>, string[]]>([
    ["are named by their variable, in lower case", { BACKEND_Zeta: "z.example.net" }, ["cf", "zeta"]],
    ["are in the order of their names", { "BACKEND_ALPHA_2-x": "a.example.net" }, ["alpha_2-x", "cf"]],
    ["are absent when their variable is empty", { BACKEND_DUCK: "  ", BACKEND_KOYEB: "" }, ["cf"]],
    ["are no settings that begin with BACKEND_", { BACKEND_DOWN_TIME: "1000", BACKEND_TIMEOUT: 2000 }, ["cf"]],
    ["may share a host on another port", { BACKEND_DUCK: "cf.example.net:8443" }, ["cf", "duck"]],
    ["may share a host by another scheme", { BACKEND_DUCK: "http://cf.example.net" }, ["cf", "duck"]],
  ])("%s: %j", (_, vars, ids) => {
    expect(parseConfig({ ...ONE, ...vars }).backends.map(({ id }) => id)).toEqual(ids);
  });

  type Refusal = [what: string, vars: Record<string, unknown>, variable: string];
  it.each<Refusal>([
    ["there is none", { BACKEND_CF: "" }, "BACKEND_<NAME>"],
    ["all are backups", { BACKEND_CF: "cf.test backup", BACKEND_X: "x.test weight=2 backup" }, "BACKEND_<NAME>"],
    ["one is wrong, and then none is called missing", { BACKEND_CF: "cf/x" }, "BACKEND_CF"],
    ["two have the same id", { BACKEND_cf: "other.example.net" }, "BACKEND_cf"],
    ...["https://CF.example.net:443/", "cf.example.net. weight=2", "cf.example.net backup"].map(
      (text): Refusal => ["two have the same origin", { BACKEND_DUCK: text }, "BACKEND_DUCK"],
    ),
    ["one is the public domain", { BACKEND_DUCK: "http://AIOStreams.example.com.:8080" }, "BACKEND_DUCK"],
    ["one is the public domain", { BACKEND_DUCK: "aiostreams.example.com weight=2" }, "BACKEND_DUCK"],
    ...["BACKEND_A;B", "BACKEND_A B", "BACKEND_", "BACKEND_Ä", "BACKEND_A.B"].map(
      (name): Refusal => ["a name could not stand in a cookie", { [name]: "b.example.net" }, name],
    ),
  ])("are refused when %s: %j", (_, vars, variable) => {
    expect(refusedOf({ ...ONE, ...vars })).toEqual([variable]);
  });
});
