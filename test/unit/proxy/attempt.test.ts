import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { discard, type Sending, send } from "../../../src/proxy/attempt.ts";
import { backendOf, configWith } from "../sample.ts";

const config = configWith({ HEADERS_B: "X-Own: b\nAuthorization: Bearer b" });
const [a, b] = [backendOf(config, "a"), backendOf(config, "b")];

let calls: { input: string | Request; init: RequestInit }[];

/** What `fetch` is given. */
async function sent(
  parts: Partial<Sending> = {},
  { backend = a, signal }: { backend?: typeof a; signal?: AbortSignal } = {},
) {
  const request = parts.request ?? new Request("https://x.example/");
  const { headers } = request;
  await send({ request, path: "/a%2Fb?c='d", headers, body: null, isCacheable: false, ...parts }, backend, signal);
  const call = calls.at(-1);
  if (!call) throw new Error("nothing was sent");
  return { ...call, headers: new Headers(call.init.headers) };
}

beforeEach(() => {
  calls = [];
  vi.stubGlobal("fetch", async (input: string | Request, init: RequestInit) => {
    calls.push({ input, init });
    return new Response();
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

it("asks the backend for the path as it came, and follows no redirect", async () => {
  const { input, init } = await sent({ request: new Request("https://x.example/", { method: "DELETE" }) });
  expect(input).toBe("https://a.example.net/a%2Fb?c='d");
  expect(init).toMatchObject({ method: "DELETE", redirect: "manual" });
});

it("goes past Cloudflare's cache where that would meddle, and costs nothing where not", async () => {
  expect((await sent({ isCacheable: true })).init.cache).toBe("no-store");
  expect(Object.keys((await sent()).init).sort()).toEqual(["headers", "method", "redirect"]);
});

it("has the signal that it is given", async () => {
  const { signal } = new AbortController();
  expect((await sent({}, { signal })).init.signal).toBe(signal);
});

it("carries the headers of HEADERS_<NAME> in place of the client's, to that backend alone", async () => {
  const headers = new Headers({ "X-Own": "client", "X-Other": "kept" });
  const { headers: toB } = await sent({ headers }, { backend: b });
  expect(Object.fromEntries(toB)).toEqual({ "x-own": "b", "x-other": "kept", authorization: "Bearer b" });
  const { headers: toA } = await sent({ headers });
  expect(Object.fromEntries(toA)).toEqual({ "x-own": "client", "x-other": "kept" });
});

it("sends bytes that are held, again and again", async () => {
  const body = new Uint8Array([1, 2, 3]).buffer;
  const request = new Request("https://x.example/", { method: "PUT", body: "abc" });
  for (const _ of [1, 2]) expect((await sent({ request, body })).init).toMatchObject({ method: "PUT", body });
});

it("hands on the request's own stream, method and all", async () => {
  const request = new Request("https://x.example/", { method: "POST", body: "abc" });
  const { input, init } = await sent({ request, body: request.body });
  if (!(input instanceof Request)) throw new Error("no request");
  expect([input.url, input.method, await input.text()]).toEqual(["https://a.example.net/a%2Fb?c='d", "POST", "abc"]);
  // Beside a body no method of GET may be named.
  expect([init.body, init.method]).toEqual([undefined, undefined]);
});

it("hands on a stream that was made of what had come and the rest", async () => {
  const request = new Request("https://x.example/", { method: "POST", body: "abc" });
  const { readable: body } = new IdentityTransformStream();
  expect((await sent({ request, body })).init).toMatchObject({ method: "POST", body });
});

it("rejects when the connection breaks, and when fetch refuses at once", async () => {
  vi.stubGlobal("fetch", () => {
    throw new TypeError("bad port");
  });
  await expect(sent()).rejects.toThrow("bad port");
});

it("throws an answer away, body and socket", async () => {
  const cancelled = vi.fn();
  discard(new Response(new ReadableStream({ cancel: cancelled })));
  const { 0: ours, 1: theirs } = new WebSocketPair();
  theirs.accept();
  const closed = vi.fn();
  theirs.addEventListener("close", closed);
  discard(new Response(null, { status: 101, webSocket: ours }));
  await vi.waitFor(() => expect([cancelled.mock.calls.length, closed.mock.calls.length]).toEqual([1, 1]));
});
