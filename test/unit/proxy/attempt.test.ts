import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Attempt, begin, discard, OpenAttempts, resultWithin } from "../../../src/proxy/attempt.ts";
import { backendOf, configWith } from "../sample.ts";

const backend = backendOf(configWith(), "a");

interface Call {
  readonly input: string | Request;
  readonly init: RequestInit;
  readonly answer: (answer: Response | Error) => void;
}

let calls: Call[];

function beginWith(
  request: Request,
  parts: { number?: number; body?: ArrayBuffer | ReadableStream | null } = {},
): Attempt {
  const { headers } = request;
  const sending = { request, path: "/a%2Fb?c='d", headers, body: parts.body ?? null };
  return begin(sending, backend, parts.number ?? 1, 1_000, 5_000);
}
const requestWith = (headers = {}) => new Request("https://x.example/", { headers });
const get = (number = 1, headers = {}) => beginWith(requestWith(headers), { number });
/** What an attempt results in, within a time that is never reached. */
const resultOf = (headers = {}) => resultWithin(10_000, get(1, headers), requestWith(headers));

beforeEach(() => {
  calls = [];
  vi.stubGlobal("fetch", (input: string | Request, init: RequestInit) => {
    return new Promise<Response>((resolve, reject) => {
      const answer = (given: Response | Error) => (given instanceof Response ? resolve(given) : reject(given));
      calls.push({ input, init, answer });
    });
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("an attempt", () => {
  it("asks the backend for the path as it came, and follows no redirect", () => {
    get();
    expect(calls[0]).toMatchObject({
      input: "https://a.example.net/a%2Fb?c='d",
      init: { method: "GET", redirect: "manual" },
    });
  });

  it("with a Range goes past Cloudflare's cache, any other does not", () => {
    get(1, { Range: "bytes=0-" });
    get();
    expect(calls.map(({ init }) => init.cache)).toEqual(["no-store", undefined]);
  });

  it("sends bytes that are held, again and again", () => {
    const body = new Uint8Array([1, 2, 3]).buffer;
    const request = new Request("https://x.example/", { method: "PUT", body: "abc" });
    beginWith(request, { body });
    beginWith(request, { body, number: 2 });
    expect(calls.map(({ init }) => [init.method, init.body])).toEqual([
      ["PUT", body],
      ["PUT", body],
    ]);
  });

  it("hands on the request's own stream, method and all", async () => {
    const request = new Request("https://x.example/", { method: "POST", body: "abc" });
    beginWith(request, { body: request.body });
    const { input } = calls[0] as Call;
    if (!(input instanceof Request)) throw new Error("no request");
    expect([input.url, input.method, await input.text()]).toEqual(["https://a.example.net/a%2Fb?c='d", "POST", "abc"]);
  });

  it("has a signal from the second on, since one costs every request", () => {
    get(1);
    get(2);
    expect(calls.map(({ init }) => init.signal instanceof AbortSignal)).toEqual([false, true]);
  });

  it("results in the answer, whatever its status", async () => {
    const result = resultOf();
    const response = new Response("busy", { status: 503 });
    calls[0]?.answer(response);
    expect(await result).toBe(response);
  });

  it("results in a network error when the connection breaks, and when fetch refuses at once", async () => {
    const result = resultOf();
    calls[0]?.answer(new Error("reset"));
    expect(await result).toBe("network error");
    vi.stubGlobal("fetch", () => {
      throw new TypeError("bad port");
    });
    expect(await resultOf()).toBe("network error");
  });

  it("results in nothing when it has no headers in time, and its answer is still to come", async () => {
    const attempt = get();
    expect(await resultWithin(1, attempt, requestWith())).toBeUndefined();
    calls[0]?.answer(new Response("late"));
    expect(await (await attempt.response).text()).toBe("late");
  });

  it("results in a failure when a 101 comes that nobody asked for, and closes its socket", async () => {
    const { 0: ours, 1: theirs } = new WebSocketPair();
    theirs.accept();
    const closed = vi.fn();
    theirs.addEventListener("close", closed);
    const result = resultOf();
    calls[0]?.answer(new Response(null, { status: 101, webSocket: ours }));
    expect(await result).toBe("unexpected upgrade");
    await vi.waitFor(() => expect(closed).toHaveBeenCalled());
  });

  it("results in the 101 that was asked for", async () => {
    const result = resultOf({ Upgrade: "websocket" });
    const response = new Response(null, { status: 101, webSocket: new WebSocketPair()[0] });
    calls[0]?.answer(response);
    expect(await result).toBe(response);
    discard(response);
  });
});

describe("open attempts", () => {
  const cancelled = vi.fn();
  const film = () => new Response(new ReadableStream({ cancel: cancelled }));
  let open: OpenAttempts;
  const add = (number: number) => {
    const attempt = get(number);
    open.add(attempt);
    return attempt;
  };

  beforeEach(() => {
    cancelled.mockClear();
    open = new OpenAttempts(requestWith());
  });

  it("give their results in the order in which they come", async () => {
    const [first, second] = [add(1), add(2)];
    calls[1]?.answer(new Error("reset"));
    expect(await open.next(1_000)).toEqual({ attempt: second, result: "network error" });
    expect([...open]).toEqual([first]);
    const response = film();
    calls[0]?.answer(response);
    expect(await open.next(1_000)).toEqual({ attempt: first, result: response });
    expect(open.size).toBe(0);
  });

  it("lose no result that comes while nobody waits", async () => {
    add(1);
    add(2);
    for (const { answer } of calls) answer(new Error("reset"));
    await vi.waitFor(() => expect(open.size).toBe(0));
    const results = [await open.next(0), await open.next(0), await open.next(1)];
    expect(results.map((settled) => settled?.attempt.number)).toEqual([1, 2, undefined]);
  });

  it("give nothing when nothing has come in time", async () => {
    add(1);
    expect(await open.next(1)).toBeUndefined();
    expect(open.size).toBe(1);
  });

  it("that are let go of free their connection, and their answer is thrown away", async () => {
    const attempt = add(2);
    open.letGo(attempt);
    expect([open.size, calls[0]?.init.signal?.aborted]).toEqual([0, true]);
    calls[0]?.answer(film());
    await vi.waitFor(() => expect(cancelled).toHaveBeenCalledTimes(1));
    expect(await open.next(1)).toBeUndefined();
  });

  it("end with every connection free and every answer thrown away", async () => {
    add(1);
    const waiting = add(2);
    calls[0]?.answer(film());
    await vi.waitFor(() => expect(open.size).toBe(1));
    expect(open.end()).toEqual([waiting]);
    expect(calls[1]?.init.signal?.aborted).toBe(true);
    await vi.waitFor(() => expect(cancelled).toHaveBeenCalledTimes(1));
  });
});
