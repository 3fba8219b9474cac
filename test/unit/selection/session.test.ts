import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { healthOf, newHealth } from "../../../src/health/health-state.ts";
import { clientOf, sessionCookie, shouldSetCookie } from "../../../src/selection/session.ts";
import { backendAfter } from "../health/given.ts";
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
  const NOW_MS = 100_000;
  const DOWN = "bad@99995";
  const allDown = { a: DOWN, b: DOWN, c: DOWN };

  /** What is known of backends with these histories. */
  function healthWith(histories: Readonly<Record<string, string>>) {
    const health = newHealth(0, 0);
    for (const [id, history] of Object.entries(histories)) backendAfter(history, healthOf(health, id));
    return health;
  }

  it.each<[string, string | undefined, string, Record<string, string>, boolean]>([
    ["for a client that has none", undefined, "a", {}, true],
    ["not by its own backend", "a", "a", {}, false],
    ["not by its own backend that is down", "a", "a", { a: DOWN }, false],
    ["not while its backend is up: one failed request rebinds no client", "a", "b", {}, false],
    ["not while its backend is up by a check of this minute", "a", "b", { a: "good@99995" }, false],
    ["not while its backend is suspect", "a", "b", { a: "check@99000" }, false],
    ["when its backend is down", "a", "b", { a: DOWN }, true],
    ["when its backend is down by a check of the last minute", "a", "b", { a: "bad@40001" }, true],
    ["not by an older check", "a", "b", { a: "bad@40000" }, false],
    ["not when its backend is down for its failures, by no check", "a", "b", { a: "good@99995 outlier@100000" }, false],
    ["not while no backend is up", undefined, "a", { ...allDown, d: DOWN, e: DOWN }, false],
    ["not while all are suspect or down", undefined, "a", { ...allDown, a: "check@99000", d: DOWN, e: DOWN }, false],
    ["by one that is down, while another is up", undefined, "a", { a: DOWN }, true],
    ["from a backup as soon as one primary is up", "d", "a", { b: DOWN, c: DOWN }, true],
    ["to a backup while every primary is down", undefined, "d", allDown, true],
    ["to a backup from a backend that is down, while every primary is", "a", "d", allDown, true],
    ["not to a backup while a primary is up", undefined, "d", { a: DOWN, b: DOWN }, false],
    ["not to a backup while a primary is suspect", undefined, "d", { a: DOWN, b: DOWN, c: "check@99000" }, false],
    ["not from one backup to another", "d", "e", allDown, false],
    ["from a backup that is down to another", "d", "e", { ...allDown, d: DOWN }, true],
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
