import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError, isKnownVariable, parseConfig } from "../../src/config.ts";

const MINIMAL = { PRIMARY_DOMAIN: "aiostreams.example.com", BACKEND_CF: "cf.example.net" };

function faultsOf(vars: Record<string, unknown>): string[] {
  try {
    parseConfig(vars);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults.map(({ variable }) => variable);
    throw error;
  }
  return [];
}

const originOf = (text: unknown) => parseConfig({ ...MINIMAL, BACKEND_CF: text }).backends[0]?.origin;

describe("defaults", () => {
  it("are those that the README names", () => {
    expect(parseConfig(MINIMAL)).toMatchObject({
      stickySessions: true,
      sessionCookieName: "aiostreams_backend",
      downTimeMs: 30_000,
      maxRetries: 3,
      backendTimeoutMs: 100_000,
      healthCheckPath: "/api/v1/health",
      probeAfterMs: 5_000,
      retryNonIdempotent: true,
      statusPath: "",
      servedByHeader: "",
    });
  });

  it("bind a client for a day", () => {
    expect(parseConfig(MINIMAL).backends[0]?.setCookie).toContain("Max-Age=86400");
  });
});

describe("backends", () => {
  it.each([
    ["host.example.net", "https://host.example.net"],
    ["host.example.net:8443", "https://host.example.net:8443"],
    ["localhost:3000", "https://localhost:3000"],
    ["http://host.example.net", "http://host.example.net"],
    ["http://host.example.net:8080", "http://host.example.net:8080"],
    ["https://host.example.net:443", "https://host.example.net"],
    ["https://host.example.net/", "https://host.example.net"],
    ["  host.example.net  ", "https://host.example.net"],
    ["HTTPS://HOST.Example.NET", "https://host.example.net"],
    ["host.example.net.", "https://host.example.net"],
    ["192.0.2.7:8080", "https://192.0.2.7:8080"],
    ["http://[2001:db8::1]:3000", "http://[2001:db8::1]:3000"],
  ])("reads %s as %s", (text, origin) => {
    expect(originOf(text)).toBe(origin);
  });

  it.each([
    "host.example.net/path",
    "https://host.example.net/path",
    "https://user:secret@host.example.net",
    "user@host.example.net",
    "ftp://host.example.net",
    "https://",
    "https:///",
    "host.example.net:99999",
    "host.example.net:0",
    "host.example.net?x",
    "host.example.net#x",
    "two words",
    "30000",
    "a,b",
    30000,
    true,
    {},
  ])("refuses %j", (text) => {
    expect(faultsOf({ ...MINIMAL, BACKEND_CF: text })).toEqual(["BACKEND_CF"]);
  });

  it("have their variable's name in lower case as their id, in the order of the ids", () => {
    const { backends } = parseConfig({ ...MINIMAL, BACKEND_Zeta: "z.example.net", BACKEND_ALPHA_2: "a.example.net" });
    expect(backends.map(({ id }) => id)).toEqual(["alpha_2", "cf", "zeta"]);
  });

  it("are absent when their variable is empty", () => {
    expect(parseConfig({ ...MINIMAL, BACKEND_DUCK: "  " }).backends).toHaveLength(1);
  });

  it("do not include the settings that begin with BACKEND_", () => {
    const { backends } = parseConfig({ ...MINIMAL, BACKEND_DOWN_TIME: "1000", BACKEND_TIMEOUT: 2000 });
    expect(backends.map(({ id }) => id)).toEqual(["cf"]);
  });

  it("are required", () => {
    expect(faultsOf({ PRIMARY_DOMAIN: "a.example.com", BACKEND_CF: "" })).toEqual(["BACKEND_<NAME>"]);
  });

  it("are refused when two have the same origin, however it is written", () => {
    expect(faultsOf({ ...MINIMAL, BACKEND_DUCK: "https://CF.example.net:443/" })).toEqual(["BACKEND_DUCK"]);
  });

  it("are refused when two have the same id", () => {
    expect(faultsOf({ ...MINIMAL, BACKEND_cf: "other.example.net" })).toEqual(["BACKEND_cf"]);
  });

  it("are refused when one is the public domain itself, whatever its port", () => {
    expect(faultsOf({ ...MINIMAL, BACKEND_DUCK: "http://AIOStreams.example.com.:8080" })).toEqual(["BACKEND_DUCK"]);
  });

  it("are refused when their name could not stand in a cookie", () => {
    expect(faultsOf({ ...MINIMAL, "BACKEND_A;B": "b.example.net" })).toEqual(["BACKEND_A;B"]);
  });
});

describe("values", () => {
  it.each([
    ["STICKY_SESSIONS", "stickySessions", "False", false],
    ["STICKY_SESSIONS", "stickySessions", "false", false],
    ["STICKY_SESSIONS", "stickySessions", false, false],
    ["STICKY_SESSIONS", "stickySessions", " TRUE ", true],
    ["MAX_RETRIES", "maxRetries", "0", 0],
    ["MAX_RETRIES", "maxRetries", 10, 10],
    ["BACKEND_DOWN_TIME", "downTimeMs", 0, 0],
    ["BACKEND_DOWN_TIME", "downTimeMs", "3600000", 3_600_000],
    ["HEALTH_CHECK_PATH", "healthCheckPath", "/", "/"],
    ["SESSION_COOKIE_NAME", "sessionCookieName", "__Host-my.lb", "__Host-my.lb"],
    ["STATUS_PATH", "statusPath", " /lb-status-8f3a ", "/lb-status-8f3a"],
    ["STATUS_PATH", "statusPath", "/a/b_c.d~e", "/a/b_c.d~e"],
    ["STATUS_PATH", "statusPath", "/.well-known/lb", "/.well-known/lb"],
    ["STATUS_PATH", "statusPath", "  ", ""],
    ["SERVED_BY_HEADER", "servedByHeader", "X-Served-By", "X-Served-By"],
    ["SERVED_BY_HEADER", "servedByHeader", "x-lb.backend", "x-lb.backend"],
  ])("%s: %s is accepted from TOML and from text (%j)", (variable, field, given, value) => {
    expect(parseConfig({ ...MINIMAL, [variable]: given })).toHaveProperty(field, value);
  });

  it.each([
    ["MAX_RETRIES", -1],
    ["MAX_RETRIES", 11],
    ["MAX_RETRIES", 1.5],
    ["MAX_RETRIES", "many"],
    ["MAX_RETRIES", ""],
    ["MAX_RETRIES", "1e1"],
    ["MAX_RETRIES", true],
    ["MAX_RETRIES", Number.NaN],
    ["BACKEND_DOWN_TIME", 3_600_001],
    ["BACKEND_TIMEOUT", 0],
    ["PROBE_AFTER", 0],
    ["SESSION_COOKIE_TTL", 0],
    ["SESSION_COOKIE_TTL", 34_560_001],
    ["STICKY_SESSIONS", "yes"],
    ["STICKY_SESSIONS", 1],
    ["STICKY_SESSIONS", ""],
    ["RETRY_NON_IDEMPOTENT", "no"],
    ["SESSION_COOKIE_NAME", "my lb"],
    ["SESSION_COOKIE_NAME", "my;lb"],
    ["SESSION_COOKIE_NAME", ""],
    ["HEALTH_CHECK_PATH", "health"],
    ["HEALTH_CHECK_PATH", "//health"],
    ["HEALTH_CHECK_PATH", "/a b"],
    ["STATUS_PATH", "status"],
    ["STATUS_PATH", "/"],
    ["STATUS_PATH", "//status"],
    ["STATUS_PATH", "/status?format=json"],
    ["STATUS_PATH", "/status#top"],
    ["STATUS_PATH", "/a/../status"],
    ["STATUS_PATH", "/.."],
    ["STATUS_PATH", "/%73tatus"],
    ["STATUS_PATH", "/api/v1/health"],
    ["STATUS_PATH", true],
    ["SERVED_BY_HEADER", "Set-Cookie"],
    ["SERVED_BY_HEADER", "Content-Length"],
    ["SERVED_BY_HEADER", "X-"],
    ["SERVED_BY_HEADER", "X-Served By"],
    ["SERVED_BY_HEADER", "X-Served-By:"],
    ["SERVED_BY_HEADER", "X-A\r\nSet-Cookie"],
    ["PRIMARY_DOMAIN", ""],
    ["PRIMARY_DOMAIN", undefined],
    ["PRIMARY_DOMAIN", "https://aiostreams.example.com"],
    ["PRIMARY_DOMAIN", "aiostreams.example.com:8443"],
    ["PRIMARY_DOMAIN", "aiostreams.example.com/x"],
    ["PRIMARY_DOMAIN", 5],
  ])("%s = %j is refused", (variable, given) => {
    expect(faultsOf({ ...MINIMAL, [variable]: given })).toEqual([variable]);
  });

  it("keeps the status page apart from the health route, whatever its query", () => {
    const vars = { ...MINIMAL, HEALTH_CHECK_PATH: "/health?deep=1" };
    expect(faultsOf({ ...vars, STATUS_PATH: "/health" })).toEqual(["STATUS_PATH"]);
    expect(faultsOf({ ...vars, STATUS_PATH: "/api/v1/health" })).toEqual([]);
  });

  it("leaves variables that it does not know alone", () => {
    expect(faultsOf({ ...MINIMAL, SOMETHING_ELSE: {} })).toEqual([]);
  });
});

describe("a ConfigError", () => {
  const broken = { PRIMARY_DOMAIN: "", BACKEND_CF: "http://secret-host.example.net/x", MAX_RETRIES: "-1" };
  const error = (() => {
    try {
      return parseConfig(broken);
    } catch (thrown) {
      return thrown as ConfigError;
    }
  })() as ConfigError;

  it("lists every fault at once", () => {
    expect(error.faults.map(({ variable }) => variable)).toEqual(["PRIMARY_DOMAIN", "MAX_RETRIES", "BACKEND_CF"]);
  });

  it("says what is allowed", () => {
    expect(error.message).toContain("MAX_RETRIES must be a whole number from 0 to 10");
  });

  it("keeps what was found out of its message", () => {
    expect(error.message).not.toContain("secret-host");
  });
});

it("knows the names of its variables", () => {
  expect(["PRIMARY_DOMAIN", "BACKEND_X", "BACKEND_TIMEOUT", "MAX_RETRY"].map(isKnownVariable)).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

describe("whatever the variables hold", () => {
  const names = fc.oneof(
    fc.constantFrom("PRIMARY_DOMAIN", "BACKEND_CF", "BACKEND_DUCK", "MAX_RETRIES", "STICKY_SESSIONS", "PROBE_AFTER"),
    fc.string().map((name) => `BACKEND_${name}`),
    fc.string(),
  );
  const hosts = fc.oneof(fc.domain(), fc.webUrl(), fc.ipV6(), fc.ipV4());
  const values = fc.oneof(fc.string({ unit: "binary" }), hosts, fc.anything());

  it("nothing but a ConfigError is thrown", () => {
    fc.assert(
      fc.property(fc.dictionary(names, values), (vars) => {
        faultsOf({ ...MINIMAL, ...vars });
        faultsOf(vars);
      }),
      { numRuns: 2_000 },
    );
  });

  it("an accepted backend is an origin that the URL parser agrees with", () => {
    fc.assert(
      fc.property(fc.oneof(hosts, fc.string()), (text) => {
        const vars = { ...MINIMAL, BACKEND_CF: "", BACKEND_ANY: text };
        if (faultsOf(vars).length > 0) return;
        const origin = parseConfig(vars).backends[0]?.origin ?? "";
        expect(new URL(origin).origin).toBe(origin);
      }),
      { numRuns: 2_000 },
    );
  });
});
