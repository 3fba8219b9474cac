import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CHECK_SUBREQUESTS, CHECK_TIMEOUT_MS, check } from "../../../src/health/check.ts";
import { backendOf, configWith } from "../sample.ts";

const config = configWith({ BACKEND_A: "https://a.example.net:8443", HEALTH_CHECK_PATH: "/healthz?deep=1" });
const backend = backendOf(config, "a");

/** The health route answers so to one question after the other; `Error` for a connection that breaks. */
function route(...answers: (Response | Error)[]) {
  const fetch = vi.fn(async (_url: string, _init: RequestInit) => {
    const answer = answers.shift();
    if (answer instanceof Response) return answer;
    throw answer ?? new Error("asked too often");
  });
  vi.stubGlobal("fetch", fetch);
  return fetch;
}
const checked = (...answers: (Response | Error)[]) => {
  route(...answers);
  return check(backend, config);
};

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe("a check", () => {
  it("asks the backend's health route once, past the cache, and follows no redirect", async () => {
    const fetch = route(new Response("ok"));
    await check(backend, config);
    expect(fetch.mock.calls).toEqual([
      ["https://a.example.net:8443/healthz?deep=1", expect.objectContaining({ redirect: "manual", cache: "no-store" })],
    ]);
    expect(fetch.mock.calls[0]?.[1].method ?? "GET").toBe("GET");
  });

  it.each([200, 204, 299])("is good when the answer is a %d", async (status) => {
    expect(await checked(new Response(null, { status }))).toMatchObject({ result: "good", status });
  });

  it.each([302, 304, 401, 404, 429, 500, 503, 521, 530])("is bad when the answer is a %d", async (status) => {
    expect(await checked(new Response(null, { status }))).toMatchObject({ result: "bad status", status });
  });

  it("does not ask again after a bad answer", async () => {
    const fetch = route(new Response("busy", { status: 503 }), new Response("ok"));
    await check(backend, config);
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it("asks once more after a network error, since a pooled connection may have been stale", async () => {
    expect(await checked(new Error("reset"), new Response("ok"))).toMatchObject({ result: "good", status: 200 });
  });

  it("finds a network error after two of them, and asks no more", async () => {
    const fetch = route(new Error("refused"), new Error("refused"), new Response("ok"));
    expect(await check(backend, config)).toMatchObject({ result: "network error", status: null });
    expect(fetch).toHaveBeenCalledTimes(2);
    expect(CHECK_SUBREQUESTS).toBe(2);
  });

  it("says when it ended and how long it took, both questions together", async () => {
    const answers = [new Error("reset"), new Response("ok")];
    vi.stubGlobal("fetch", async () => {
      vi.setSystemTime(Date.now() + 40);
      const answer = answers.shift();
      if (answer instanceof Response) return answer;
      throw answer;
    });
    expect(await check(backend, config)).toMatchObject({ atMs: 1_000_080, tookMs: 80 });
  });

  it("throws the answer's body away, so that its connection is free", async () => {
    let cancelled = false;
    const body = new ReadableStream({
      cancel() {
        cancelled = true;
      },
    });
    await checked(new Response(body));
    await Promise.resolve();
    expect(cancelled).toBe(true);
  });

  it("is not bothered by a body that cannot be thrown away", async () => {
    const response = new Response("ok");
    response.body?.getReader();
    expect(await checked(response)).toMatchObject({ result: "good" });
  });
});

describe("a backend that hangs", () => {
  /** The signals that were asked for, by the time after which they fire. */
  let timeouts: [number, AbortController][];

  beforeEach(() => {
    timeouts = [];
    vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
      const controller = new AbortController();
      timeouts.push([ms, controller]);
      return controller.signal;
    });
  });

  const hang = (_url: string, { signal }: RequestInit) =>
    new Promise<Response>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));

  it("is found to give no answer after three seconds, and is not asked again", async () => {
    const fetch = vi.fn(hang);
    vi.stubGlobal("fetch", fetch);
    const finding = check(backend, config);
    vi.setSystemTime(1_003_000);
    timeouts[0]?.[1].abort();
    expect(await finding).toEqual({ result: "no answer", status: null, tookMs: 3_000, atMs: 1_003_000 });
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it("has three seconds for both questions together", async () => {
    let asked = 0;
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      if (++asked === 1) throw new Error("reset");
      return hang(url, init);
    });
    const finding = check(backend, config);
    await vi.waitFor(() => expect(asked).toBe(2));
    expect(timeouts.map(([ms]) => ms)).toEqual([CHECK_TIMEOUT_MS]);
    expect(CHECK_TIMEOUT_MS).toBe(3_000);
    timeouts[0]?.[1].abort();
    expect(await finding).toMatchObject({ result: "no answer" });
  });
});
