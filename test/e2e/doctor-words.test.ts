import { describe, expect, it } from "vitest";
import { compareStatuses } from "../../src/cli/agreement.ts";
import { type Answer, retryAfterMs } from "../../src/cli/ask.ts";
import type { DeployedBackend } from "../../src/cli/deployment.ts";
import { judgeAnswer, judgeRedirect, judgeStatusPage } from "../../src/cli/public-words.ts";
import { reachedInWords } from "../../src/cli/reach.ts";
import type { Aiostreams } from "../../src/cli/status.ts";
import { healthInWords } from "../../src/cli/up.ts";
import { failureInWords } from "../../src/cli/words.ts";

const DAY_MS = 86_400_000;
const KOYEB: DeployedBackend = {
  id: "koyeb",
  origin: "https://koyeb.films.test",
  variable: "BACKEND_KOYEB",
  weight: 1,
  isBackup: false,
  headers: [],
  headers: [],
  seed: 0,
};

function answer(status: number, text = ""): Answer {
  return { status, tookMs: 20, headers: new Headers(), text, json: {} };
}

describe("Retry-After", () => {
  it.each([
    { header: "4", ms: 4_000 },
    { header: "0", ms: 1_000 },
    { header: new Date(30_000).toUTCString(), ms: 20_000 },
    { header: new Date(0).toUTCString(), ms: 1_000 },
    { header: null, ms: 5_000 },
    { header: "soon", ms: 5_000 },
  ])("of $header is a wait of $ms ms", ({ header, ms }) => {
    expect(retryAfterMs(header, 10_000)).toBe(ms);
  });
});

describe("a certificate", () => {
  it("is a warning from the day on which less than 14 days are left", () => {
    const kindAfter = (days: number) => reachedInWords(KOYEB, days * DAY_MS, 0).kind;
    expect([14.01, 13.99, 0.5].map(kindAfter)).toEqual(["ok", "warning", "warning"]);
  });

  it("is counted in whole days", () => {
    expect(reachedInWords(KOYEB, 1.9 * DAY_MS, 0).found).toContain("only 1 more day (until 1970-01-02)");
  });
});

describe("a check that is not answered with 2xx", () => {
  it.each([
    { status: 301, todo: "Write into BACKEND_KOYEB the address that answers itself" },
    { status: 401, todo: "wants a login" },
    { status: 403, todo: "takes this for a bot" },
    { status: 404, todo: "Start AIOStreams on koyeb" },
    { status: 418, todo: "Look into the log of koyeb" },
    { status: 429, todo: "Exempt HEALTH_CHECK_PATH" },
    { status: 500, todo: "check DATABASE_URI on koyeb" },
    { status: 503, todo: "The proxy in front of koyeb does not reach AIOStreams" },
    { status: 522, todo: "Cloudflare does not reach koyeb" },
    { status: 530, todo: "Cloudflare does not reach koyeb" },
  ])("but with $status is a fault with its own advice", ({ status, todo }) => {
    const line = healthInWords(KOYEB, "/api/v1/health", answer(status), answer(status));
    expect(line).toMatchObject({ kind: "wrong", found: `/api/v1/health answers ${status}, where 2xx is due` });
    expect(line.todo).toContain(todo);
  });
});

describe("what backends say of themselves", () => {
  const said = (id: string, fields: Partial<Aiostreams>): Aiostreams => ({
    kind: "aiostreams",
    backend: { ...KOYEB, id },
    version: "2.33.2",
    commit: "f36d0f9",
    baseUrl: "https://films.test",
    isProtected: false,
    ...fields,
  });
  const wrongIn = (...statuses: Aiostreams[]) =>
    compareStatuses(statuses, "https://films.test").filter(({ kind }) => kind === "wrong");

  it("may be different builds of one version", () => {
    const [line, ...more] = wrongIn(
      said("cf", {}),
      said("duck", { commit: "861ee6b" }),
      said("koyeb", { commit: undefined }),
    );
    expect(line?.found).toBe(
      "version 2.33.2 everywhere, but different builds of it: commit f36d0f9 on cf; commit 861ee6b on duck; no commit on koyeb",
    );
    expect(more).toEqual([]);
  });

  it("may be that one asks for an add-on password, and another does not", () => {
    const [line] = wrongIn(said("cf", { isProtected: true }), said("duck", {}), said("koyeb", {}));
    expect(line?.found).toBe("cf asks for an add-on password before a configuration is saved, duck and koyeb do not");
    expect(wrongIn(said("cf", { isProtected: true }), said("koyeb", { isProtected: undefined }))).toEqual([]);
  });

  it.each([
    { baseUrl: "https://films.test/", isRight: true },
    { baseUrl: "https://FILMS.test", isRight: true },
    { baseUrl: "http://films.test", isRight: false },
    { baseUrl: "https://films.test:8443", isRight: false },
    { baseUrl: "https://films.test/aiostreams", isRight: false },
    { baseUrl: "https://me@films.test", isRight: false },
    { baseUrl: "films.test", isRight: false },
  ])("may be the BASE_URL $baseUrl", ({ baseUrl, isRight }) => {
    expect(wrongIn(said("cf", { baseUrl })).length === 0).toBe(isRight);
  });

  it("cannot paint the terminal", () => {
    const [line] = compareStatuses([said("cf", { version: "\u001b[31m2.33\u202e\n" })], undefined);
    expect(line?.found).toBe('AIOStreams "?[31m2.33??" (commit f36d0f9) on cf');
  });
});

describe("plain HTTP", () => {
  const redirect = (status: number, location: string) => ({ ...answer(status), headers: new Headers({ location }) });

  it.each([
    {
      reply: redirect(301, "https://films.test/x"),
      kind: "ok",
      found: "plain HTTP is redirected to https://films.test (301)",
    },
    {
      reply: redirect(308, "https://films.test"),
      kind: "ok",
      found: "plain HTTP is redirected to https://films.test (308)",
    },
    {
      reply: redirect(301, "https://films.test.evil"),
      kind: "wrong",
      found: "plain HTTP answers 301 and does not lead to",
    },
    { reply: answer(200), kind: "wrong", found: "plain HTTP answers 200 and does not lead to https://films.test" },
    { reply: { code: "ECONNREFUSED" }, kind: "wrong", found: "plain HTTP is not answered (ECONNREFUSED)" },
    { reply: { code: "INTERRUPTED" }, kind: "skipped", found: "not answered when you interrupted" },
  ])("$kind: $found", ({ reply, kind, found }) => {
    const line = judgeRedirect(reply, "https://films.test");
    expect(line).toMatchObject({ kind, about: "redirect", found: expect.stringContaining(found) });
  });
});

describe("the status page", () => {
  const page = (status: number, ids: string[]) => ({
    ...answer(status),
    json: { backends: ids.map((id) => ({ id })) },
  });

  it.each([
    { reply: page(200, ["cf", "koyeb"]), kind: "ok", found: "it answers; backends on it: 2" },
    {
      reply: page(503, ["cf", "koyeb"]),
      kind: "wrong",
      found: "it answers 503: as the Worker sees it, no backend is up",
    },
    { reply: page(200, ["cf"]), kind: "wrong", found: "backends on it: 1, in wrangler.toml: 2" },
    { reply: answer(404), kind: "wrong", found: "its address answers 404 without the page" },
    { reply: { code: "ECONNRESET" }, kind: "wrong", found: "it does not answer (ECONNRESET)" },
  ])("$found", ({ reply, kind, found }) => {
    expect(judgeStatusPage(reply, 2)).toMatchObject({ kind, found });
  });
});

describe("the Worker's answer", () => {
  it.each([
    { status: 421, found: ": the Worker does not serve this host name", todo: "Make routes and PRIMARY_DOMAIN" },
    { status: 500, found: ": so does every backend that the Worker asked", todo: "backends above" },
    { status: 502, found: ": the Worker reaches no backend", todo: "firewalls may refuse Cloudflare's addresses" },
    { status: 504, found: ": the Worker reaches no backend", todo: "backends above" },
    { status: 522, found: ", an error of Cloudflare's own", todo: "Cloudflare's dashboard" },
    { status: 530, found: ", an error of Cloudflare's own", todo: "Cloudflare's dashboard" },
  ])("of $status is a fault", ({ status, found, todo }) => {
    const line = judgeAnswer(answer(status), "https://films.test");
    expect(line).toMatchObject({ kind: "wrong", found: `https://films.test answers ${status}${found}` });
    expect(line.todo).toContain(todo);
  });

  it.each([200, 301, 401, 404])("of %i is well, whatever the application means by it", (status) => {
    expect(judgeAnswer(answer(status), "https://films.test").kind).toBe("ok");
  });
});

describe("a failure", () => {
  it.each([
    { code: "ENOTFOUND", found: "does not exist" },
    { code: "EAI_AGAIN", found: "no name server answered" },
    { code: "ECONNREFUSED", found: "refuses connections on port 443" },
    { code: "ETIMEDOUT", found: "within 10 s" },
    { code: "UND_ERR_CONNECT_TIMEOUT", found: "within 10 s" },
    { code: "ENETUNREACH", found: "there is no way to koyeb.films.test" },
    { code: "ECONNRESET", found: "breaks the connection" },
    { code: "UND_ERR_SOCKET", found: "breaks the connection" },
    { code: "CERT_NOT_YET_VALID", found: "not valid yet" },
    { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE", found: "the intermediate certificate is missing" },
    { code: "CERT_REVOKED", found: "its certificate is not valid (CERT_REVOKED)" },
    { code: "ERR_SSL_WRONG_VERSION_NUMBER", found: "does not speak TLS on port 443" },
    { code: "HPE_INVALID_CONSTANT", found: "could not be asked (HPE_INVALID_CONSTANT)" },
  ])("of $code is put into words, with what to do", ({ code, found }) => {
    const words = failureInWords({ code }, KOYEB);
    expect(words.found).toContain(found);
    expect(words.todo).toMatch(/koyeb|BACKEND_KOYEB|this computer/);
  });

  it("names the port that the backend has", () => {
    const { found } = failureInWords({ code: "ECONNREFUSED" }, { ...KOYEB, origin: "http://[::1]:3000" });
    expect(found).toContain("::1 refuses connections on port 3000");
  });
});
