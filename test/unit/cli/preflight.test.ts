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
const vars = (values: Record<string, unknown>) => ({ vars: { ...VARS, ...values } });
const withVars = (values: Record<string, unknown>) => judged(vars(values));
const customDomain = (pattern: string) => ({ routes: [{ pattern, custom_domain: true }] });
const inWords = (complaints: readonly Complaint[]) => complaints.map(({ variable, text }) => `${variable} ${text}`);

/** A table of settings, and what is refused of them: in this order, and nothing else; "…" stands for any text. */
function refuses(table: Record<string, [changes: Partial<Settings>, ...complaints: string[]]>) {
  it.each(Object.entries(table))("%s", (_, [changes, ...complaints]) => {
    const { complaints: found, warnings } = judged(changes);
    const expected = complaints.map((it) => (it.endsWith("…") ? expect.stringContaining(it.slice(0, -1)) : it));
    expect(inWords(found)).toEqual(expected);
    expect(warnings).toEqual([]);
  });
}

/** The same of the variables alone. */
function refusesOf(table: Record<string, [values: Record<string, unknown>, ...complaints: string[]]>) {
  const rows = Object.entries(table).map(([title, [values, ...complaints]]) => [title, [vars(values), ...complaints]]);
  refuses(Object.fromEntries(rows));
}

describe("the variables are refused where they cannot work", () => {
  const likeHeader = "looks like a request header, which belongs into the secret HEADERS_X";
  const example = (host: string) => `BACKEND_X still has its example value "${host}"`;
  refusesOf({
    "but not as they are meant": [{}],
    "a number out of bounds": [{ MAX_RETRIES: 33 }, 'MAX_RETRIES must be a whole number from 0 to 10, found "33"'],
    "an unknown boolean": [{ STICKY_SESSIONS: "yes" }, 'STICKY_SESSIONS must be true or false, found "yes"'],
    "an unknown option": [{ BACKEND_X: "x.films.test wieght=2" }, "BACKEND_X must be host…"],
    "a backend twice": [{ BACKEND_X: "cf.films.test" }, "BACKEND_X must not have the name, in any case, or the a…"],
    "no backend": [{ BACKEND_CF: "", BACKEND_DUCK: "" }, "BACKEND_<NAME> is required…"],
    "only backups": [{ BACKEND_CF: "" }, "BACKEND_<NAME> is required: at least one backend that is no backup"],
    "no public domain": [{ PRIMARY_DOMAIN: undefined }, "PRIMARY_DOMAIN is missing"],
    "a header in place of an address": [{ BACKEND_X: "X-Token: a" }, `BACKEND_X ${likeHeader}`],
    "a header behind an address": [{ BACKEND_X: "x.films.test X-Token: a" }, `BACKEND_X ${likeHeader}`],
    "a scheme with a gap behind it": [{ BACKEND_X: "https: //x.films.test" }, "BACKEND_X must be host…"],
    "an example": [{ BACKEND_X: "aiostreams.example.com" }, example("aiostreams.example.com")],
    "an example with options": [{ BACKEND_X: "x.example.com weight=2 backup" }, example("x.example.com")],
    "an example's URL": [{ BACKEND_X: "https://x.example.com:8443/" }, example("x.example.com:8443")],
    "one name in two cases": [{ BACKEND_cf: "x.films.test" }, "BACKEND_cf must not have the name, in any case, or…"],
    "an example's path": [{ STATUS_PATH: " /lb-status-8f3a" }, "STATUS_PATH still has its example value, which…"],
    "an unknown name": [{ ANYTHING: "at all" }, "ANYTHING is no variable of this Worker"],
    "a weight out of bounds, of a backend whose name resembles another variable's": [
      { BACKEND_TIMEOUTS: "slow.films.test weight=0" },
      "BACKEND_TIMEOUTS must be host…",
    ],
    "but not a backend whose name resembles another variable's": [{ BACKEND_TIMEOUTS: "slow.films.test" }],
    "all at once": [
      { MAX_RETRIES: -1, PROBE_AFTER: "soon", BACKEND_X: "x.example.com", OTHER: 1 },
      "MAX_RETRIES …",
      "PROBE_AFTER …",
      "OTHER …",
      "BACKEND_X …",
    ],
  });

  const secretOf = (name: string) => `deploy, and run: npx wrangler secret put ${name}`;
  it.each<[vars: Record<string, unknown>, todo: string]>([
    [{ PRIMARY_DOMAIN: "my films" }, "Correct its value."],
    [{ PRIMARY_DOMAIN: "https://Other.films.test/" }, 'Write PRIMARY_DOMAIN = "other.films.test".'],
    [{ PRIMARY_DOMAIN: "aiostreams.example.com" }, "Put your own host name there."],
    [
      { BACKEND_DUCK: "duck.example.com" },
      'Put the host name of that AIOStreams server there, or empty it (BACKEND_DUCK = "") if you have no such backend.',
    ],
    [{ BACKEND_DUCK: "X-A: b" }, `Put the address of that AIOStreams server there, ${secretOf("HEADERS_DUCK")}`],
    [{ HEADERS_DUKC: "X-A: b" }, "Did you mean HEADERS_DUCK?"],
    [{ HEADERS_X: "X-A: b" }, "Remove the line."],
    [{ BACKEND_X: `https://${DOMAIN} backup` }, "Give the backend's own host name."],
  ])("with what to do: %j, %s", (values, todo) => {
    expect(withVars(values).complaints[0]).toMatchObject({ variable: Object.keys(values)[0], todo });
  });

  it("without a word of what may be secret in them", () => {
    const values = {
      PRIMARY_DOMAIN: "https://me:hunter2@Other.films.test:443/stremio",
      BACKEND_CF: "https://me:hunter2@cf.example.com/stremio/uuid/manifest-secret",
      BACKEND_DUCK: "me:hunter2@duck.example.com",
      BACKEND_X: "http://hunter2@192.168.1.4/hunter2",
      BACKEND_Y: "y.films.test X-Token: hunter2",
      SERVED_BY_HEADER: "X-Served-By X-Token: hunter2",
      STATUS_PATH: "lb-status-secret",
    };
    const { complaints } = withVars(values);
    expect(complaints.map(({ variable }) => variable)).toEqual(expect.arrayContaining(Object.keys(values)));
    expect(JSON.stringify(complaints)).not.toMatch(/hunter2|manifest-secret|lb-status-secret/);
  });

  it("in whole sentences, which are read below the name of the file", () => {
    const values = { MAX_RETRIES: -1, BACKEND_X: "localhost", BACKEND_Y: "y.example.com", MAX_RETRY: 1, OTHER: 1 };
    const { complaints, unreachable } = withVars(values);
    const sentences = [...complaints, ...unreachable].map(({ text, todo }) => `${text}. ${todo}`);
    expect(sentences).toHaveLength(5);
    for (const text of sentences) expect(text).toMatch(/^(?!.*[.?!]\.)(?!.*wrangler\.toml).*\.$/);
  });
});

const MISSPELT: Record<string, string[]> = {
  MAX_RETRIES: ["MAX_RETRY", "max_retries"],
  PROBE_AFTER: ["PROBE_AFTR"],
  STICKY_SESSIONS: ["STICKY-SESSION"],
  BACKEND_TIMEOUT: ["BACKEND_TIME_OUT", "BACKEND-TIMEOUT"],
  BACKEND_DOWN_TIME: ["BACKEND_DOWNTIME"],
  BACKEND_KOYEB: ["BACKENDS_KOYEB"],
  BACKEND_HOME: ["backend_home", "BACKEND-HOME"],
  "BACKEND_<NAME>": ["BACKENDS"],
  HEADERS_CF: ["HEADER_CF"],
  "HEADERS_<NAME>": ["HEADERS"],
};
it.each<[name: string, meant?: string]>([
  ...Object.entries(MISSPELT).flatMap(([meant, names]) => names.map((name): [string, string] => [name, meant])),
  ...["ANYTHING", "TIMEOUT_OF_ALL", "X"].map((name): [string] => [name]),
])("a misspelt variable is told which name it resembles, if any: %s, %s", (name, meant) => {
  const advice = meant?.startsWith("HEADERS_")
    ? "It is a secret, and this file is no place for one."
    : "Correct its name.";
  const todo = meant === undefined ? "Correct its name, or remove it." : `Did you mean ${meant}? ${advice}`;
  for (const value of [30_000, true]) {
    const { complaints, unreachable } = withVars({ [name]: value });
    expect(complaints).toMatchObject([{ variable: name, todo: expect.stringContaining(todo) }]);
    expect(unreachable).toEqual([]);
  }
});

describe("an address that Cloudflare cannot reach", () => {
  it.each([
    ["localhost", "a name of your own network (localhost)"],
    ["app.localhost", "a name of your own network (app.localhost)"],
    ["aiostreams:3000 weight=2", "a name of your own network (aiostreams)"],
    ["NAS.local", "a name of your own network (nas.local)"],
    ["nas.home.arpa", "a name of your own network (nas.home.arpa)"],
    ["http://192.168.1.4:3000", "an IP address (192.168.1.4)"],
    ["10.0.0.7 backup", "an IP address (10.0.0.7)"],
    ["198.51.100.7", "an IP address (198.51.100.7)"],
    ["http://[2001:db8::1]:3000", "an IP address (2001:db8::1)"],
    ["[::1]", "an IP address (::1)"],
    ...["localhost.films.test", "home.films.test", "10.films.test", "lan.tailnet.ts.net"].map((name) => [name]),
  ])("is refused before a deployment, and asked by the doctor all the same: %s, %s", (address, what) => {
    const { backends, complaints, unreachable } = withVars({ BACKEND_HOME: address });
    const refusal = { variable: "BACKEND_HOME", text: expect.stringContaining(`is ${what}`) };
    expect(unreachable).toMatchObject(what === undefined ? [] : [refusal]);
    // The Worker may run under wrangler dev.
    expect([complaints, backends.map(({ id }) => id)]).toEqual([[], ["cf", "duck", "home"]]);
  });

  it("may be PRIMARY_DOMAIN too", () => {
    const { unreachable } = withVars({ PRIMARY_DOMAIN: "localhost" });
    expect(unreachable).toMatchObject([{ variable: "PRIMARY_DOMAIN" }]);
    expect(withVars({ PRIMARY_DOMAIN: "my films", BACKEND_X: "x films test" }).unreachable).toEqual([]);
  });
});

describe("the route leads every request to the Worker:", () => {
  refuses({
    "the domain as custom_domain": [customDomain(DOMAIN)],
    "a zone's pattern": [{ routes: [{ pattern: `${DOMAIN}/*`, zone_name: "films.test" }] }],
    "a text with /*": [{ routes: [`${DOMAIN}/*`] }],
    "a text with * behind the host": [{ routes: [`${DOMAIN}*`] }],
    "a text with https://": [{ routes: [`https://${DOMAIN}/*`] }],
    "a wildcard for the subdomain": [{ routes: ["*.films.test/*"] }],
    "a wildcard for the zone": [{ routes: ["*films.test/*"] }],
    "one of several": [{ routes: ["www.films.test/*", ...ROUTES] }],
    "capital letters": [customDomain("Streams.Films.test")],
    "route in place of routes": [{ routes: undefined, route: `${DOMAIN}/*` }],
    "a domain with a slash": [vars({ PRIMARY_DOMAIN: `${DOMAIN}/` })],
    "a domain with a dot at its end": [vars({ PRIMARY_DOMAIN: `${DOMAIN}.` })],
    "letters beyond ASCII": [{ ...vars({ PRIMARY_DOMAIN: "bücher.test" }), routes: ["bücher.test/*"] }],
  });
});

describe("the route is refused where requests would pass the Worker by:", () => {
  const missing = (paths: string, ...found: string[]) =>
    `routes must match every path, but ${paths} would pass the Worker by, found ${found.join(", ")}`;
  const EXAMPLE = "aiostreams.example.com";
  const example = `still has its example value "${EXAMPLE}"`;
  const [player, api] = ["/stremio/manifest.json?x", "/api/v1/health"];
  const host = "routes must be a host name without /* where custom_domain is true, found";
  const domain = `routes must name PRIMARY_DOMAIN (${DOMAIN}), found`;
  const noHost = ["my films", "", 30_000, "30000"].map((PRIMARY_DOMAIN) => [
    `but not while PRIMARY_DOMAIN names no host: ${JSON.stringify(PRIMARY_DOMAIN)}`,
    [vars({ PRIMARY_DOMAIN }), "PRIMARY_DOMAIN must be a host name…"],
  ]);
  refuses({
    "a text without /*": [{ routes: [DOMAIN] }, missing(`${player} and ${api}`, DOMAIN)],
    "all but the application's own paths": [
      { routes: [DOMAIN, `${DOMAIN}/stremio/*`] },
      missing(api, DOMAIN, `${DOMAIN}/stremio/*`),
    ],
    "a player's paths alone": [
      { routes: [`https://${DOMAIN}/stremio*`] },
      missing(`/ and ${api}`, `https://${DOMAIN}/stremio*`),
    ],
    "an example": [customDomain("*.example.com/*"), 'routes still has its example value "*.example.com"'],
    "an example, beside that of PRIMARY_DOMAIN": [
      { ...vars({ PRIMARY_DOMAIN: EXAMPLE }), ...customDomain(EXAMPLE) },
      `PRIMARY_DOMAIN ${example}`,
      `routes ${example}`,
    ],
    "but not while PRIMARY_DOMAIN is an example": [vars({ PRIMARY_DOMAIN: EXAMPLE }), `PRIMARY_DOMAIN ${example}`],
    "a pattern alone": [
      { routes: [{ pattern: DOMAIN }] },
      `routes must have custom_domain = true beside the pattern "${DOMAIN}"`,
    ],
    "the root": [{ routes: [`${DOMAIN}/`] }, missing(`${player} and ${api}`, `${DOMAIN}/`)],
    "one route without /*": [{ routes: undefined, route: DOMAIN }, "route must match every path, but…"],
    "a custom_domain with /*": [customDomain(`${DOMAIN}/*`), `${host} "${DOMAIN}/*"`],
    "a custom_domain with /": [customDomain(`${DOMAIN}/`), `${host} "${DOMAIN}/"`],
    "one path": [{ routes: [`${DOMAIN}/configure*`] }, missing(`/ and ${player} and ${api}`, `${DOMAIN}/configure*`)],
    "http: alone": [{ routes: [`http://${DOMAIN}/*`] }, `${domain}…`],
    "a dot that is none": [{ routes: ["str.ams.films.test/*"] }, `${domain}…`],
    "another host": [customDomain("www.films.test"), `${domain}…`],
    none: [{ routes: undefined }, `${domain} none`],
    "another host than PRIMARY_DOMAIN has something around": [
      vars({ PRIMARY_DOMAIN: "https://Other.films.test:443/stremio" }),
      'PRIMARY_DOMAIN must be a host name alone, found "https:…',
      `routes must name PRIMARY_DOMAIN (other.films.test), found ${DOMAIN}`,
    ],
    ...Object.fromEntries(noHost),
  });
});

describe("a variable in another table than [vars] is refused:", () => {
  const missing = "The line [vars] is missing: put it above PRIMARY_DOMAIN";
  const file = (tables: object) => ({ file: { vars: VARS, ...tables } });
  refuses({
    "[dev]": [file({ dev: { BACKEND_FOURTH: "fourth.films.test" } }), "BACKEND_FOURTH stands in [dev]…"],
    "a table in a table": [
      file({ observability: { logs: { MAX_RETRIES: 3 } } }),
      "MAX_RETRIES stands in [observability.logs]…",
    ],
    "an array of tables": [
      file({ analytics_engine_datasets: [{ binding: "METRICS", HEADERS_CF: "X-A: b" }] }),
      "HEADERS_CF stands in [analytics_engine_datasets],…",
    ],
    none: [file({ BACKEND_FOURTH: "fourth.films.test" }), "BACKEND_FOURTH stands above the first table…"],
    "with all others, where the line [vars] is missing": [{ vars: {}, file: VARS }, missing],
    "with all others below [dev]": [{ vars: {}, file: { dev: { STICKY_SESSIONS: true, ...VARS } } }, missing],
    "and is not called missing as well": [
      { vars: {}, file: { vars: {}, dev: VARS } },
      ...Object.keys(VARS).map((name) => `${name} stands in [dev], where the Worker does not see it`),
    ],
    "and is judged in [vars] all the same": [
      { ...vars({ MAX_RETRIES: 33 }), ...file({ dev: { MAX_RETRIES: 3 } }) },
      'MAX_RETRIES must be a whole number from 0 to 10, found "33"',
      "MAX_RETRIES stands in [dev], where the Worker does not see it",
    ],
    "but not that of an environment": [file({ env: { staging: { vars: VARS } } })],
  });
});

it.each<[Partial<Settings>, ...warnings: string[]]>([
  [{ observability: { enabled: true } }, "invocation_logs"],
  [{ observability: { enabled: true, logs: { invocation_logs: true } } }, "invocation_logs"],
  [{ observability: { logs: { enabled: true } } }, "invocation_logs"],
  [{ observability: { enabled: true, logs: { invocation_logs: false } } }],
  [{ observability: { enabled: true, logs: { enabled: false } } }],
  [{ observability: { enabled: false } }],
  [vars({ HEADERS_CF: "Authorization: hunter2" }), "HEADERS_CF"],
  [vars({ HEALTH_CHECK_EXPECT: "X-Token: hunter2" }), "HEALTH_CHECK_EXPECT"],
  [vars({ HEALTH_CHECK_EXPECT: '"success": true' })],
])("a log of users' passwords, and a secret in [vars], are warned of, and not shown: %j", (settings, ...names) => {
  const { complaints, warnings } = judged(settings);
  expect([complaints, warnings.map(({ variable }) => variable)]).toEqual([[], names]);
  expect(JSON.stringify(warnings)).not.toContain("hunter2");
});

it("headers of no backend are a secret as well, by the name that was meant", () => {
  const { complaints, warnings, config } = withVars({ BACKEND_X: "x.example.com", HEADERS_X: "X-A: b", HEADERS_C: "" });
  expect(inWords(complaints)).toEqual(["HEADERS_C belongs to no backend", expect.stringContaining("BACKEND_X still")]);
  expect(warnings.map(({ todo }) => todo.split(" ").at(-1))).toEqual(["HEADERS_X", "HEADERS_CF"]);
  expect(config?.backends.map(({ id }) => id)).toEqual(["cf", "duck"]);
});

const QUOTES = "put quotes around the value of BACKEND_CF";
it.each<[line: string, hint?: string | undefined, above?: string[]]>([
  ["BACKEND_CF = cf.mydomain.org", QUOTES],
  ["  BACKEND_CF=cf.mydomain.org weight=2   # a comment", QUOTES],
  ["BACKEND_CF = 192.168.1.4", QUOTES],
  ["BACKEND_CF = 4k.mydomain.org", QUOTES],
  ["BACKEND_CF = /lb", QUOTES],
  ['BACKEND_CF = "cf.mydomain.org', QUOTES],
  ['BACKEND_CF = cf.mydomain.org"', QUOTES],
  ["BACKEND_CF = “cf.mydomain.org”", 'put straight quotes (") around the value of BACKEND_CF'],
  ["BACKEND_CF =", QUOTES],
  ["A = 1000 ms", "write the number alone: A = 1000"],
  ["A = 1000ms # long", "write the number alone: A = 1000"],
  ["A = 30 s or so", "write the number alone: A = 30"],
  ["A = yes", "write true or false as the value of A"],
  ["A = True # or so", "write true or false as the value of A"],
  ["A = off", "write true or false as the value of A"],
  ['BACKEND_CF = "cf.films.test" weight=2 backup # fast', "put the options of BACKEND_CF inside the quotes"],
  ['A = "b" c', "put the whole value of A inside the quotes"],
  ["A = 3", "A stands there twice: remove one of the two lines", ["[vars]", "A = 1", "B = 2"]],
  ["A = 3", undefined, ["A = 1", "[vars]", "AA = 1", "# A = 1"]],
  ...['A = "b"', "A = 'b' # c", "A = true", "A = [1", 'A = """b', "[vars", "", "# A = b"].map((line): [string] => [
    line,
  ]),
])("a line that is no TOML is told what helps, if that is known: %j, %s", (line, hint, above) => {
  expect(hintFor(line, above)).toBe(hint);
});
