import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { check } from "../../../src/health/check.ts";
import type { Ask } from "../../../src/health/health-state.ts";
import { backendOf, configWith } from "../sample.ts";

const START_MS = 1_000_000;
const KIB_64 = 64 * 1024;
const EXPECTED = '"success":true';

/** A backend's health route, as it answers ask by ask; whatever waits ends with the signal. */
class Route {
  readonly asks: { url: string; init: RequestInit; atMs: number }[] = [];
  /** The asks that its driver was told of: from when to when, in ms, and whether the answer was good. */
  readonly told: string[] = [];
  /** How many timers run on when the check has ended. */
  timersLeft = -1;
  readonly #replies: (string | Response)[];

  /** A reply is a response, or text: a status, `page`, `breaks` or `hangs`, and after how many ms, such as `503@40`. */
  constructor(...replies: (string | Response)[]) {
    this.#replies = replies;
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => this.#fetch(url, init));
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    this.asks.push({ url, init, atMs: Date.now() - START_MS });
    const reply = this.#replies.shift();
    if (reply === undefined) throw new Error("asked too often");
    if (reply instanceof Response) return reply;
    const [word = "", afterMs] = reply.split("@");
    await new Promise<void>((resolve, reject) => {
      if (init.signal?.aborted) reject(init.signal.reason);
      init.signal?.addEventListener("abort", () => reject(init.signal?.reason));
      if (afterMs) setTimeout(resolve, Number(afterMs));
      else if (word !== "hangs") resolve();
    });
    if (word === "breaks") throw new Error("connection broke");
    return word === "page" ? new Response("<h1>asleep</h1>") : new Response(EXPECTED, { status: Number(word) });
  }

  /** Lets time pass until the check has ended. */
  async check(vars: Readonly<Record<string, unknown>> = {}) {
    const config = configWith(vars);
    const onAnswer = ({ beganMs, endedMs, isGood }: Ask) => {
      this.told.push(`${beganMs - START_MS}-${endedMs - START_MS} ${isGood ? "good" : "bad"}`);
    };
    const checked = check(backendOf(config, "a"), config, onAnswer).finally(() => {
      this.timersLeft = vi.getTimerCount();
    });
    await vi.advanceTimersByTimeAsync(10_000);
    return checked;
  }
}

/** An answer whose body comes in pieces and then ends, breaks, or never ends; says how it was read. */
function inPieces(pieces: readonly (string | Uint8Array)[], end: "ends" | "breaks" | "never" = "ends", status = 200) {
  const rest = pieces.map((piece) => (typeof piece === "string" ? new TextEncoder().encode(piece) : piece));
  const read = { isCancelled: false, pieces: 0 };
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const piece = rest.shift();
    read.pieces++;
    if (piece) controller.enqueue(piece);
    else if (end === "ends") controller.close();
    else if (end === "breaks") controller.error(new Error("connection broke"));
    return piece || end !== "never" ? undefined : new Promise<void>(() => {});
  };
  const cancel = () => {
    read.isCancelled = true;
  };
  return { response: new Response(new ReadableStream({ pull, cancel }, { highWaterMark: 0 }), { status }), read };
}

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("a check asks", () => {
  it("the health route by GET, past the cache, and follows no redirect", async () => {
    const route = new Route("200");
    await route.check({ BACKEND_A: "http://a.example.net:8080", HEALTH_CHECK_PATH: "/health?deep=1" });
    const [{ url, init } = { url: "", init: {} }] = route.asks;
    expect(url).toBe("http://a.example.net:8080/health?deep=1");
    expect(init).toMatchObject({ redirect: "manual", cache: "no-store" });
    expect(init.method ?? "GET").toBe("GET");
  });

  it.each([
    ["a name that tells it from users", "", /health check/],
    ["those of HEADERS_<NAME> instead, its own alone", "X-Key: secret\nUser-Agent: app", /^app$/],
  ])("with the forwarded headers of a user's request, and %s", async (_, own, userAgent) => {
    const route = new Route("200");
    await route.check({ HEADERS_A: own, HEADERS_B: "X-Other: 1" });
    const { "user-agent": found, ...headers } = Object.fromEntries(new Headers(route.asks[0]?.init.headers));
    const forwarded = { "x-forwarded-host": "aiostreams.example.com", "x-forwarded-proto": "https" };
    expect(headers).toEqual({ ...forwarded, ...(own && { "x-key": "secret" }) });
    expect(found).toMatch(userAgent);
  });
});

describe("a check is one ask or two", () => {
  it.each([
    ["good: one", "200@40", [0], ["0-40 good"], ["good", 200, 40]],
    ["a bad answer: again after 250 ms", "503@40 200@40", [0, 290], ["0-40 bad", "290-330 good"], ["good", 200, 330]],
    ["two bad answers: the second stands", "503 404", [0, 250], ["0-0 bad", "250-250 bad"], ["bad status", 404, 250]],
    ["a redirect: not followed", "302 302", [0, 250], ["0-0 bad", "250-250 bad"], ["bad status", 302, 250]],
    [
      "not as expected: again after 250 ms",
      "page page",
      [0, 250],
      ["0-0 bad", "250-250 bad"],
      ["unexpected answer", 200, 250],
    ],
    ["no connection, in Cloudflare's words", "521 530", [0, 250], ["250-250 bad"], ["network error", 530, 250]],
    ["a network error: again after 250 ms", "breaks@40 200@40", [0, 290], ["290-330 good"], ["good", 200, 330]],
    ["two network errors", "breaks breaks", [0, 250], ["250-250 bad"], ["network error", null, 250]],
    ["one of each: a third", "breaks 503 200", [0, 250, 500], ["250-250 bad", "500-500 good"], ["good", 200, 500]],
    ["the third decides", "503 breaks 404", [0, 250, 500], ["0-0 bad", "500-500 bad"], ["bad status", 404, 500]],
    ["no answer in three seconds: one", "hangs", [0], ["0-3000 bad"], ["no answer", null, 3_000]],
    [
      "time runs out in the second ask: the first stands",
      "503 hangs",
      [0, 250],
      ["0-0 bad", "250-3000 bad"],
      ["bad status", 503, 3_000],
    ],
    ["also after a network error", "breaks hangs", [0, 250], ["250-3000 bad"], ["network error", null, 3_000]],
  ])("%s", async (_, replies, askedMs, told, [kind, status, tookMs]) => {
    const route = new Route(...replies.split(" "));
    const { result, asks } = await route.check();
    expect(result).toEqual({ kind, status, tookMs, atMs: START_MS + Number(tookMs) });
    expect(route.asks.map(({ atMs }) => atMs)).toEqual(askedMs);
    expect([asks, route.told, route.timersLeft]).toEqual([askedMs.length, told, 0]);
  });

  it("has three seconds, body included", async () => {
    const body = new TransformStream();
    const route = new Route(new Response(body.readable));
    const checked = route.check();
    await Promise.resolve();
    route.asks[0]?.init.signal?.addEventListener("abort", ({ target }) => void body.writable.abort(target));
    expect((await checked).result).toMatchObject({ kind: "no answer", status: 200, tookMs: 3_000 });
  });

  it("lets go of a body that it does not read", async () => {
    const { response, read } = inPieces(["x"], "never", 500);
    await new Route(response, "200").check();
    expect(read.isCancelled).toBe(true);
  });
});

describe("HEALTH_CHECK_EXPECT", () => {
  const kindOf = async (response: Response, vars: Readonly<Record<string, unknown>> = {}) =>
    (await new Route(response, "page").check(vars)).result.kind;

  it("is found across the borders of the body's pieces, in the middle of a character too", async () => {
    const { response } = inPieces([...new TextEncoder().encode("{é:grün}")].map((byte) => new Uint8Array([byte])));
    expect(await kindOf(response, { HEALTH_CHECK_EXPECT: "é:grün" })).toBe("good");
  });

  it("is found although its body cannot be let go", async () => {
    const cancel = () => Promise.reject(new Error("connection broke"));
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) =>
      controller.enqueue(new TextEncoder().encode(EXPECTED));
    for (const HEALTH_CHECK_EXPECT of [EXPECTED, ""]) {
      expect(await kindOf(new Response(new ReadableStream({ pull, cancel })), { HEALTH_CHECK_EXPECT })).toBe("good");
    }
  });

  it("is found without waiting for the end of the body, whose rest is let go", async () => {
    const { response, read } = inPieces([`{${EXPECTED}`, "more"], "never");
    expect([await kindOf(response), read]).toEqual(["good", { isCancelled: true, pieces: 1 }]);
  });

  it.each([
    ["the last in them", KIB_64, "good"],
    ["a byte behind", KIB_64 + 1, "unexpected answer"],
  ])("is looked for in the first 64 KiB, in pieces of any size: %s", async (_, length, kind) => {
    const text = EXPECTED.padStart(length);
    for (const size of [length, 40_000]) {
      expect(await kindOf(inPieces([text.slice(0, size), text.slice(size)].filter(Boolean)).response)).toBe(kind);
    }
  });

  it("is looked for no further than that in a body without end", async () => {
    const { response, read } = inPieces(Array(100).fill(" ".repeat(KIB_64 / 4)));
    expect([await kindOf(response), read]).toEqual(["unexpected answer", { isCancelled: true, pieces: 4 }]);
  });

  it.each([
    ["no body", null, 204],
    ["an empty one", "", 200],
    ["another one", '{"success":false}', 200],
  ])("is not in %s", async (_, body, status) => {
    expect(await kindOf(new Response(body, { status }))).toBe("unexpected answer");
  });

  it.each([200, 299])(
    "that is empty means that any 2xx is good, with a body, which is let go, or without: %i",
    async (status) => {
      const { response, read } = inPieces(["x"], "never", status);
      expect(await kindOf(response, { HEALTH_CHECK_EXPECT: "" })).toBe("good");
      expect(read.isCancelled).toBe(true);
      expect(await kindOf(new Response(null, { status: 204 }), { HEALTH_CHECK_EXPECT: "" })).toBe("good");
    },
  );

  it("in a body that breaks is a network error, and asked again", async () => {
    const route = new Route(inPieces(["{"], "breaks").response, "200");
    expect([(await route.check()).result.kind, route.told]).toEqual(["good", ["250-250 good"]]);
  });
});
