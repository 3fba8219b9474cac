import { describe, expect, it } from "vitest";
import { type Complaint, judgeDeployment, type Settings } from "../../../src/cli/judgement.ts";
import { hintFor } from "../../../src/cli/spelling.ts";

const DOMAIN = "streams.films.test";
const VARS = {
  PRIMARY_DOMAIN: DOMAIN,
  BACKEND_CF: "cf.films.test",
  BACKEND_DUCK: "duck.films.test:8443 weight=2 backup",
};
const ROUTES = [{ pattern: DOMAIN, custom_domain: true }];

const judged = (changes: Partial<Settings>) => judgeDeployment({ vars: VARS, routes: ROUTES, ...changes });
const withVars = (vars: Record<string, unknown>) => judged({ vars: { ...VARS, ...vars } });
const inWords = (complaints: readonly Complaint[]) => complaints.map(({ variable, text }) => `${variable} ${text}`);

describe("the variables", () => {
  it("are fine as they are meant", () => {
    expect(judged({})).toMatchObject({ complaints: [], unreachable: [], warnings: [] });
  });

  it.each([
    [{ MAX_RETRIES: 33 }, 'MAX_RETRIES must be a whole number from 0 to 10, found "33"'],
    [{ STICKY_SESSIONS: "yes" }, 'STICKY_SESSIONS must be true or false, found "yes"'],
    [{ BACKEND_X: "x.films.test wieght=2" }, expect.stringMatching(/^BACKEND_X may have these options/)],
    [
      { BACKEND_X: "cf.films.test" },
      expect.stringMatching(/^BACKEND_X must not .* the address of another backend: cf/),
    ],
    [{ BACKEND_CF: "", BACKEND_DUCK: "" }, "BACKEND_<NAME> is required: at least one backend that is no backup"],
    [{ BACKEND_CF: "" }, "BACKEND_<NAME> is required: at least one backend that is no backup"],
    [{ BACKEND_X: "aiostreams.example.com" }, 'BACKEND_X still has its example value "aiostreams.example.com"'],
    [{ BACKEND_X: "x.example.com weight=2 backup" }, 'BACKEND_X still has its example value "x.example.com"'],
    [{ BACKEND_X: "https://x.example.com:8443/" }, 'BACKEND_X still has its example value "x.example.com:8443"'],
    [
      { BACKEND_HOME: "home.films.test", BACKEND_home: "home.films.test" },
      expect.stringMatching(/^BACKEND_home must not have the name, in any case, .* of another backend: home/),
    ],
    [{ HEADERS_X: "X-A: b" }, "HEADERS_X must name a backend: there is no BACKEND_X"],
    [{ STATUS_PATH: " /lb-status-8f3a" }, "STATUS_PATH still has its example value, which everybody can read"],
    [{ ANYTHING: "at all" }, "ANYTHING is no variable of this Worker"],
  ])("are refused where they cannot work: %j", (vars, complaint) => {
    const { complaints, warnings } = withVars(vars);
    expect([inWords(complaints), warnings]).toEqual([[complaint], []]);
  });

  it("are refused all at once", () => {
    const { complaints } = withVars({ MAX_RETRIES: -1, PROBE_AFTER: "soon", BACKEND_X: "x.example.com", OTHER: 1 });
    expect(complaints.map(({ variable }) => variable)).toEqual(["MAX_RETRIES", "PROBE_AFTER", "OTHER", "BACKEND_X"]);
  });

  it("may be emptied where they still have the host name of an example", () => {
    const { complaints } = withVars({ PRIMARY_DOMAIN: "aiostreams.example.com", BACKEND_DUCK: "duck.example.com" });
    const todo = "Put your own host name there in wrangler.toml";
    expect(complaints.slice(0, 2)).toMatchObject([
      { variable: "PRIMARY_DOMAIN", todo: `${todo}.` },
      { variable: "BACKEND_DUCK", todo: `${todo}, or empty it (BACKEND_DUCK = "") if you have no such backend.` },
    ]);
  });

  it("are told to name the backend itself where it is PRIMARY_DOMAIN", () => {
    const todo = "Give the backend's own host name.";
    expect(withVars({ BACKEND_X: `https://${DOMAIN} backup` }).complaints).toMatchObject([
      { variable: "BACKEND_X", todo },
    ]);
  });

  it("are refused without a word of what may be secret in them", () => {
    const { complaints } = withVars({
      BACKEND_CF: "https://me:hunter2@cf.example.com/stremio/uuid/manifest-secret",
      BACKEND_DUCK: "me:hunter2@duck.example.com",
      BACKEND_X: "http://hunter2@192.168.1.4/hunter2",
      STATUS_PATH: "lb-status-secret",
    });
    const named = complaints.map(({ variable }) => variable);
    for (const name of ["BACKEND_CF", "BACKEND_DUCK", "BACKEND_X", "STATUS_PATH"]) expect(named).toContain(name);
    expect(JSON.stringify(complaints)).not.toMatch(/hunter2|manifest-secret|lb-status-secret/);
  });

  it("are refused in whole sentences, which say what to do in wrangler.toml", () => {
    const vars = { MAX_RETRIES: -1, BACKEND_X: "localhost", BACKEND_Y: "y.example.com", MAX_RETRY: 1, OTHER: 1 };
    const { complaints, unreachable } = withVars(vars);
    const sentences = [...complaints, ...unreachable].map(({ text, todo }) => `${text}. ${todo}`);
    expect(sentences).toHaveLength(5);
    for (const text of sentences) expect(text).toMatch(/^(?!.*[.?!]\.).* wrangler\.toml\b.*\.$/);
  });
});

describe("a misspelt variable", () => {
  it.each([
    ["MAX_RETRY", "MAX_RETRIES"],
    ["max_retries", "MAX_RETRIES"],
    ["PROBE_AFTR", "PROBE_AFTER"],
    ["STICKY-SESSION", "STICKY_SESSIONS"],
    ["BACKEND_TIME_OUT", "BACKEND_TIMEOUT"],
    ["BACKEND_DOWNTIME", "BACKEND_DOWN_TIME"],
    ["BACKENDS_KOYEB", "BACKEND_KOYEB"],
    ["HEADER_CF", "HEADERS_CF"],
    ["backend_home", "BACKEND_HOME"],
    ["BACKEND-HOME", "BACKEND_HOME"],
    ["BACKENDS", "BACKEND_<NAME>"],
    ["HEADERS", "HEADERS_<NAME>"],
    ["BACKEND-TIMEOUT", "BACKEND_TIMEOUT"],
  ])("%s is told which name it resembles: %s", (name, meant) => {
    const todo = `Did you mean ${meant}? Correct its name in wrangler.toml.`;
    expect(withVars({ [name]: 30_000 }).complaints).toMatchObject([{ variable: name, todo }]);
  });

  it.each(["ANYTHING", "TIMEOUT_OF_ALL", "X"])("%s resembles none", (name) => {
    const todo = "Correct its name in wrangler.toml, or remove it.";
    expect(withVars({ [name]: 1 }).complaints).toMatchObject([{ variable: name, todo }]);
  });

  it("is a backend where its value is the address of one", () => {
    expect(withVars({ BACKEND_TIMEOUTS: "slow.films.test" }).complaints).toEqual([]);
    const { complaints } = withVars({ BACKEND_TIMEOUTS: "slow.films.test weight=0" });
    expect(complaints).toMatchObject([{ text: expect.stringContaining("may have these options") }]);
  });

  it("is not taken for an address that Cloudflare cannot reach", () => {
    expect(withVars({ BACKEND_TIME_OUT: true }).unreachable).toEqual([]);
  });
});

describe("an address that Cloudflare cannot reach", () => {
  it.each([
    ["localhost", "a name of your own network (localhost)"],
    ["http://localhost:3000", "a name of your own network (localhost)"],
    ["app.localhost", "a name of your own network (app.localhost)"],
    ["aiostreams:3000 weight=2", "a name of your own network (aiostreams)"],
    ["NAS.local", "a name of your own network (nas.local)"],
    ["nas.home.arpa", "a name of your own network (nas.home.arpa)"],
    ["http://192.168.1.4:3000", "an IP address (192.168.1.4)"],
    ["10.0.0.7 backup", "an IP address (10.0.0.7)"],
    ["127.0.0.1:3000", "an IP address (127.0.0.1)"],
    ["198.51.100.7", "an IP address (198.51.100.7)"],
    ["http://[2001:db8::1]:3000", "an IP address (2001:db8::1)"],
    ["[::1]", "an IP address (::1)"],
  ])("is refused before a deployment: %s", (address, what) => {
    const { complaints, unreachable } = withVars({ BACKEND_HOME: address });
    expect(complaints).toEqual([]);
    expect(unreachable).toMatchObject([{ variable: "BACKEND_HOME", text: expect.stringContaining(`is ${what}`) }]);
  });

  it("may be PRIMARY_DOMAIN too", () => {
    const { unreachable } = withVars({ PRIMARY_DOMAIN: "localhost" });
    expect(unreachable).toMatchObject([{ variable: "PRIMARY_DOMAIN" }]);
  });

  it("is asked by the doctor all the same, for the Worker may run under wrangler dev", () => {
    const { backends } = withVars({ BACKEND_HOME: "http://127.0.0.1:3000" });
    expect(backends.map(({ id }) => id)).toEqual(["cf", "duck", "home"]);
  });

  it.each(["localhost.films.test", "home.films.test", "10.films.test", "lan.tailnet.ts.net"])(
    "is not %s",
    (address) => {
      expect(withVars({ BACKEND_HOME: address }).unreachable).toEqual([]);
    },
  );
});

describe("the route", () => {
  it.each<[string, Partial<Settings>]>([
    ["the domain as custom_domain", { routes: [{ pattern: DOMAIN, custom_domain: true }] }],
    ["a zone's pattern", { routes: [{ pattern: `${DOMAIN}/*`, zone_name: "films.test" } as { pattern: string }] }],
    ["a text with /*", { routes: [`${DOMAIN}/*`] }],
    ["a text with * behind the host", { routes: [`${DOMAIN}*`] }],
    ["a text with https://", { routes: [`https://${DOMAIN}/*`] }],
    ["a wildcard for the subdomain", { routes: ["*.films.test/*"] }],
    ["a wildcard for the zone", { routes: ["*films.test/*"] }],
    ["one of several", { routes: ["www.films.test/*", { pattern: DOMAIN, custom_domain: true }] }],
    ["capital letters", { routes: [{ pattern: "Streams.Films.test", custom_domain: true }] }],
    ["route in place of routes", { routes: undefined, route: `${DOMAIN}/*` }],
    ["a domain with a slash", { vars: { ...VARS, PRIMARY_DOMAIN: `${DOMAIN}/` } }],
    ["a domain with a dot at its end", { vars: { ...VARS, PRIMARY_DOMAIN: `${DOMAIN}.` } }],
    ["letters beyond ASCII", { vars: { ...VARS, PRIMARY_DOMAIN: "bücher.test" }, routes: ["bücher.test/*"] }],
  ])("leads every request to the Worker: %s", (_, settings) => {
    expect(judged(settings).complaints).toEqual([]);
  });

  it.each<[Partial<Settings>, string, string]>([
    [{ routes: [DOMAIN] }, "routes", `must match every path, but "${DOMAIN}" matches the path / alone`],
    [{ routes: [{ pattern: DOMAIN }] }, "routes", `must have custom_domain = true beside the pattern "${DOMAIN}"`],
    [{ routes: [`${DOMAIN}/`] }, "routes", `must match every path, but "${DOMAIN}/"`],
    [{ routes: undefined, route: DOMAIN }, "route", `must match every path, but "${DOMAIN}"`],
    [
      { routes: [{ pattern: `${DOMAIN}/*`, custom_domain: true }] },
      "routes",
      `must be a host name without /* where custom_domain is true, found "${DOMAIN}/*"`,
    ],
    [
      { routes: [`${DOMAIN}/configure*`] },
      "routes",
      `must name PRIMARY_DOMAIN (${DOMAIN}), found ${DOMAIN}/configure*`,
    ],
    [{ routes: [`http://${DOMAIN}/*`] }, "routes", "must name PRIMARY_DOMAIN"],
    [
      { routes: [{ pattern: `${DOMAIN}/`, custom_domain: true }] },
      "routes",
      "must be a host name without /* where custom_domain is true",
    ],
    [{ routes: ["str.ams.films.test/*"] }, "routes", "must name PRIMARY_DOMAIN"],
    [{ routes: [{ pattern: "www.films.test", custom_domain: true }] }, "routes", "must name PRIMARY_DOMAIN"],
    [{ routes: undefined }, "routes", `must name PRIMARY_DOMAIN (${DOMAIN}), found none`],
  ])("is refused where requests would pass the Worker by: %j", (settings, variable, text) => {
    expect(judged(settings).complaints).toMatchObject([{ variable, text: expect.stringContaining(text) }]);
  });

  it.each(["my films", "", 30_000, "30000"])("is not spoken of while PRIMARY_DOMAIN names no host: %j", (value) => {
    expect(withVars({ PRIMARY_DOMAIN: value }).complaints).toMatchObject([
      { variable: "PRIMARY_DOMAIN", text: expect.stringContaining("is required"), todo: "Change it in wrangler.toml." },
    ]);
  });

  it("is judged by the host that PRIMARY_DOMAIN has something around", () => {
    const PRIMARY_DOMAIN = "https://me:hunter2@Other.films.test:443/stremio";
    const { complaints } = withVars({ PRIMARY_DOMAIN });
    expect(complaints).toMatchObject([
      { text: expect.stringMatching(/^must be a host name alone, found "https:/), todo: expect.any(String) },
      { variable: "routes", text: `must name PRIMARY_DOMAIN (other.films.test), found ${DOMAIN}` },
    ]);
    expect(complaints[0]?.todo).toBe('Write PRIMARY_DOMAIN = "other.films.test" in wrangler.toml.');
    expect(JSON.stringify(complaints)).not.toContain("hunter2");
  });
});

describe("a variable in another table than [vars]", () => {
  it.each([
    [{ dev: { BACKEND_FOURTH: "fourth.films.test" } }, "BACKEND_FOURTH", "in [dev]"],
    [{ observability: { logs: { MAX_RETRIES: 3 } } }, "MAX_RETRIES", "in [observability.logs]"],
    [
      { analytics_engine_datasets: [{ binding: "METRICS", HEADERS_CF: "X-A: b" }] },
      "HEADERS_CF",
      "in [analytics_engine_datasets],",
    ],
    [{ BACKEND_FOURTH: "fourth.films.test" }, "BACKEND_FOURTH", "above the first table"],
  ])("is refused: %j", (file, variable, where) => {
    const { complaints } = judged({ file: { vars: VARS, ...file } });
    expect(complaints).toMatchObject([{ variable, text: expect.stringContaining(`stands ${where}`) }]);
  });

  it.each([{ dev: { STICKY_SESSIONS: true, ...VARS } }, VARS])(
    "is one complaint with all others where the line [vars] is missing: %j",
    (file) => {
      const { complaints } = judged({ vars: {}, file });
      expect(inWords(complaints)).toEqual(["The line [vars] is missing: put it above PRIMARY_DOMAIN"]);
    },
  );

  it("is not called missing as well", () => {
    const { complaints } = judged({ vars: {}, file: { vars: {}, dev: VARS } });
    expect(inWords(complaints)).toEqual(
      Object.keys(VARS).map((name) => `${name} stands in [dev], where the Worker does not see it`),
    );
  });

  it("is judged in [vars] all the same", () => {
    const { complaints } = judged({
      vars: { ...VARS, MAX_RETRIES: 33 },
      file: { vars: VARS, dev: { MAX_RETRIES: 3 } },
    });
    expect(complaints.map(({ text }) => text)).toEqual([
      'must be a whole number from 0 to 10, found "33"',
      "stands in [dev], where the Worker does not see it",
    ]);
  });

  it("may belong to an environment", () => {
    expect(judged({ file: { vars: VARS, env: { staging: { vars: VARS } } } }).complaints).toEqual([]);
  });
});

describe("a warning, which refuses nothing,", () => {
  it.each([
    [{ enabled: true }, ["invocation_logs"]],
    [{ enabled: true, logs: { invocation_logs: true } }, ["invocation_logs"]],
    [{ logs: { enabled: true } }, ["invocation_logs"]],
    [{ enabled: true, logs: { invocation_logs: false } }, []],
    [{ enabled: true, logs: { enabled: false } }, []],
    [{ enabled: false }, []],
    [undefined, []],
  ])("is given where the log would keep users' passwords: %j", (observability, variables) => {
    const { complaints, warnings } = judged({ observability });
    expect([complaints, warnings.map(({ variable }) => variable)]).toEqual([[], variables]);
  });

  it("is given where a secret stands in [vars], which it does not show", () => {
    const { complaints, warnings } = withVars({ HEADERS_CF: "Authorization: hunter2" });
    expect([complaints, warnings]).toMatchObject([[], [{ variable: "HEADERS_CF" }]]);
    expect(JSON.stringify(warnings)).not.toContain("hunter2");
  });
});

it("keeps a backend's headers apart from what is wrong with its address", () => {
  const { config } = withVars({ BACKEND_X: "x.example.com", HEADERS_X: "X-A: b" });
  expect(config?.backends.map(({ id }) => id)).toEqual(["cf", "duck"]);
});

describe("a line that is no TOML", () => {
  it.each([
    "BACKEND_CF = cf.mydomain.org",
    "  BACKEND_CF=cf.mydomain.org weight=2   # a comment",
    "BACKEND_CF = 192.168.1.4",
    "BACKEND_CF = 192.168.1.4 backup",
    "BACKEND_CF = 4k.mydomain.org",
    "BACKEND_CF = /lb",
    'BACKEND_CF = "cf.mydomain.org',
    'BACKEND_CF = cf.mydomain.org"',
    "BACKEND_CF = “cf.mydomain.org”",
    "BACKEND_CF =",
  ])("is said to lack quotes: %j", (line) => {
    expect(hintFor(line)).toBe("put quotes around the value of BACKEND_CF");
  });

  it.each([
    ["A = 1000 ms", "write the number alone: A = 1000"],
    ["A = 1000ms # long", "write the number alone: A = 1000"],
    ["A = 30 s or so", "write the number alone: A = 30"],
    ["A = yes", "write true or false as the value of A"],
    ["A = True # or so", "write true or false as the value of A"],
    ["A = off", "write true or false as the value of A"],
    ['BACKEND_CF = "cf.films.test" weight=2 backup # fast', "put the options of BACKEND_CF inside the quotes"],
    ['A = "b" c', "put the whole value of A inside the quotes"],
  ])("is told what helps: %j, %s", (line, hint) => {
    expect(hintFor(line)).toBe(hint);
  });

  it.each(['A = "b"', "A = 'b' # c", "MAX_RETRIES = 3", "A = true", "A = [1", 'A = """b', "[vars", "", "# A = b"])(
    "is left to Wrangler's own words where nothing of this helps: %j",
    (line) => {
      expect(hintFor(line)).toBeUndefined();
    },
  );

  it.each([
    [["[vars]", "A = 1", "B = 2"], "A stands there twice: remove one of the two lines"],
    [["A = 1", "[vars]", "AA = 1", "# A = 1"], undefined],
  ])("may be the second one of its name in its table: %j", (above, hint) => {
    expect(hintFor("A = 3", above)).toBe(hint);
  });
});
