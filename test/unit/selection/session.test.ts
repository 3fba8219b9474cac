import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  beginCheck,
  type CheckResult,
  eject,
  healthOf,
  newHealth,
  takeResult,
} from "../../../src/health/health-state.ts";
import { clientOf, sessionCookie, shouldSetCookie } from "../../../src/selection/session.ts";
import { anyText, backendOf, configWith } from "../sample.ts";

const config = configWith({ BACKEND_D: "d.example.net backup", BACKEND_E: "e.example.net backup" });
const backend = (id: string) => backendOf(config, id);

describe("the sticky backend", () => {
  const stickyOf = (cookie: string, vars = {}) =>
    clientOf(new Headers({ Cookie: cookie }), "", configWith({ SESSION_COOKIE_NAME: "my.lb", ...vars })).stickyBackend
      ?.id;

  it.each([
    ["is found among other cookies", "x=1; my.lb=b; z=2", "b"],
    ["is found with blanks around it, or none", "x=1;my.lb = b ;z", "b"],
    ["is not named by a name that is like a pattern", "myxlb=b", undefined],
    ["is not named by another cookie's end", "notmy.lb=b", undefined],
    ["is not named by another cookie's beginning", "my.lb2=b", undefined],
    ["is not named by another cookie's value", "x=my.lb=b", undefined],
    ["is not named by a name in upper case", "MY.LB=b", undefined],
    ["is the first of two", "my.lb=b; my.lb=a", "b"],
    ["is the first that names a backend", "my.lb=gone; my.lb; my.lb=b; my.lb=a", "b"],
    ["is none where the cookie has no value", "my.lb; x=1", undefined],
    ["is none where the value is empty", "my.lb=", undefined],
    ["is none where the value is unknown", "my.lb=z", undefined],
    ["is none where the value is in upper case", "my.lb=B", undefined],
    ["is none where the value is a host", "my.lb=b.example.net", undefined],
    ["is none where the value is encoded", "my.lb=%62", undefined],
    ["is none where the value is quoted", 'my.lb="b"', undefined],
    ["is none where the value is a name of JavaScript's", "my.lb=__proto__", undefined],
  ])("%s: %s", (_, cookie, id) => {
    expect(stickyOf(cookie)).toBe(id);
  });

  it("is none where sessions are not sticky", () => {
    expect(stickyOf("my.lb=b", { STICKY_SESSIONS: false })).toBeUndefined();
  });

  it("is found wherever it stands, among any other cookies", () => {
    const octets = fc.string({ unit: fc.constantFrom(..."!#$%&'()*+-./0123456789:<=>?@ABCabc[]^_`{|}~") });
    const others = fc.array(octets.map((value) => `other=${value}`));
    fc.assert(
      fc.property(others, others, (before, after) => stickyOf([...before, "my.lb=b", ...after].join("; ")) === "b"),
    );
  });

  it("never throws and is never invented, whatever the cookies hold", () => {
    const header = anyText.map((text) => text.replace(/[^\t -~]/g, ";"));
    fc.assert(fc.property(header, (text) => text.includes("my.lb=") || stickyOf(text) === undefined));
  });
});

it("a client counts by the /64 network of its IPv6 address", () => {
  const keys = ["2001:db8::1", "2001:db8::2"].map((ip) => clientOf(new Headers(), ip, config).key);
  expect(keys).toEqual(["2001:db8:0:0", "2001:db8:0:0"]);
});

it("the session cookie binds for the whole site, out of the reach of scripts, over HTTPS only", () => {
  const settings = configWith({ SESSION_COOKIE_NAME: "lb", SESSION_COOKIE_TTL: 60 });
  expect(sessionCookie(backend("b"), settings)).toBe("lb=b; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60");
});

describe("the session cookie is set", () => {
  const NOW_MS = 1_000_000;

  /** What may be known of a backend. */
  type State = "checked" | "down" | "down for 59.999 s" | "down for a minute" | "suspect" | "failing users";

  const result = (kind: CheckResult["kind"], ageMs: number) => {
    return { kind, status: null, tookMs: 5, atMs: NOW_MS - ageMs };
  };

  function healthWith(states: Readonly<Record<string, State>>) {
    const health = newHealth(0, 0);
    for (const [id, state] of Object.entries(states)) {
      const known = healthOf(health, id);
      if (state === "suspect") beginCheck(known, NOW_MS - 1_000, 5_000);
      else if (state === "checked") takeResult(known, result("good", 5), NOW_MS, 30_000);
      else if (state === "failing users") {
        takeResult(known, result("good", 5), NOW_MS, 30_000);
        eject(known, "consecutive failures", NOW_MS, NOW_MS, 30_000);
      } else {
        const ageMs = { down: 5, "down for 59.999 s": 59_999, "down for a minute": 60_000 }[state];
        takeResult(known, result("bad status", ageMs), NOW_MS - ageMs, 30_000);
      }
    }
    return health;
  }

  const allDown = { a: "down", b: "down", c: "down" } as const;

  it.each<[string, string | undefined, string, Record<string, State>, boolean]>([
    ["for a client that has none", undefined, "a", {}, true],
    ["not by its own backend", "a", "a", {}, false],
    ["not by its own backend that is down", "a", "a", { a: "down" }, false],
    ["not while its backend is up: one failed request rebinds no client", "a", "b", {}, false],
    ["not while its backend is up by a check of this minute", "a", "b", { a: "checked" }, false],
    ["not while its backend is suspect", "a", "b", { a: "suspect" }, false],
    ["when its backend is down", "a", "b", { a: "down" }, true],
    ["when its backend is down by a check of the last minute", "a", "b", { a: "down for 59.999 s" }, true],
    ["not by an older check", "a", "b", { a: "down for a minute" }, false],
    ["not when its backend is down for its failures, by no check", "a", "b", { a: "failing users" }, false],
    ["not while no backend is up", undefined, "a", { ...allDown, d: "down", e: "down" }, false],
    [
      "not while every backend is suspect or down",
      undefined,
      "a",
      { a: "suspect", b: "down", c: "down", d: "down", e: "down" },
      false,
    ],
    ["by one that is down, while another is up", undefined, "a", { a: "down" }, true],
    ["from a backup as soon as one primary is up", "d", "a", { b: "down", c: "down" }, true],
    ["to a backup while every primary is down", undefined, "d", allDown, true],
    ["to a backup from a backend that is down, while every primary is", "a", "d", allDown, true],
    ["not to a backup while a primary is up", undefined, "d", { a: "down", b: "down" }, false],
    ["not to a backup while a primary is suspect", undefined, "d", { a: "down", b: "down", c: "suspect" }, false],
    ["not from one backup to another", "d", "e", allDown, false],
    ["from a backup that is down to another", "d", "e", { ...allDown, d: "down" }, true],
    ["not from a backup to a primary that is down", "d", "a", allDown, false],
  ])("or not: %s", (_, sticky, by, states, isSet) => {
    const client = { stickyBackend: sticky === undefined ? undefined : backend(sticky), key: "" };
    expect(shouldSetCookie(client, backend(by), config, healthWith(states), NOW_MS)).toBe(isSet);
  });

  it("for no client where sessions are not sticky", () => {
    const { backends } = config;
    const client = { stickyBackend: undefined, key: "" };
    const loose = { backends, stickySessions: false };
    expect(shouldSetCookie(client, backend("a"), loose, healthWith({}), NOW_MS)).toBe(false);
  });
});
