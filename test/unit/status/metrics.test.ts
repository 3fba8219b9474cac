import { afterEach, expect, it, vi } from "vitest";
import { type Backend, parseConfig } from "../../../src/config.ts";
import worker from "../../../src/index.ts";
import type { ProxyResult } from "../../../src/proxy/forward.ts";
import type { Outcome } from "../../../src/proxy/outcome.ts";
import type { Attempt } from "../../../src/proxy/request-state.ts";
import { recordMetrics } from "../../../src/status/metrics.ts";

const VARS = {
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_CF: "cf.example.net",
  BACKEND_DUCK: "duck.example.net backup",
};
const [cf, duck] = parseConfig(VARS).backends as [Backend, Backend];

/** An attempt at a backend. */
function sent(backend: Backend, kind: "success" | "doubtful" | "failed" = "success"): Attempt {
  return { backend, sentMs: 0, isOnceMore: false, outcome: { kind } as Outcome };
}

const from = (colo?: unknown) =>
  new Request("https://aiostreams.example.com/stremio/s3cr3t", { cf: { colo } as CfProperties });

/** The result of these attempts, of which the last one is relayed if any is. */
function resultOf(attempts: readonly Attempt[], status: number, isRelayed = true): ProxyResult {
  const chosen = isRelayed ? attempts.at(-1) : undefined;
  return { status, attempts, isBinding: true, ...(chosen && { chosen }) };
}

function pointOf(result: ProxyResult, colo: unknown = "FRA") {
  const writeDataPoint = vi.fn();
  recordMetrics({ writeDataPoint }, from(colo), result, 42);
  return writeDataPoint.mock.calls[0]?.[0];
}

afterEach(() => vi.unstubAllGlobals());

it.each<[string, ProxyResult, string[]]>([
  ["of the backend that was asked first", resultOf([sent(cf)], 206), ["cf", "ok", "cf", "2xx", "primary"]],
  ["of the same one, once more", resultOf([sent(cf, "failed"), sent(cf)], 206), ["cf", "ok", "cf", "2xx", "primary"]],
  ["that was doubtful", resultOf([sent(cf, "doubtful")], 404), ["cf", "ok", "cf", "4xx", "primary"]],
  ["of another one", resultOf([sent(cf, "failed"), sent(duck)], 206), ["duck", "failover", "cf", "2xx", "backup"]],
  ["that failed", resultOf([sent(cf), sent(duck, "failed")], 404), ["duck", "exhausted", "cf", "4xx", "backup"]],
  ["of none", resultOf([sent(cf), sent(duck)], 502, false), ["cf", "exhausted", "cf", "5xx", "primary"]],
])("the data point of an answer %s has its columns", (_, result, [id, outcome, first, status, role]) => {
  const blobs = [outcome, first, "GET", status, "FRA", role];
  expect(pointOf(result)).toEqual({ indexes: [id], blobs, doubles: [42, result.attempts.length] });
});

it("no data point is written when no backend was asked, and a data centre that is not known is empty", () => {
  expect(pointOf(resultOf([], 400))).toBeUndefined();
  expect(pointOf(resultOf([sent(cf)], 200), null).blobs[4]).toBe("");
});

it("a metric that cannot be written harms no request", () => {
  const broken = vi.fn(() => {
    throw new TypeError("too large");
  });
  for (const dataset of [{ writeDataPoint: broken }, "a variable" as unknown as AnalyticsEngineDataset]) {
    expect(() => recordMetrics(dataset, from(), resultOf([sent(cf)], 200), 1)).not.toThrow();
  }
});

it("the Worker writes where there is a binding, and nothing of what is secret", async () => {
  vi.stubGlobal("fetch", async () => new Response("film"));
  const METRICS = { writeDataPoint: vi.fn() };
  const ctx = { waitUntil() {} } as unknown as ExecutionContext;
  const request = from("FRA") as Parameters<typeof worker.fetch>[0];
  expect((await worker.fetch(request, { ...VARS, METRICS }, ctx)).status).toBe(200);
  expect(METRICS.writeDataPoint).toHaveBeenCalledOnce();
  expect(JSON.stringify(METRICS.writeDataPoint.mock.calls)).not.toMatch(/s3cr3t|example/);
});
