import fc from "fast-check";
import { describe, expect, it } from "vitest";
import readme from "../../README.md?raw";
import { ConfigError, isBackendVariable, isKnownVariable, VARIABLES } from "../../src/config.ts";
import { anyText, configWith, issuesOf, VARS } from "./sample.ts";

const refusedOf = (vars: Record<string, unknown>) => issuesOf(vars).map(({ variable }) => variable);

const NAMES = Object.keys(VARIABLES) as (keyof typeof VARIABLES)[];

/** What a configuration holds of a variable. */
const configured = (name: keyof typeof VARIABLES, vars: Record<string, unknown> = {}) =>
  configWith(vars)[VARIABLES[name].key];

it("a variable that is not set has its default", () => {
  // The two that are left out are required, or depend on another one.
  for (const name of NAMES.filter((it) => it !== "PRIMARY_DOMAIN" && it !== "HEALTH_CHECK_EXPECT")) {
    expect(configured(name), name).toBe(VARIABLES[name].defaultValue);
  }
});

describe("a value", () => {
  it.each([
    ["PRIMARY_DOMAIN", " AIOStreams.Example.org. ", "aiostreams.example.org"],
    ["STICKY_SESSIONS", "False", false],
    ["STICKY_SESSIONS", false, false],
    ["STICKY_SESSIONS", " TRUE ", true],
    ["SHARE_HEALTH", "FALSE", false],
    ["RETRY_NON_IDEMPOTENT", false, false],
    ["MAX_RETRIES", "0", 0],
    ["MAX_RETRIES", 10, 10],
    ["BACKEND_DOWN_TIME", 0, 0],
    ["BACKEND_DOWN_TIME", " 3600000 ", 3_600_000],
    ["BACKEND_TIMEOUT", "1", 1],
    ["BACKEND_TIMEOUT", 3_600_000, 3_600_000],
    ["PROBE_AFTER", 1, 1],
    ["PROBE_AFTER", "3600000", 3_600_000],
    ["HEALTH_CHECK_INTERVAL", "0", 0],
    ["HEALTH_CHECK_INTERVAL", 1_000, 1_000],
    ["HEALTH_CHECK_INTERVAL", 3_600_000, 3_600_000],
    ["SESSION_COOKIE_TTL", 1, 1],
    ["SESSION_COOKIE_TTL", "34560000", 34_560_000],
    ["HEALTH_CHECK_PATH", "/", "/"],
    ["HEALTH_CHECK_PATH", "/health?deep=1", "/health?deep=1"],
    ["SESSION_COOKIE_NAME", "__Host-my.lb", "__Host-my.lb"],
    ["SESSION_COOKIE_NAME", 5, "5"],
    ["HEALTH_CHECK_EXPECT", ' {"ok": true} ', '{"ok": true}'],
    ["HEALTH_CHECK_EXPECT", "x".repeat(200), "x".repeat(200)],
    ["HEALTH_CHECK_EXPECT", 200, "200"],
    ["HEALTH_CHECK_EXPECT", true, "true"],
    ["STATUS_PATH", " /lb-status-8f3a ", "/lb-status-8f3a"],
    ["STATUS_PATH", "/a/b_c.d~e", "/a/b_c.d~e"],
    ["STATUS_PATH", "/.well-known/lb", "/.well-known/lb"],
    ["STATUS_PATH", "  ", ""],
    ["SERVED_BY_HEADER", "X-Served-By", "X-Served-By"],
    ["SERVED_BY_HEADER", "x-lb.backend", "x-lb.backend"],
  ] as const)("is accepted as TOML, the dashboard and people write it: %s = %j", (variable, given, value) => {
    expect(configured(variable, { [variable]: given })).toBe(value);
  });

  it.each([
    ["PRIMARY_DOMAIN", [undefined, "", "https://a.example", "a.example:8443", "a.example/x", 5]],
    ["PRIMARY_DOMAIN", ["..", "a..example", "[::1]", "*.a.example"]],
    ["STICKY_SESSIONS", ["yes", "", 1, 0, {}]],
    ["SHARE_HEALTH", ["on", "", 1]],
    ["RETRY_NON_IDEMPOTENT", ["no", ""]],
    ["SESSION_COOKIE_NAME", ["my lb", "my;lb", "a=b", "", {}]],
    ["SESSION_COOKIE_TTL", [0, 34_560_001, "1d"]],
    ["MAX_RETRIES", [-1, 11, 1.5, "1.0", "many", "", "1e1", "0x1", "+1", true, Number.NaN, [3]]],
    ["BACKEND_DOWN_TIME", [-1, 3_600_001, ""]],
    ["BACKEND_TIMEOUT", [0, 3_600_001]],
    ["PROBE_AFTER", [0, 3_600_001]],
    ["HEALTH_CHECK_INTERVAL", [-1, 1, 999, 3_600_001, "often"]],
    ["HEALTH_CHECK_PATH", ["health", "", "//health", "/a b", "/a#b", "https://a.example/health", 5]],
    ["HEALTH_CHECK_EXPECT", ["x".repeat(201), {}, ["ok"]]],
    ["STATUS_PATH", ["status", "/", "//status", "/status?format=json", "/status#top", "/a/../status", "/..", "/."]],
    ["STATUS_PATH", ["/%73tatus", "/a b", "/api/v1/health", true]],
    ["SERVED_BY_HEADER", ["Set-Cookie", "Content-Length", "X-", "X-Served By", "X-Served-By:", "X-A\r\nSet-Cookie", 5]],
  ] as const)("that is not allowed is refused, by the name of its variable: %s", (variable, refused) => {
    for (const given of refused) expect(refusedOf({ ...VARS, [variable]: given }), String(given)).toEqual([variable]);
  });

  it.each([
    [undefined, undefined, '"success":true'],
    [undefined, "/api/v1/health", '"success":true'],
    [undefined, "/health", ""],
    ["", undefined, ""],
    ["ok", "/health", "ok"],
  ])("of HEALTH_CHECK_EXPECT follows HEALTH_CHECK_PATH where it is absent: %j with %j is %j", (text, path, value) => {
    const vars = { HEALTH_CHECK_EXPECT: text, HEALTH_CHECK_PATH: path };
    expect(configWith(vars).healthCheckExpect).toBe(value);
  });

  it("keeps the status page apart from the health route, whatever its query", () => {
    const vars = { ...VARS, HEALTH_CHECK_PATH: "/health?deep=1" };
    expect(refusedOf({ ...vars, STATUS_PATH: "/health" })).toEqual(["STATUS_PATH"]);
    expect(refusedOf({ ...vars, STATUS_PATH: "/api/v1/health" })).toEqual([]);
  });
});

describe("a configuration", () => {
  it("cannot be changed, nor can its backends", () => {
    const config = configWith();
    expect([config, config.backends, ...config.backends].every(Object.isFrozen)).toBe(true);
  });

  it("leaves variables that it does not know alone", () => {
    expect(refusedOf({ ...VARS, SOMETHING_ELSE: {}, METRICS: { writeDataPoint() {} } })).toEqual([]);
  });

  it("is refused with all that is wrong with it at once", () => {
    const everything = Object.fromEntries(NAMES.map((name) => [name, "\u0000".repeat(201)]));
    expect(refusedOf({ ...everything, BACKEND_X: "/", BACKEND_Y: "y.example.net weight=0" })).toEqual([
      ...NAMES,
      "BACKEND_X",
      "BACKEND_Y",
    ]);
  });

  it("is refused with what is allowed, for the public: never with what was found", () => {
    const { message } = new ConfigError(issuesOf({ ...VARS, MAX_RETRIES: "-1", BACKEND_A: "hidden.example.net/x" }));
    expect(message).toBe(
      "MAX_RETRIES must be a whole number from 0 to 10\n" +
        "BACKEND_A must be host, host:port or http(s)://host[:port], then any of: weight=1 to weight=100, backup",
    );
  });

  it("throws nothing but a ConfigError, whatever the variables hold", () => {
    const names = fc.oneof(
      fc.constantFrom(...NAMES, "BACKEND_A", "HEADERS_A"),
      fc.string().map((name) => `BACKEND_${name}`),
    );
    const values = fc.oneof(anyText, fc.ipV6(), fc.anything({ maxDepth: 1 }));
    const vars = fc.dictionary(names, values);
    fc.assert(
      fc.property(vars, (given) => {
        issuesOf({ ...VARS, ...given });
        issuesOf(given);
      }),
      { numRuns: 500 },
    );
  });
});

it("tells a backend's variable from a setting that begins like one", () => {
  const names = ["BACKEND_X", "BACKEND_TIMEOUT", "BACKEND_DOWN_TIME", "backend_x", "MAX_RETRIES"];
  expect(names.filter(isBackendVariable)).toEqual(["BACKEND_X"]);
});

it("knows the names of its variables", () => {
  const names = ["PRIMARY_DOMAIN", "BACKEND_X", "BACKEND_TIMEOUT", "HEADERS_X"];
  expect([...names, "MAX_RETRY", "toString"].filter(isKnownVariable)).toEqual(names);
});

describe("the README's table", () => {
  /** Rows such as "| `MAX_RETRIES` | `3` | further attempts |". */
  const table = /^\| Variable \| Default \| Meaning \|\n.*\n((?:\|.*\n)+)/m.exec(readme)?.[1] ?? "";
  const rows = [...table.matchAll(/^\| (`.*?`) \| (.*?) \|/gm)].map(([, names = "", value = ""]) => ({
    names: [...names.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name),
    value,
  }));

  it("has every variable and no other", () => {
    const settings = rows.flatMap(({ names }) => names).filter((name) => !isBackendVariable(name));
    expect(settings.sort()).toEqual([...NAMES].sort());
  });

  it.each(NAMES)("names the default of %s", (name) => {
    const { defaultValue } = VARIABLES[name];
    const value = rows.find(({ names }) => names.includes(name))?.value;
    if (defaultValue === undefined) expect(value).toBe("required");
    else if (name === "HEALTH_CHECK_EXPECT") expect(value).toBe('`"success":true` for the default path, else empty');
    else if (defaultValue === "") expect(value).toMatch(/^empty\b/);
    else expect(value).toBe(`\`${defaultValue}\``);
  });
});
