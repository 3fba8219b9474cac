import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { healthOf } from "../../../src/health/health-state.ts";
import { requestCheck } from "../../../src/health/monitor.ts";
import { recordSuccess } from "../../../src/health/traffic.ts";
import { answerStatus, isStatusPath } from "../../../src/status/status.ts";
import type { Snapshot } from "../../../src/status/types.ts";
import { invocationOf } from "../sample.ts";
import { BACKUP, DEAD, IDS, type Isolate, isolateWith, NOW_MS, take } from "./sample.ts";

const PATH = "/lb-status-8f3a";

let isolate: Isolate;
/** What each backend's health route answers: a status, what is not expected, a refused connection, or nothing at all. */
let answers: Record<string, number | "unexpected" | "refused" | "silent" | undefined>;
let asked: string[];

function configure(vars: Record<string, unknown> = {}): void {
  isolate = isolateWith({ STATUS_PATH: PATH, SHARE_HEALTH: false, ...vars });
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: NOW_MS });
  asked = [];
  answers = { cf: 200, duck: 200, koyeb: 200 };
  vi.stubGlobal("fetch", async (input: string) => {
    const id = new URL(input).hostname.replace(/\..*/, "");
    asked.push(id);
    const answer = answers[id];
    if (answer === "refused") throw new Error("refused");
    if (answer === "silent") return new Promise(() => {});
    if (answer === "unexpected") return new Response("<h1>Suspended</h1>");
    return new Response('{"success":true}', { status: answer ?? 200 });
  });
  vi.stubGlobal("console", { log() {}, error() {} });
  configure();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const invocation = () => invocationOf(isolate.config, isolate);

async function ask(query = "", init: RequestInit = {}): Promise<Response> {
  const request = new Request(`https://aiostreams.example.com${PATH}${query}`, init);
  const response = answerStatus(request, PATH + query, invocation());
  await vi.runAllTimersAsync();
  return response;
}

const askForJson = async () => (await (await ask("?format=json")).json()) as Snapshot;

it("the path is exactly the configured one, with any query; an empty one is none", () => {
  const paths = [PATH, `${PATH}?`, `${PATH}?format=json`, `${PATH}/`, `${PATH}x`, `/${PATH}`, PATH.toUpperCase(), ""];
  expect(paths.filter((path) => isStatusPath(path, isolate.config))).toEqual(paths.slice(0, 3));
  expect(["", "/", "?", "/x"].filter((path) => isStatusPath(path, { statusPath: "" }))).toEqual([]);
});

describe("the answer", () => {
  it("is a page that is not kept, found, framed or added to, and refreshes itself unless it is paused", async () => {
    const { headers } = await ask();
    expect(Object.fromEntries(headers)).toEqual({
      "cache-control": "no-store",
      "content-security-policy": expect.stringMatching(
        /^default-src 'none'; style-src 'nonce-[\w-]+'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'$/,
      ),
      "content-type": "text/html; charset=utf-8",
      "referrer-policy": "no-referrer",
      refresh: "10",
      vary: "Accept",
      "x-content-type-options": "nosniff",
      "x-robots-tag": "noindex",
    });
    expect((await ask("?refresh=off")).headers.get("Refresh")).toBeNull();
    expect((await ask()).headers.get("Content-Security-Policy")).not.toBe(headers.get("Content-Security-Policy"));
  });

  it("is JSON by the query or by Accept, which does not refresh itself", async () => {
    for (const response of [await ask("?format=json"), await ask("", { headers: { Accept: "application/json" } })]) {
      const { headers } = response;
      expect([headers.get("Content-Type"), headers.get("Refresh")]).toEqual(["application/json", null]);
      expect(await response.json()).toMatchObject({ backends: IDS.map((id) => ({ id, state: "up" })) });
    }
  });

  it("to any method but GET and HEAD is a refusal, and nothing is checked", async () => {
    const { status, headers } = await ask("", { method: "POST" });
    expect([status, headers.get("Allow"), asked]).toEqual([405, "GET, HEAD", []]);
  });

  it.each([
    [200, 503, "refused", 200],
    [503, 503, "refused", "unexpected"],
  ] as const)(
    "is %d where the health routes answer %j, %j, %j: while a backend is available",
    async (status, ...by) => {
      IDS.forEach((id, i) => {
        answers[id] = by[i];
      });
      expect((await ask()).status).toBe(status);
    },
  );

  it("is 200 while no backend passes its check but users are served all the same, and says so", async () => {
    answers = { cf: 500, duck: 500, koyeb: 500 };
    recordSuccess(healthOf(isolate.health, "cf"), "192.0.2.1", NOW_MS);
    const response = await ask();
    expect([response.status, await response.text()]).toEqual([200, expect.stringContaining("users are served all")]);
  });
});

it.each(["", "?format=json", "?backend=cf", "?backend=x"])("no answer names a host: %j", async (query) => {
  answers.cf = 503;
  const response = await ask(query);
  expect(JSON.stringify([...response.headers, await response.text()])).not.toContain("example");
});

describe("one backend's answer, for a monitor,", () => {
  it("is 200 while it is up, or a backup on standby, else 503", async () => {
    configure(BACKUP);
    answers = { cf: 503, koyeb: 200 };
    const inTurn = [await ask("?backend=cf"), await ask("?backend=duck"), await ask("?backend=koyeb")];
    expect(inTurn.map(({ status }) => status)).toEqual([503, 200, 200]);
  });

  it.each(["", "CF", "cf.example.net"])("is 404 with the names where none is called %j", async (id) => {
    const response = await ask(`?backend=${id}`);
    const text = "No backend has this name. There are: cf, duck, koyeb.\n";
    expect([response.status, await response.text(), asked]).toEqual([404, text, []]);
  });

  it("is its part of the JSON, which does not refresh itself", async () => {
    const response = await ask("?backend=cf", { headers: { Accept: "text/html" } });
    expect(response.headers.get("Refresh")).toBeNull();
    expect(await response.json()).toMatchObject({ id: "cf", state: "up", result: { kind: "good" } });
  });
});

describe("the page's checks", () => {
  it("leave a result alone until it is five seconds old, whichever isolate made it", async () => {
    take(isolate, "cf", { atMs: NOW_MS - 4_900 });
    take(isolate, "duck", { atMs: NOW_MS - 4_900 }, true);
    take(isolate, "koyeb", { atMs: NOW_MS - 5_000 });
    await ask();
    expect(asked).toEqual(["koyeb"]);
  });

  it("include one that was requested, and that its own invocation could not make", async () => {
    for (const id of IDS) take(isolate, id, { atMs: NOW_MS - 1 });
    healthOf(isolate.health, "koyeb").isCheckRequested = true;
    answers.koyeb = 503;
    expect((await askForJson()).backends[2]).toMatchObject({ state: "down", result: { status: 503 } });
  });

  it("include a backup once they have found the last other backend down", async () => {
    configure(BACKUP);
    answers = { cf: "refused", duck: 200, koyeb: "refused" };
    const { backends } = await askForJson();
    expect(backends.map(({ state }) => state)).toEqual(["down", "up", "down"]);
  });

  it("are waited for, also one that was requested a moment ago: the page shows no older result", async () => {
    for (const id of IDS) take(isolate, id);
    healthOf(isolate.health, "koyeb").checkBeganMs = NOW_MS; // Another one may begin in 250 ms only.
    answers.koyeb = 503;
    for (const backend of isolate.config.backends.slice(2)) requestCheck(backend, invocation());
    expect((await askForJson()).backends[2]).toMatchObject({ state: "down", result: { status: 503 } });
  });

  it("are waited for 6.5 seconds at most, and a backend without an answer by then is a suspect", async () => {
    answers.koyeb = "silent";
    expect((await askForJson()).backends.map(({ state }) => state)).toEqual(["up", "up", "suspect"]);
    expect(Date.now() - NOW_MS).toBeGreaterThanOrEqual(6_500);
    expect(Date.now() - NOW_MS).toBeLessThan(8_000);
  });
});

it("a cold isolate shows what the others have found, and does not check it again", async () => {
  const found = { result: { ...DEAD, atMs: NOW_MS - 2_000 }, ejectionsMs: [] };
  const match = async () => new Response(JSON.stringify({ koyeb: found }));
  vi.stubGlobal("caches", { open: async () => ({ match, async put() {} }) });
  configure({ SHARE_HEALTH: true });
  expect((await askForJson()).backends[2]).toMatchObject({ state: "down", result: DEAD, isShared: true });
  expect(asked).toEqual(["cf", "duck"]);
});
