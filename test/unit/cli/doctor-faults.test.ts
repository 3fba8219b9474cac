import { describe, expect, it } from "vitest";
import type { Reply } from "../../../src/cli/ask.ts";
import { failure, type SampleAnswer, type Settings } from "../../support/aiostreams.ts";
import { answerOf, DOMAIN, faultsIn, IDS, type Id, USER, World } from "./doctor-world.ts";

type Arrange = (world: World) => unknown;

/** A table of what is not as it should be, and the faults that the doctor finds: in this order, and no others. */
function findsIn(table: Record<string, [arrange: Arrange, ...faults: string[]]>) {
  it.each(Object.entries(table))("%s", async (_, [arrange, ...faults]) => {
    const world = new World(arrange);
    expect(faultsIn(await world.examine())).toEqual(faults.map((fault) => expect.stringContaining(fault)));
  });
}

const set = (id: Id, settings: Partial<Settings>) => (world: World) => world.set(id, settings);
const all = (settings: Partial<Settings>) => (world: World) => IDS.map((id) => world.set(id, settings));
/** Two arrangements at once. */
const and = (one: Arrange, other: Arrange) => (world: World) => [one(world), other(world)];
const vars = (values: object) => (world: World) => Object.assign(world.vars, values);
const ownDatabase = (id: Id) => set(id, { database: new Map() });
const ownKey = (id: Id) => set(id, { secretKey: "f".repeat(64) });
/** Has a backend answer the requests that match, as "GET /path", in place of AIOStreams. */
const instead = (id: Id, pattern: RegExp, answer: SampleAnswer | "nothing") =>
  set(id, { instead: ({ method, path }) => (pattern.test(`${method} ${path}`) ? answer : undefined) });
const dying = (pattern: RegExp) => instead("cf", pattern, "nothing");
const forgetting = instead("cf", /(GET|DELETE) .*user/, failure(400, "USER_INVALID_DETAILS"));

describe("the odd one out is named", () => {
  const others = instead("duck", /stremio\/.+\/manifest/, failure(500, "ENCRYPTION_ERROR"));
  findsIn({
    "nothing where all agree": [() => {}],
    "of databases": [ownDatabase("koyeb"), "✗ koyeb: has another database than cf and duck, which agree"],
    "of databases, the first": [ownDatabase("cf"), "✗ cf: has another database than duck and koyeb, which agree"],
    "or none, where two agree on nothing": [
      and(ownDatabase("cf"), ownDatabase("duck")),
      "✗ all: cf, duck and koyeb do not share one database",
    ],
    "of SECRET_KEYs": [ownKey("koyeb"), "✗ koyeb: shares a database with cf and duck, which agree, but has another SE"],
    "of SECRET_KEYs, the first": [ownKey("cf"), "✗ cf: shares a database with duck and koyeb, which agree, but has"],
    "of SECRET_KEYs, as players see": [
      others,
      'but has another SECRET_KEY: its players find nothing but "Invalid pass',
    ],
    "of databases, and two that differ in SECRET_KEY": [
      and(ownDatabase("cf"), ownKey("duck")),
      "✗ cf: has another database than duck and koyeb, which agree",
      "✗ all: duck and koyeb share one database, but not one SECRET_KEY",
    ],
    "of databases, and one that has two": [
      and(forgetting, and(ownDatabase("duck"), ownDatabase("koyeb"))),
      "✗ cf: the throwaway user",
      "✗ cf: does not know the user that it has just made: it has more than one database",
      "✗ all: duck and koyeb do not share one database",
    ],
    "of databases, beside one whose key is not known": [
      and(ownDatabase("koyeb"), instead("duck", /stremio\/.+\/manifest/, { status: 502 })),
      "✗ duck: asked for the user's manifest, it answers 502: not compared",
      "✗ koyeb: has another database than cf and duck, which agree",
    ],
    "of versions": [set("koyeb", { version: "2.32.1" }), "✗ all: different versions: 2.33.2 on cf and duck; 2.32.1"],
    "of BASE_URLs": [set("cf", { baseUrl: "https://a.test" }), '✗ cf: its BASE_URL is "https://a.test", which is not'],
    "of TRUSTED_IPS": [set("cf", { isTrusting: false }), "! cf: counts all clients as one for its rate limits"],
  });
});

describe("the add-on password", () => {
  const known = (password: string) => (world: World) => (world.addonPassword = password);
  const one = all({ accessKey: "one" });
  const two = and(one, set("koyeb", { accessKey: "two" }));
  findsIn({
    "is the same everywhere": [and(one, known("one"))],
    "is wrong in the environment": [and(one, known("two")), "✗ all: cf, duck and koyeb refuse the add-on password"],
    "differs on one backend": [
      and(two, known("one")),
      "✗ all: koyeb refuses the add-on password that cf and duck accept: another CONFIG_ACCESS_KEY",
    ],
    "differs on one backend, whose own is the known one": [
      and(two, known("two")),
      "✗ all: cf and duck refuse the add-on password that koyeb accepts: another CONFIG_ACCESS_KEY",
    ],
    "differs on one backend, whose own is the known one, the first": [
      and(one, and(set("cf", { accessKey: "two" }), known("two"))),
      "✗ all: duck and koyeb refuse the add-on password that cf accepts: another CONFIG_ACCESS_KEY",
    ],
    "is wanted by one alone": [set("duck", { accessKey: "one" }), "✗ all: duck asks for an add-on password before a"],
  });

  it("that is not known is skipped, and the report says how to give it", async () => {
    const lines = await new World(one).examine();
    const found = "cf, duck and koyeb want the add-on password (CONFIG_ACCESS_KEY) before a user is made: not compared";
    const todo = "Put it into the environment variable AIOSTREAMS_ADDON_PASSWORD, then run this again.";
    expect(lines).toContainEqual({ section: "user", kind: "skipped", found, todo });
  });
});

describe("one cause, one ✗", () => {
  const reached = (reach: World["reaches"][string]) => (world: World) => (world.reaches.koyeb = reach);
  const waking = (world: World) => {
    const first = [{ status: 200, body: '{"success":true}', tookMs: 3_300 }];
    world.set("koyeb", { instead: () => first.pop() });
  };
  const page = { status: 200, body: "<title>This app is sleeping</title>" };
  findsIn({
    "for another application": [instead("duck", /./, page), "✗ duck: /api/v1/health answers 200, but not as AIOStream"],
    "for a good word behind the first 64 KiB": [
      instead("duck", /health/, { status: 200, body: `${" ".repeat(65_536)}{"success":true}` }),
      "✗ duck: /api/v1/health answers 200, but not as AIOStreams does",
    ],
    "for another one with a good health route": [
      and(vars({ HEALTH_CHECK_EXPECT: "" }), instead("duck", /./, page)),
      "✗ duck: is not AIOStreams: /api/v1/status answers 200 with HTML",
    ],
    "and none where no backend is AIOStreams, which needs a look": [
      and(vars({ HEALTH_CHECK_PATH: "/up" }), all({ instead: () => page })),
      "! all: no backend answers as AIOStreams, so database and SECRET_KEY were not compared",
    ],
    "for a lost database": [instead("koyeb", /health|user/, { status: 500 }), "✗ koyeb: /api/v1/health answers 500"],
    "for a bad health route, and one for another database": [
      and(instead("koyeb", /health/, { status: 404 }), ownDatabase("koyeb")),
      "✗ koyeb: /api/v1/health answers 404",
      "✗ koyeb: has another database than cf and duck",
    ],
    "for a backend that is not there": [reached({ code: "ECONNREFUSED" }), "✗ koyeb: koyeb.films.test refuses connec"],
    "for a private address": [reached({ address: "127.0.0.1" }), "✗ koyeb: koyeb.films.test is at 127.0.0.1, a local"],
    "for a silent one": [reached({ address: "10.0.0.1", code: "ETIMEDOUT" }), "✗ koyeb: koyeb.films.test is at 10."],
    "for one that dies halfway": [dying(/(GET|DELETE) .*user/), "✗ cf: asked for the user, cf.films.test breaks the c"],
    "and none for one that was asleep": [waking, "! koyeb: /api/v1/health answered after 3300 ms, and when asked aga"],
    "for an error": [instead("duck", /user/, failure(500, "E")), "✗ duck: asked for the user, it answers 500 E: not"],
    "for HTML, not JSON": [instead("koyeb", /user/, page), "✗ koyeb: asked for the user, it answers 200 with HTML"],
    "for a login in the way of the users' own": [
      vars({ HEADERS_DUCK: "Authorization: Basic c2VjcmV0" }),
      "! duck: HEADERS_DUCK replaces Authorization, with which AIOStreams' own users log in",
    ],
  });

  it.each([
    ["where AIOStreams runs", /up$/, 404, 'AIOStreams runs there: write HEALTH_CHECK_PATH = "/api/v1/health"'],
    ["where AIOStreams runs, with a page", /up$/, 200, "AIOStreams runs there: write HEALTH_CHECK_PATH"],
    ["where AIOStreams runs, behind a rate limit", /up$/, 429, "Exempt HEALTH_CHECK_PATH"],
    ["where something else runs", /./, 404, "Start AIOStreams on duck"],
  ])("for a path that is not the health route's, %s", async (_, pattern, status, todo) => {
    const good = all({
      instead: ({ path }) => (path === "/up" ? { status: 200, body: '{"success":true}' } : undefined),
    });
    const world = new World(and(vars({ HEALTH_CHECK_PATH: "/up", HEALTH_CHECK_EXPECT: "success" }), good));
    instead("duck", pattern, { status })(world);
    const faults = (await world.examine()).filter(({ kind }) => kind === "wrong");
    expect(faults).toMatchObject([{ about: "duck", todo: expect.stringContaining(todo) }]);
  });

  it("and no more questions for a backend that is not there", async () => {
    const world = new World(reached({ code: "ENOTFOUND" }));
    await world.examine();
    expect(world.backends.koyeb.seen).toEqual([]);
  });

  it("for an address that Cloudflare cannot reach, unless the Worker runs here too", async () => {
    const world = new World(reached({ address: "127.0.0.1" }));
    const parts = { unreachable: [{ variable: "BACKEND_KOYEB", text: "is a name of your own network", todo: "…" }] };
    expect(faultsIn(await world.examine(parts))).toEqual(["✗ BACKEND_KOYEB: is a name of your own network"]);
    const lines = await world.examine(parts, "http://localhost:8787");
    expect(faultsIn(lines.filter(({ section }) => section !== "public"))).toEqual([]);
  });

  it("for wrangler.toml, while it names nothing to ask; what is better changed there needs a look", async () => {
    const world = new World();
    const complaints = [{ variable: "BACKEND_CF", text: "still has its example value", todo: "…" }];
    const warnings = [{ variable: "invocation_logs", text: "is on", todo: "…" }];
    const lines = await world.examine({ complaints, warnings, config: undefined, backends: [] });
    expect(faultsIn(lines)).toEqual(["✗ BACKEND_CF: still has its example value", "! invocation_logs: is on"]);
    expect(world.asked).toEqual([]);
  });
});

describe("the throwaway user", () => {
  const alone = and(ownDatabase("duck"), ownDatabase("koyeb"));
  const unsure = and(instead("duck", /GET .*user/, { status: 502 }), ownDatabase("koyeb"));
  const strangers = (world: World) =>
    ["duck" as const, "koyeb" as const].map((id) => instead(id, /user/, { status: 200, body: "<p>" })(world));
  const interrupting = (world: World) =>
    world.set("cf", { instead: ({ method }) => void (method === "POST" && world.interruption.abort()) });
  const limited = (world: World) => {
    const { instead: first } = world.backends.cf.settings;
    const refusals = [failure(429, "R")];
    world.set("cf", { instead: (request) => (request.method === "DELETE" ? refusals.pop() : first(request)) });
  };

  it.each<[title: string, arrange: Arrange, usersLeft: number[]]>([
    ["is deleted when all agree", () => {}, [0, 0]],
    ["is deleted of each maker, when there are two", ownDatabase("cf"), [0, 0]],
    ["is deleted by another backend on the same database when its maker dies", dying(/(GET|DELETE) .*user/), [0, 0]],
    ["is left where its maker dies alone on its database", and(dying(/(GET|DELETE) .*user/), alone), [1, 1]],
    ["may be left where its maker dies while it makes it", dying(/POST/), [0, 1]],
    ["is left where its own maker does not know it, which has two databases", and(forgetting, alone), [1, 1]],
    ["may be left once, and its maker is not asked again", and(dying(/POST/), alone), [0, 1]],
    ["is deleted by a backend that could not read it", and(dying(/(GET|DELETE) .*user/), unsure), [0, 0]],
    ["is left where another application answers that it is fine", and(dying(/(GET|DELETE) .*user/), strangers), [1, 1]],
    ["is deleted after an interruption while it is made", interrupting, [0, 0]],
    ["is deleted after an interruption, whatever its rate limit", and(and(interrupting, limited), alone), [0, 0]],
  ])("%s", async (_, arrange, [inDatabases, told]) => {
    const world = new World(arrange);
    const lines = await world.examine();
    expect([world.usersLeft, world.left.length]).toEqual([inDatabases, told]);
    const [uuid] = world.database.keys();
    const left = lines.find(({ found }) => /(is|may be) left in its database/.test(found));
    expect(left?.todo ?? "").toContain(
      told === 0 ? "" : uuid ? `of cf: DELETE FROM users WHERE uuid = '${uuid}'.` : "SELECT uuid FROM users ORDER BY",
    );
    expect(left === undefined).toBe(told === 0);
  });

  it("that a backend does not show says nothing of what it shares", async () => {
    const silent = and(instead("duck", /\/manifest/, { status: 502 }), instead("koyeb", /user/, { status: 502 }));
    expect((await new World(silent).examine()).filter(({ found }) => found.includes("share one database"))).toEqual([]);
  });

  const interrupted = (world: World) => world.set("duck", { instead: () => void world.interruption.abort() });
  it.each<[title: string, arrange: Arrange, makers: Id[]]>([
    ["on a primary before a backup", vars({ BACKEND_CF: "cf.films.test backup" }), ["duck"]],
    ["not for a single backend", vars({ BACKEND_DUCK: "", BACKEND_KOYEB: "" }), []],
    ["not after an interruption", interrupted, []],
  ])("is made %s", async (_, arrange, makers) => {
    const world = new World(arrange);
    await world.examine();
    const made = world.asked.filter(({ method }) => method === "POST").map(({ url }) => url);
    expect(made).toEqual(makers.map((id) => `https://${id}.films.test${USER}`));
  });

  it.each([
    { retryAfter: "4", waitsMs: [4_000], faults: [] },
    { retryAfter: "3600", waitsMs: [], faults: ["! koyeb: asked for the user, it answers 429 R: not compared"] },
  ])("waits for the rate limit, a minute at most: $retryAfter s", async ({ retryAfter, waitsMs, faults }) => {
    const world = new World();
    const refusals = [{ ...failure(429, "R"), headers: { "Retry-After": retryAfter } }];
    world.set("koyeb", { instead: ({ path }) => (path === USER ? refusals.pop() : undefined) });
    expect(faultsIn(await world.examine())).toEqual(faults);
    expect([world.waitsMs, world.usersLeft]).toEqual([waitsMs, 0]);
  });
});

describe("the public address", () => {
  const ORIGIN = `https://${DOMAIN}`;
  const worker = (backendOf: (cookie: string | undefined) => string) => (world: World) => {
    world.publicDomain = ({ url, headers }) => {
      if (url.startsWith("http:")) return answerOf(301, "", { Location: `${ORIGIN}/` });
      const cookie = `aiostreams_backend=${backendOf(headers?.Cookie)}`;
      return answerOf(200, "", headers?.Cookie === cookie ? {} : { "Set-Cookie": `${cookie}; Path=/` });
    };
  };
  const holding = worker(() => "cf");
  const reply = (canned: (url: string) => Reply) => (world: World) => (world.publicDomain = ({ url }) => canned(url));
  findsIn({
    "is fine when the cookie holds": [holding],
    "is fine without STICKY_SESSIONS": [and(vars({ STICKY_SESSIONS: false }), holding)],
    "of another deployment": [worker(() => "old"), "✗ session: the answer comes from old, and wrangler.toml has only"],
    "that holds no session": [worker((cookie) => (cookie ? "koyeb" : "cf")), "! session: asked again with the cookie"],
    "of something else": [
      reply((url) => answerOf(url.startsWith("http:") ? 404 : 200)),
      "✗ session: the answer sets no session cookie, so it does not come from this Worker",
      `✗ redirect: plain HTTP answers 404 and does not lead to ${ORIGIN}`,
    ],
    "without a certificate": [reply(() => ({ code: "ERR_TLS_CERT_ALTNAME_INVALID" })), "✗ all: its certificate is for"],
  });

  it("is skipped while its name does not resolve; one that --url names has to be there", async () => {
    const { found, kind } = (await new World().examine()).at(-1) ?? {};
    expect([kind, found]).toEqual(["skipped", `${DOMAIN} does not resolve yet: not asked`]);
    const refusing = reply(() => ({ code: "ECONNREFUSED" }));
    const lines = await new World(refusing).examine({}, "http://localhost:8787");
    expect(lines.at(-1)?.todo).toContain("(npm run dev), or correct --url.");
  });

  it("is asked without the headers that are a backend's own, and backends with them and as the Worker's check asks", async () => {
    const world = new World(and(holding, vars({ HEADERS_CF: "X-Token: token" })));
    await world.examine();
    for (const { url, headers } of world.asked) {
      const isWorker = new URL(url).host === DOMAIN;
      expect(headers?.["x-token"]).toBe(url.startsWith("https://cf.") ? "token" : undefined);
      expect(headers?.["x-forwarded-proto"]).toBe(isWorker ? undefined : "https");
      expect(headers?.["x-forwarded-host"]).toBe(isWorker ? undefined : DOMAIN);
    }
    expect(world.asked.some(({ url }) => url.startsWith(ORIGIN))).toBe(true);
  });
});
