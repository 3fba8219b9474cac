import { describe, expect, it } from "vitest";
import type { Backend } from "../../../src/config.ts";
import { allowedFor, isFromCache, isHonest, isProof, isUnseen, outcomeOf } from "../../../src/proxy/outcome.ts";
import { backendOf, configWith } from "../sample.ts";

const config = configWith({ BACKEND_A: "a.example.net:8443", BACKEND_B: "http://b.example.net" });
const a = backendOf(config, "a");
const PAGE = { "Content-Type": "text/html; charset=utf-8" };

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly method?: string;
  readonly path?: string;
  readonly backend?: Backend;
  readonly isReplaced?: boolean;
}

/** What an answer means, in a few words. */
function meaningOf({
  status,
  headers = {},
  method = "GET",
  path = "/x?y=1",
  backend = a,
  isReplaced = false,
}: Answer): string {
  const request = new Request("https://aiostreams.example.com/", { method });
  // No constructor takes a status from 600 on.
  const response = { status, ok: status >= 200 && status <= 299, headers: new Headers(headers) } as Response;
  const outcome = outcomeOf(response, backend, { request, path, config }, 5, isReplaced);
  if (outcome.kind === "success") return "success";
  expect(outcome).toMatchObject({ atMs: 5, status });
  return outcome.kind === "doubtful" ? "doubtful" : `${outcome.reason}${outcome.isRelayable ? ", a fallback" : ""}`;
}

describe("what an attempt means", () => {
  it.each([
    ["success", [200, 201, 204, 206, 300, 304, 399]],
    ["doubtful", [400, 401, 403, 404, 405, 429, 499]],
    ["application error, a fallback", [500, 501, 505, 507, 519, 531, 599, 600, 999]],
    ["unavailable, a fallback", [502, 503, 504, 528, 529]],
    ["unavailable", [520, 524, 527]],
    ["unreachable", [521, 522, 523, 525, 526, 530]],
  ])("%s: %j", (meaning, statuses) => {
    expect(statuses.map((status) => meaningOf({ status }))).toEqual(statuses.map(() => meaning));
  });

  it.each([200, 403, 503])("a bot challenge is relayed to no client, whatever the status: %d", (status) => {
    expect(meaningOf({ status, headers: { "cf-mitigated": "challenge" } })).toBe("challenge");
  });

  it.each([
    ["a page for a path that ends in .json", { path: "/manifest.json" }, "unexpected page, a fallback"],
    ["the same with a query", { path: "/manifest.JSON?a=b" }, "unexpected page, a fallback"],
    ["the same, whatever the 2xx", { path: "/manifest.json", status: 206 }, "unexpected page, a fallback"],
    ["a page for another path", { path: "/configure" }, "success"],
    [
      "the same of a backend whose health route answers something else",
      { path: "/configure", isReplaced: true },
      "doubtful",
    ],
    ["the same to a POST", { path: "/configure", isReplaced: true, method: "POST" }, "doubtful"],
    [
      "a redirect with a page, of a backend whose health route answers something else",
      { status: 303, isReplaced: true },
      "success",
    ],
    ["JSON of a backend whose health route answers something else", { isReplaced: true, headers: {} }, "success"],
    ["a page for a query that ends in .json", { path: "/configure?a=b.json" }, "success"],
    ["a page for a path that goes on", { path: "/manifest.json/" }, "success"],
    ["a page with a 404", { path: "/manifest.json", status: 404 }, "doubtful"],
    ["what is no page", { path: "/manifest.json", headers: { "Content-Type": "text/html5" } }, "success"],
    ["JSON", { path: "/manifest.json", headers: { "Content-Type": "application/json" } }, "success"],
    ["what says nothing of its type", { path: "/manifest.json", headers: {} }, "success"],
  ])("%s", (_, answer, meaning) => {
    expect(meaningOf({ status: 200, headers: PAGE, ...answer })).toBe(meaning);
  });

  it("is a failure for a 101 that was not asked for, and for one without a socket", () => {
    const socket = new WebSocketPair()[0];
    const response = new Response(null, { status: 101, webSocket: socket });
    const kindOf = (some: Response, headers: Record<string, string>) =>
      outcomeOf(some, a, { request: new Request("https://x.example/", { headers }), path: "/", config }, 5, false);
    expect(kindOf(response, { Upgrade: "websocket" })).toEqual({ kind: "success" });
    const failure = { kind: "failed", reason: "unexpected upgrade", isRelayable: false };
    expect(kindOf(response, {})).toMatchObject(failure);
    const without = { status: 101, headers: new Headers(), webSocket: null } as Response;
    expect(kindOf(without, { Upgrade: "websocket" })).toMatchObject(failure);
  });
});

describe("doubtful", () => {
  const own = "https://a.example.net:8443";

  it.each([
    ["a redirect elsewhere", 302, "https://login.example.org/", "doubtful"],
    ["a redirect to the backend's own host", 302, `${own}/login`, "success"],
    ["a redirect to its own host on another port", 302, "http://a.example.net/login", "success"],
    ["a redirect to the public host", 302, "https://aiostreams.example.com/login", "success"],
    ["a relative redirect", 302, "/login", "success"],
    ["a redirect to the very URL", 301, `${own}/x?y=1`, "doubtful"],
    ["a redirect to the very URL over another scheme", 308, "http://a.example.net/x?y=1", "doubtful"],
    ["a redirect to the very URL on the public host", 302, "https://aiostreams.example.com/x?y=1", "doubtful"],
    ["a relative redirect to the very URL", 302, "?y=1", "doubtful"],
    ["a redirect to another query", 302, `${own}/x?y=2`, "success"],
    ["a redirect to another path", 302, `${own}/X?y=1`, "success"],
    ["a redirect to a place that is none", 302, "https://", "success"],
    ["a redirect without a place", 302, undefined, "success"],
    ["a choice", 300, "https://login.example.org/", "success"],
    ["what has not changed", 304, "https://login.example.org/", "success"],
    ["what was created", 201, "https://login.example.org/", "success"],
  ])("or not: %s", (_, status, location, meaning) => {
    const headers: Record<string, string> = location === undefined ? {} : { Location: location };
    expect(meaningOf({ status, headers })).toBe(meaning);
  });

  it.each([301, 302, 303, 307, 308])("is a redirect elsewhere by %d, to a GET or HEAD only", (status) => {
    const headers = { Location: "https://login.example.org/" };
    const meanings = ["GET", "HEAD", "POST", "PUT"].map((method) => meaningOf({ status, headers, method }));
    expect(meanings).toEqual(["doubtful", "doubtful", "success", "success"]);
  });

  it("is a 4xx to any method", () => {
    const methods = ["GET", "HEAD", "POST", "DELETE"];
    expect(methods.map((method) => meaningOf({ status: 404, method }))).toEqual(methods.map(() => "doubtful"));
  });

  it("is a 2xx with nothing in it, to a GET only", () => {
    const meaning = (method: string, length: string, status = 200) =>
      meaningOf({ status, method, headers: { "Content-Length": length } });
    const meanings = [meaning("GET", "0"), meaning("GET", "0", 206), meaning("GET", "1"), meaning("HEAD", "0")];
    expect([...meanings, meaning("POST", "0")]).toEqual(["doubtful", "doubtful", ...Array(3).fill("success")]);
  });
});

describe("a failure", () => {
  const failure = (status?: number) =>
    ({ kind: "failed", atMs: 0, reason: "unavailable", isRelayable: true, ...(status && { status }) }) as const;
  const ALL = [undefined, ...Array.from({ length: 110 }, (_, n) => 495 + n)];

  it("is honest where the application itself says so", () => {
    expect(ALL.filter((status) => isHonest(failure(status)))).toEqual([500, 501, 505]);
  });

  it("is one of a request that the backend cannot have seen where Cloudflare did not reach it", () => {
    expect(ALL.filter((status) => isUnseen(failure(status)))).toEqual([521, 523, 525, 526, 530]);
    expect([isUnseen(undefined), isUnseen({ kind: "success" })]).toEqual([false, false]);
  });
});

it.each([
  ["HIT", true],
  ["STALE", true],
  ["UPDATING", true],
  ["MISS", false],
  ["DYNAMIC", false],
  ["REVALIDATED", false],
  [undefined, false],
])("an answer of a cache shows no life: CF-Cache-Status %s", (status, isIt) => {
  const headers: Record<string, string> = status === undefined ? {} : { "CF-Cache-Status": status };
  expect(isFromCache(new Response("film", { headers }))).toBe(isIt);
});

describe("what may be repeated", () => {
  const bytes = new ArrayBuffer(1);
  const stream = new ReadableStream();
  const upgrade = { Upgrade: "websocket" };

  it.each([
    ["GET", null, {}, "always, once more, hedged"],
    ["HEAD", null, {}, "always, once more, hedged"],
    ["GET", null, upgrade, "always, once more"],
    ["OPTIONS", null, {}, "always, once more"],
    ["PROPFIND", bytes, {}, "always, once more"],
    ["PUT", bytes, {}, "always, once more"],
    ["DELETE", null, {}, "always, once more"],
    ["GET", stream, {}, "never"],
    ["PUT", stream, {}, "never"],
    ["POST", null, {}, "always"],
    ["POST", bytes, {}, "always"],
    ["PATCH", bytes, {}, "always"],
    ["POST", stream, {}, "never"],
  ])("of %s with the body %s and %j: %s", (method, body, headers, words) => {
    expect(wordsOf(method, body, headers, true)).toBe(words);
  });

  it.each([
    ["GET", null, "always, once more, hedged"],
    ["PUT", bytes, "always, once more"],
    ["POST", bytes, "if unseen"],
    ["POST", null, "if unseen"],
    ["PATCH", bytes, "if unseen"],
    ["POST", stream, "never"],
  ])("where RETRY_NON_IDEMPOTENT is false, of %s with the body %s: %s", (method, body, words) => {
    expect(wordsOf(method, body, {}, false)).toBe(words);
  });

  function wordsOf(method: string, body: unknown, headers: Record<string, string>, retryNonIdempotent: boolean) {
    const allowed = allowedFor({ method, headers: new Headers(headers) }, body, { retryNonIdempotent });
    const { repeat, onceMore, hedgeOnSuspicion } = allowed;
    return [repeat, ...(onceMore ? ["once more"] : []), ...(hedgeOnSuspicion ? ["hedged"] : [])].join(", ");
  }
});

it.each<[string, number, Record<string, string>, boolean]>([
  ["JSON", 200, { "Content-Type": "application/json" }, true],
  ["nothing with a length", 200, { "Content-Length": "0" }, false],
  ["a page", 200, { "Content-Type": "text/html" }, false],
  ["a redirect", 302, { Location: "/x" }, false],
  ["a 4xx", 404, {}, false],
])("a success that is %s shows whether the application itself answers", (_, status, headers, shows) => {
  expect(isProof(new Response(null, { status, headers }))).toBe(shows);
});
