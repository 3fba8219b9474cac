import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Backend } from "../../../src/config.ts";
import { beginCheck, healthOf, newHealth, outdone, takeFinding } from "../../../src/health/findings.ts";
import { clientOf, movesSession, readCookie, sessionCookie } from "../../../src/selection/session.ts";
import { found } from "../health/given.ts";
import { anyText, backendOf, configWith } from "../sample.ts";

const config = configWith({ BACKEND_D: "d.example.net backup", BACKEND_E: "e.example.net backup" });
const [a, b, d, e] = ["a", "b", "d", "e"].map((id) => backendOf(config, id)) as [Backend, Backend, Backend, Backend];
const loose = configWith({ STICKY_SESSIONS: false });

describe("the session cookie in a request", () => {
  it.each([
    ["is found among others", "a=1; my.lb=duck; z=2", "duck"],
    ["is found with blanks around it, or none", "a=1;my.lb = duck ;z", "duck"],
    ["is taken for text, not for a pattern", "myxlb=cf", undefined],
    ["is not another cookie's end", "notmy.lb=cf", undefined],
    ["is not another cookie's beginning", "my.lb2=cf", undefined],
    ["is not another cookie's value", "a=my.lb=cf", undefined],
    ["is told from one in upper case", "MY.LB=cf", undefined],
    ["is the first of two", "my.lb=cf; my.lb=duck", "cf"],
    ["is not a name without a value", "my.lb; a=1", undefined],
    ["may be empty", "my.lb=", ""],
    ["is not decoded", "my.lb=%E0%A4%A", "%E0%A4%A"],
    ["keeps its quotes and its equals signs", 'my.lb="a=b"', '"a=b"'],
  ])("%s: %s", (_, header, value) => {
    expect(readCookie(header, "my.lb")).toBe(value);
  });

  it("is found with any value that may stand in a cookie, wherever it stands", () => {
    const octets = fc.string({ unit: fc.constantFrom(..."!#$%&'()*+-./0123456789:<=>?@ABCabc[]^_`{|}~") });
    const others = fc.array(octets.map((value) => `other=${value}`));
    fc.assert(
      fc.property(others, octets, others, (before, value, after) => {
        return readCookie([...before, `lb=${value}`, ...after].join("; "), "lb") === value;
      }),
    );
  });

  it("never throws and is never invented, whatever the header holds", () => {
    fc.assert(
      fc.property(anyText, (header) => {
        const value = readCookie(header, "lb");
        return value === undefined || header.includes(value);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("a client", () => {
  const clientWith = (headers: Record<string, string>, settings = config) => clientOf(new Headers(headers), settings);

  it("is bound to the backend that its cookie names", () => {
    expect(clientWith({ Cookie: "x=1; aiostreams_backend=b" }).bound).toBe(b);
  });

  it.each(["z", "B", "b.example.net", "", "__proto__", "b b"])(
    "is bound to nobody by an unknown value: %j",
    (value) => {
      expect(clientWith({ Cookie: `aiostreams_backend=${value}` }).bound).toBeUndefined();
    },
  );

  it("is bound by the cookie of the configured name only", () => {
    const named = configWith({ SESSION_COOKIE_NAME: "lb" });
    expect(clientWith({ Cookie: "aiostreams_backend=b; lb=a" }, named).bound?.id).toBe("a");
  });

  it("is bound to nobody where sessions are not sticky", () => {
    expect(clientWith({ Cookie: "aiostreams_backend=b" }, loose).bound).toBeUndefined();
  });

  it("has the address that Cloudflare vouches for, and no other", () => {
    const forged = { "X-Forwarded-For": "203.0.113.1", "X-Real-IP": "203.0.113.1", "X-Client-IP": "203.0.113.1" };
    expect(clientWith({ ...forged, "CF-Connecting-IP": "192.0.2.1" }).ip).toBe("192.0.2.1");
    expect(clientWith(forged).ip).toBe("");
  });
});

it("binds for the whole site, out of the reach of scripts, over HTTPS only", () => {
  const settings = configWith({ SESSION_COOKIE_NAME: "lb", SESSION_COOKIE_TTL: 60 });
  expect(sessionCookie(b, settings)).toBe("lb=b; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60");
});

describe("an answer below 500", () => {
  const health = (...down: Backend[]) => {
    const known = newHealth(0);
    for (const { id } of down) takeFinding(healthOf(known, id), found("bad status", 1_000), 1_000, false);
    return known;
  };
  const moves = (bound: Backend | undefined, backend: Backend, known = health(), settings = config) =>
    movesSession({ bound, ip: "" }, backend, settings, known);

  it("binds a client that has no session", () => {
    expect(moves(undefined, a)).toBe(true);
  });

  it("moves nobody whose own backend answered", () => {
    expect(moves(a, a)).toBe(false);
    expect(moves(a, a, health(a))).toBe(false);
  });

  it("moves nobody whose backend is up: one failed request rebinds nobody", () => {
    expect(moves(a, b)).toBe(false);
    expect(moves(a, b, health(b))).toBe(false);
  });

  it("moves nobody whose backend is only suspect", () => {
    const known = health();
    beginCheck(healthOf(known, "a"), 0, 10 ** 12);
    expect(moves(a, b, known)).toBe(false);
  });

  it("moves a client whose backend is down", () => {
    expect(moves(a, b, health(a))).toBe(true);
  });

  it("moves a client whose backend is out for its failures", () => {
    const known = health();
    for (const client of "vwxyz") outdone(healthOf(known, "a"), client, 1_000, 1_000, 30_000);
    expect(moves(a, b, known)).toBe(true);
  });

  it("gives a client back from a backup as soon as any other backend is up", () => {
    expect(moves(d, a)).toBe(true);
    expect(moves(d, a, health(b, backendOf(config, "c")))).toBe(true);
  });

  const primaries = ["a", "b", "c"].map((id) => backendOf(config, id));

  it("leaves a client with its backup while no other backend is up", () => {
    expect(moves(d, e, health(...primaries))).toBe(false);
    expect(moves(d, a, health(...primaries))).toBe(false);
  });

  it("moves a client from a backup that is down", () => {
    expect(moves(d, e, health(...primaries, d))).toBe(true);
  });

  it("moves nobody where sessions are not sticky", () => {
    expect(moves(undefined, a, health(), loose)).toBe(false);
    expect(moves(a, b, health(a), loose)).toBe(false);
  });
});
