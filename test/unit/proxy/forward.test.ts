import { afterEach, describe, expect, it, vi } from "vitest";
import { healthOf, takeResult } from "../../../src/health/health-state.ts";
import { CONNECTIONS_MAX, SUBREQUESTS_MAX, Subrequests } from "../../../src/health/subrequests.ts";
import { BODY_BYTES_MAX } from "../../../src/proxy/body.ts";
import { forward } from "../../../src/proxy/forward.ts";
import { backendOf, configWith, invocationOf } from "../sample.ts";

const config = configWith({ BACKEND_C: "", SHARE_HEALTH: false, HEALTH_CHECK_INTERVAL: 0 });

function contextOf(request: Request) {
  const { headers } = request;
  const client = { key: "192.0.2.1", stickyBackend: backendOf(config, "a") };
  return { ...invocationOf(config), request, path: "/x", headers, isCacheable: false, body: null, client };
}

const get = (headers: Record<string, string> = {}) => new Request("https://aiostreams.example.com/", { headers });
const post = (body: ReadableStream, headers: Record<string, string> = {}) =>
  new Request("https://aiostreams.example.com/", { method: "POST", body, headers });

/** Has a check found that both backends are down. */
function takeDown({ health }: ReturnType<typeof contextOf>) {
  const nowMs = Date.now();
  const result = { kind: "network error", status: null, tookMs: 1, atMs: nowMs } as const;
  for (const id of ["a", "b"]) takeResult(healthOf(health, id), result, nowMs, 30_000);
}

afterEach(() => {
  vi.unstubAllGlobals();
});

it("a body that its client broke off is answered 400, reaches no backend and says nothing of one", async () => {
  const sent = vi.fn();
  vi.stubGlobal("fetch", sent);
  const body = new ReadableStream({ type: "bytes", pull: (controller) => controller.error(new Error("gone")) });
  const context = contextOf(post(body));
  const result = await forward(context, new Set());
  expect(result).toEqual({ status: 400, attempts: [], isBinding: false });
  expect([sent.mock.calls.length, context.health.backends.size, context.counters.requests]).toEqual([0, 0, 1]);
});

it("an upload that its client breaks off while a last resort waits for its checks is answered 400, and sent to no backend", async () => {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    asked.push(url);
    await new Promise((resolve) => setTimeout(resolve, 100));
    return new Response("stopped", { status: 503 });
  });
  const { readable, writable } = new FixedLengthStream(3 * 1024 * 1024);
  const headers = { "Content-Length": `${3 * 1024 * 1024}` };
  const context = contextOf(post(readable, headers));
  takeDown(context);
  const forwarded = forward(context, new Set());
  await writable.abort(new Error("gone")).catch(() => {});
  expect(await forwarded).toEqual({ status: 400, attempts: [], isBinding: false });
  expect(asked.filter((url) => !url.endsWith("/api/v1/health"))).toEqual([]);
});

describe("a large upload that its client breaks off", () => {
  /** The client breaks it off once a backend has been asked, which then does this. */
  async function brokenOff(settle: () => Promise<Response>) {
    let breakOff = () => {};
    const isBroken = new Promise<never>((_, reject) => {
      breakOff = () => reject(new Error("gone"));
    });
    const body = new ReadableStream({ type: "bytes", pull: () => isBroken });
    vi.stubGlobal("fetch", (_: string, { signal }: RequestInit) => {
      breakOff();
      return new Promise((resolve) => signal?.addEventListener("abort", () => resolve(settle())));
    });
    const headers = { "Content-Length": String(2 * BODY_BYTES_MAX) };
    const context = contextOf(post(body, headers));
    return { result: await forward(context, new Set()), known: healthOf(context.health, "a") };
  }

  it("is answered 400, and says nothing of its backend", async () => {
    const { result, known } = await brokenOff(() => Promise.reject(new Error("aborted")));
    expect(result).toEqual({ status: 400, attempts: [expect.anything()], isBinding: false });
    expect([known.isCheckRequested, known.traffic.lastFailure]).toEqual([false, undefined]);
  });

  it("gets the backend's answer that has come all the same", async () => {
    const { result } = await brokenOff(async () => new Response("kept", { status: 201 }));
    expect(result).toMatchObject({ status: 201, chosen: { outcome: { kind: "success" } } });
  });
});

it("a GET whose body breaks off says nothing of its backend: it does not tell which end broke it", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new Error("network")));
  const request = Object.defineProperty(get({ "Content-Length": "4" }), "body", { value: new ReadableStream() });
  const context = contextOf(request);
  expect((await forward(context, new Set())).status).toBe(502);
  const { isCheckRequested, traffic } = healthOf(context.health, "a");
  expect([isCheckRequested, traffic.lastFailure]).toEqual([false, undefined]);
});

it("a WebSocket is a success, which is counted and binds its client", async () => {
  const response = new Response(null, { status: 101, webSocket: new WebSocketPair()[0] });
  vi.stubGlobal("fetch", async () => response);
  const context = contextOf(get({ Upgrade: "websocket" }));
  const result = await forward(context, new Set());
  const chosen = { backend: backendOf(config, "a"), outcome: { kind: "success" } };
  expect(result).toMatchObject({ status: 101, attempts: [chosen], chosen, isBinding: true });
  expect(result.response).toBe(response);
  expect(context.counters.webSockets).toBe(1);
});

it("a doubtful answer is relayed as it is, with no check, where no subrequest is left for one", async () => {
  vi.stubGlobal("fetch", async () => new Response("none", { status: 404 }));
  const context = { ...contextOf(get()), subrequests: new Subrequests(SUBREQUESTS_MAX) };
  const result = await forward(context, new Set());
  expect(result).toMatchObject({ status: 404, chosen: { outcome: { kind: "doubtful" } }, isBinding: false });
  expect(healthOf(context.health, "a").isCheckRequested).toBe(false);
});

it("a last resort tries blindly at once where no subrequest is left for its checks", async () => {
  vi.stubGlobal("fetch", async () => new Response("fine"));
  const context = { ...contextOf(get()), subrequests: new Subrequests(SUBREQUESTS_MAX) };
  takeDown(context);
  const result = await forward(context, new Set());
  expect(result).toMatchObject({ status: 200, attempts: [{ outcome: { kind: "success" } }], isBinding: false });
  expect(healthOf(context.health, "b").isCheckRequested).toBe(false);
});

it("no backend is asked beside another one while checks have taken the connections", async () => {
  const context = { ...contextOf(get()), subrequests: new Subrequests(SUBREQUESTS_MAX) };
  takeDown(context);
  for (let i = 0; i < CONNECTIONS_MAX; i++) void context.subrequests.withConnection(() => new Promise(() => {}));
  let answer = (_: Response) => {};
  const sent = vi.fn(() => new Promise((resolve) => (answer = resolve)));
  vi.stubGlobal("fetch", sent);
  const impatient = { ...context, config: { ...config, probeAfterMs: 1 } };
  const forwarded = forward(impatient, new Set());
  await new Promise((resolve) => setTimeout(resolve, 50));
  answer(new Response("fine"));
  expect([(await forwarded).status, sent.mock.calls.length]).toEqual([200, 1]);
});
