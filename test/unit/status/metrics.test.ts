import { afterEach, expect, it, vi } from "vitest";
import { parseConfig } from "../../../src/config.ts";
import worker from "../../../src/index.ts";
import type { ProxyResult } from "../../../src/proxy/forward.ts";
import { recordMetrics } from "../../../src/status/metrics.ts";

const VARS = {
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_CF: "cf.example.net",
  BACKEND_DUCK: "duck.example.net backup",
};
const [cf, duck] = parseConfig(VARS).backends;
const OK = { response: undefined, status: 206, backend: cf, first: cf, attempts: 1, kind: "success", isBinding: true };

const from = (colo?: unknown) =>
  new Request("https://aiostreams.example.com/stremio/s3cr3t", { cf: { colo } as CfProperties });

function pointOf(result: Partial<ProxyResult>, colo: unknown = "FRA") {
  const writeDataPoint = vi.fn();
  recordMetrics({ writeDataPoint }, from(colo), { ...OK, ...result } as ProxyResult, 42);
  return writeDataPoint.mock.calls[0]?.[0];
}

afterEach(() => vi.unstubAllGlobals());

it.each<[string, Partial<ProxyResult>, string[]]>([
  ["of the backend that was asked first", {}, ["cf", "ok", "cf", "2xx", "primary"]],
  ["of the same one, asked once more", { attempts: 2 }, ["cf", "ok", "cf", "2xx", "primary"]],
  ["that was doubtful", { kind: "doubtful", status: 404 }, ["cf", "ok", "cf", "4xx", "primary"]],
  ["of another one", { backend: duck, attempts: 2 }, ["duck", "failover", "cf", "2xx", "backup"]],
  ["that failed", { backend: duck, kind: "failed", status: 404 }, ["duck", "exhausted", "cf", "4xx", "backup"]],
  ["of none", { backend: undefined, kind: "failed", status: 502 }, ["cf", "exhausted", "cf", "5xx", "primary"]],
])("the data point of an answer %s has its columns", (_, result, [id, outcome, first, status, role]) => {
  const blobs = [outcome, first, "GET", status, "FRA", role];
  expect(pointOf(result)).toEqual({ indexes: [id], blobs, doubles: [42, result.attempts ?? 1] });
});

it("no data point is written when no backend was asked, and a data centre that is not known is empty", () => {
  expect(pointOf({ backend: undefined, first: undefined, attempts: 0, status: 400, kind: "failed" })).toBeUndefined();
  expect(pointOf({}, null).blobs[4]).toBe("");
});

it("a metric that cannot be written harms no request", () => {
  const broken = vi.fn(() => {
    throw new TypeError("too large");
  });
  for (const dataset of [{ writeDataPoint: broken }, "a variable" as unknown as AnalyticsEngineDataset]) {
    expect(() => recordMetrics(dataset, from(), OK as ProxyResult, 1)).not.toThrow();
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
