import { describe, expect, it } from "vitest";
import type { Answer, Reply } from "../../../src/cli/ask.ts";
import { believesForwardedFor, judgeBeliefs } from "../../../src/cli/clients.ts";
import type { DeployedBackend } from "../../../src/cli/deployment.ts";
import { judgeHealth } from "../../../src/cli/health.ts";
import type { Line } from "../../../src/cli/line.ts";
import { judgeAnswer, judgeRedirect, judgeStatusPage } from "../../../src/cli/public-text.ts";
import { judgeReach } from "../../../src/cli/reach.ts";
import { type Aiostreams, compareStatuses, statusOf } from "../../../src/cli/statuses.ts";
import { failureText } from "../../../src/cli/text.ts";
import { answerOf, backend } from "./doctor-world.ts";

const DAY_MS = 86_400_000;
const KOYEB = backend();
const ORIGIN = "https://films.test";

describe("a connection", () => {
  it.each([
    [14.01, "ok", "valid for 14 more days"],
    [13.99, "warning", "valid for only 13 more days (until 1970-01-14)"],
    [1.9, "warning", "valid for only 1 more day (until 1970-01-02)"],
  ])("with a certificate for %d days: %s, %s", (days, kind, found) => {
    const line = judgeReach(KOYEB, { address: "203.0.113.7", validToMs: days * DAY_MS }, 0);
    expect(line).toMatchObject({ kind, found: expect.stringContaining(found) });
  });

  const reached = (address: string) => judgeReach(KOYEB, { address, validToMs: 90 * DAY_MS }, 0).kind;
  it("to a local or private address is a fault", () => {
    const ipv4 = ["10.1.2.3", "192.168.1.5", "172.31.0.2", "100.64.0.1", "127.0.0.1", "169.254.1.1"];
    for (const address of [...ipv4, "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"]) {
      expect([address, reached(address)]).toEqual([address, "wrong"]);
    }
    const others = ["203.0.113.7", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2a01::1", "::ffff:203.0.113.7"];
    for (const address of others) expect([address, reached(address)]).toEqual([address, "ok"]);
  });

  it.each([
    ["ENOTFOUND", "the name koyeb.films.test does not exist"],
    ["EAI_AGAIN", "no name server answered"],
    ["ECONNREFUSED", "koyeb.films.test refuses connections on port 443: nothing listens there"],
    ["TIMEOUT", "koyeb.films.test does not answer on port 443 within 10 s"],
    ["UND_ERR_CONNECT_TIMEOUT", "within 10 s"],
    ["ENETUNREACH", "there is no way to koyeb.films.test"],
    ["UND_ERR_SOCKET", "breaks the connection"],
    ["TOO_LARGE", "more than 4 MiB"],
    ["CERT_HAS_EXPIRED", "its certificate has expired"],
    ["CERT_NOT_YET_VALID", "not valid yet"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "its certificate is self-signed"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "the intermediate certificate is missing"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "its certificate is for another name than koyeb.films.test"],
    ["CERT_REVOKED", "its certificate is not valid (CERT_REVOKED)"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "it does not speak TLS on port 443"],
    ["HPE_INVALID_CONSTANT", "could not be asked (HPE_INVALID_CONSTANT)"],
  ])("that fails with %s is explained, with what to do: %s", (code, found) => {
    const text = failureText({ code }, KOYEB);
    expect(text.found).toContain(found);
    expect(text.todo).toMatch(/koyeb|BACKEND_KOYEB|this computer/);
  });

  it("is named with the port that the backend has", () => {
    const { found } = failureText({ code: "ECONNREFUSED" }, backend({ origin: "http://[::1]:3000" }));
    expect(found).toContain("::1 refuses connections on port 3000");
  });
});

describe("a health check", () => {
  const CHECK = { healthCheckPath: "/health", healthCheckExpect: '"success":true' };
  const GOOD = '{"success":true}';
  const judge = (answer: Answer, fields: Partial<DeployedBackend> = {}, second = answer) =>
    judgeHealth(backend(fields), CHECK, answer, second);
  const redirect = (location: string) => answerOf(302, "", { Location: location });
  const token: Partial<DeployedBackend> = { headers: [["CF-Access-Client-Id", "id-secret"]] };
  const login = redirect("https://team.cloudflareaccess.com/cdn-cgi/access/login?kid=secret");

  it.each<[answer: Answer, found: string, todo: string, backend?: Partial<DeployedBackend>]>([
    [answerOf(401), "401, where 2xx is due", "wants a login"],
    [answerOf(403), "403, where 2xx is due", "takes this for a bot. If it is Cloudflare Access: Make a service token"],
    [answerOf(403), "403, where 2xx is due", "It refuses the service token in HEADERS_KOYEB", token],
    [login, "302: Cloudflare Access wants a login", "npx wrangler secret put HEADERS_KOYEB"],
    [login, "302: Cloudflare Access wants a login", "It refuses the service token in HEADERS_KOYEB", token],
    [answerOf(403, "", { "cf-mitigated": "challenge" }), "403: a bot challenge of Cloudflare's", "skips the challenge"],
    [redirect("https://login.test/secret"), "302, where 2xx is due", "It redirects to https://login.test. Write into"],
    [
      redirect("https://koyeb.films.test/secret"),
      "302: it redirects http: to https:",
      'Write https:// in wrangler.toml: BACKEND_KOYEB = "https://koyeb.films.test".',
      { origin: "http://koyeb.films.test" },
    ],
    [answerOf(404, GOOD), "404, where 2xx is due", "Start AIOStreams on koyeb"],
    [answerOf(418), "418, where 2xx is due", "Look into the log of koyeb"],
    [answerOf(429), "429, where 2xx is due", "Exempt HEALTH_CHECK_PATH"],
    [answerOf(500), "500, where 2xx is due", "check DATABASE_URI on koyeb"],
    [answerOf(503), "503, where 2xx is due", "The proxy in front of koyeb does not reach AIOStreams"],
    [answerOf(522), "522, where 2xx is due", "Cloudflare does not reach koyeb"],
    [answerOf(530), "530, where 2xx is due", "Cloudflare does not reach koyeb"],
    [answerOf(200), '200, but not as AIOStreams does: HEALTH_CHECK_EXPECT ("success":true)', "Start AIOStreams"],
    [answerOf(200, '{"success":false}'), "200, but not as AIOStreams does", "a proxy or platform may answer"],
    [answerOf(200, GOOD, {}, 3_300), "only after 3300 ms and 3300 ms; the Worker's check waits 3000 ms", "is slow"],
  ])("that is bad has its own advice (%#)", (answer, found, todo, fields) => {
    const line = judge(answer, fields);
    expect(line).toMatchObject({ kind: "wrong", found: expect.stringContaining(found) });
    expect(line.todo).toContain(todo);
    expect(line.found + line.todo).not.toMatch(/id-secret|=secret|test\/secret/);
  });

  it("is good with any 2xx where HEALTH_CHECK_EXPECT is empty", () => {
    const answer = answerOf(204);
    expect(judgeHealth(KOYEB, { ...CHECK, healthCheckExpect: "" }, answer, answer).kind).toBe("ok");
  });

  it("that is slow once finds a backend that was asleep, as a backup may be", () => {
    const [slow, quick] = [answerOf(200, GOOD, {}, 3_300), answerOf(200, GOOD, {}, 30)];
    const line = judge(slow, {}, quick);
    expect(line).toMatchObject({ kind: "warning", found: expect.stringContaining("after 30 ms: it was asleep") });
    expect(line.todo).toContain("write the word backup behind its address in BACKEND_KOYEB");
    expect(judge(slow, { isBackup: true }, quick).todo).toContain("As a backup it may sleep");
  });
});

describe("what backends say of themselves", () => {
  const said = (id: string, fields: Partial<Aiostreams> = {}): Aiostreams => {
    const settings = { version: "2.33.2", commit: "f36d0f9", baseUrl: ORIGIN, isProtected: false };
    return { kind: "aiostreams", backend: backend({ id }), ...settings, ...fields };
  };
  const faults = (...statuses: Aiostreams[]) =>
    compareStatuses(statuses, ORIGIN).filter(({ kind }) => kind === "wrong");
  const builds = "version 2.33.2 everywhere, but different builds of it: commit f36d0f9 on cf and duck";

  it.each<[fields: Partial<Aiostreams>, found: string]>([
    [{ version: "2.32.1" }, "different versions: 2.33.2 on cf and duck; 2.32.1 on koyeb"],
    [{ commit: "861ee6b" }, `${builds}; commit 861ee6b on koyeb`],
    [{ commit: undefined }, `${builds}; no commit on koyeb`],
    [{ baseUrl: undefined }, "has no BASE_URL"],
    [{ baseUrl: `${ORIGIN}/uuid/secret` }, `its BASE_URL is "${ORIGIN}" with a path behind it, which is not the`],
    [{ isProtected: true }, "koyeb asks for an add-on password before a configuration is saved, cf and duck do not"],
  ])("is one fault: %j", (fields, found) => {
    const lines = faults(said("cf"), said("duck"), said("koyeb", fields)).map((line) => line.found);
    expect(lines).toEqual([expect.stringContaining(found)]);
  });

  it.each([
    ["2.33.2", "Set the same AIOSTREAMS_AUTH_REQUIRED on all of them, and where it is true the same CONFIG_ACCESS_KEY"],
    ["2.29.6", "Set the same ADDON_PASSWORD on all of them, or on none."],
  ])("about an add-on password names the variables of version %s", (version, todo) => {
    const asking = said("duck", { version, isProtected: true });
    expect(faults(said("cf", { version }), asking)[0]?.todo).toContain(todo);
    expect(faults(said("cf", { version, isProtected: undefined }), asking)).toEqual([]);
  });

  it("may be BASE_URL with a slash or in capitals, and nothing else", () => {
    const isRight = (baseUrl: string) => faults(said("cf", { baseUrl })).length === 0;
    expect([`${ORIGIN}/`, "https://FILMS.test"].map(isRight)).toEqual([true, true]);
    const wrong = ["http://films.test", `${ORIGIN}:8443`, "https://me@films.test", "films.test"];
    expect(wrong.map(isRight)).toEqual([false, false, false, false]);
  });

  it.each([
    ["<!doctype html>", "with HTML"],
    ['{"status":"fine"}', "with other JSON"],
    ['{"success":true,"data":{"ver', "without JSON"],
  ])("may not be what AIOStreams says: %s", (body, found) => {
    expect(statusOf(KOYEB, answerOf(200, body))).toMatchObject({ found: `/api/v1/status answers 200 ${found}` });
  });

  it("cannot paint the terminal", () => {
    const [line] = compareStatuses([said("cf", { version: "\u001b[31m2.33\u202e\n" })], undefined);
    expect(line?.found).toBe('AIOStreams "?[31m2.33??" (commit f36d0f9) on cf');
  });
});

describe("X-Forwarded-For", () => {
  const left = (remaining: string, status = 200) => answerOf(status, "", { "RateLimit-Remaining": remaining });

  it.each<[first: Reply, second: Reply, isBelieved: boolean | undefined]>([
    [left("4"), left("4"), true],
    [left("4"), left("3"), false],
    [left("0"), left("0", 429), false],
    [answerOf(200), left("3"), undefined],
    [left("4"), { code: "ECONNRESET" }, undefined],
  ])("is believed as two clients' RateLimit-Remaining shows (%#)", (first, second, isBelieved) => {
    expect(believesForwardedFor(first, second)).toBe(isBelieved);
  });

  it("that is not believed needs a look and is no fault, since the Worker asks from another address", () => {
    const [first, second, ...more] = judgeBeliefs(["cf", "duck", "koyeb"], [true, false, undefined]);
    expect(first).toMatchObject({ kind: "ok", about: undefined });
    expect(second).toMatchObject({ kind: "warning", about: "duck" });
    expect(second?.todo).toContain("Leave TRUSTED_IPS on duck unset, as a rule.");
    expect(more).toEqual([]);
  });

  it("that no answer tells of is said not to have been asked", () => {
    const found = "could not be asked: the answers of cf and duck do not tell (RateLimit-Remaining)";
    expect(judgeBeliefs(["cf", "duck"], [undefined, undefined])).toMatchObject([{ kind: "skipped", found }]);
  });
});

describe("the Worker", () => {
  it.each([
    [answerOf(421), "421: the Worker does not serve this host name", "Make routes and PRIMARY_DOMAIN"],
    [answerOf(500), "500: so does every backend that the Worker asked", "backends above"],
    [answerOf(500, "The load balancer is not configured:"), "500: variables of the Worker are wrong", "npm run deploy"],
    [answerOf(502), "502: the Worker reaches no backend", "firewalls may refuse Cloudflare's addresses"],
    [answerOf(504), "504: the Worker reaches no backend", "backends above"],
    [answerOf(522), "522, an error of Cloudflare's own", "Cloudflare's dashboard"],
    [answerOf(530), "530, an error of Cloudflare's own", "Cloudflare's dashboard"],
    [answerOf(403, "", { "cf-mitigated": "challenge" }), "403: a bot challenge of Cloudflare's stands before", "skips"],
  ])("that answers badly has its own advice (%#)", (answer, found, todo) => {
    const line = judgeAnswer(answer, ORIGIN);
    expect(line).toMatchObject({ kind: "wrong", found: expect.stringContaining(`${ORIGIN} answers ${found}`) });
    expect(line.todo).toContain(todo);
  });

  it("may answer what the application means by 200, 301, 401 and 404", () => {
    for (const status of [200, 301, 401, 404]) expect(judgeAnswer(answerOf(status), ORIGIN).kind).toBe("ok");
  });

  const plainHttp = (reply: Reply) => judgeRedirect(reply, ORIGIN);
  const redirect = (status: number, location: string) => plainHttp(answerOf(status, "", { location }));
  const statusPage = (reply: Reply) => judgeStatusPage(reply, 2);
  const page = (status: number, ...ids: string[]) =>
    statusPage(answerOf(status, { backends: ids.map((id) => ({ id })) }));
  it.each<[line: Line, about: string, kind: string, found: string]>([
    [redirect(301, `${ORIGIN}/x`), "redirect", "ok", `plain HTTP is redirected to ${ORIGIN} (301)`],
    [redirect(308, ORIGIN), "redirect", "ok", `plain HTTP is redirected to ${ORIGIN} (308)`],
    [redirect(301, `${ORIGIN}.evil`), "redirect", "wrong", `plain HTTP answers 301 and does not lead to ${ORIGIN}`],
    [plainHttp(answerOf(200)), "redirect", "wrong", `plain HTTP answers 200 and does not lead to ${ORIGIN}`],
    [plainHttp({ code: "ECONNREFUSED" }), "redirect", "wrong", "plain HTTP is not answered (ECONNREFUSED)"],
    [plainHttp({ code: "INTERRUPTED" }), "redirect", "skipped", "not answered when you interrupted"],
    [page(200, "cf", "koyeb"), "status page", "ok", "it answers; backends on it: 2"],
    [page(503, "cf", "koyeb"), "status page", "wrong", "it answers 503: as the Worker sees it, no backend is up"],
    [page(200, "cf"), "status page", "wrong", "backends on it: 1, in wrangler.toml: 2"],
    [statusPage(answerOf(404)), "status page", "wrong", "its address answers 404 without the page"],
    [statusPage({ code: "ECONNRESET" }), "status page", "wrong", "it does not answer (ECONNRESET)"],
  ])("redirects plain HTTP, and has a status page (%#)", (line, about, kind, found) => {
    expect(line).toMatchObject({ kind, about, found });
  });
});
