import { afterEach, describe, expect, it, vi } from "vitest";
import { parseConfig } from "../../../src/config.ts";
import worker from "../../../src/index.ts";
import type { Served } from "../../../src/proxy/exchange.ts";
import { coloOf, recordMetrics } from "../../../src/status/metrics.ts";

const VARS = {
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_CF: "cf.example.net",
  BACKEND_DUCK: "duck.example.net",
  BACKEND_HOME: "home.example.net backup",
};
const [cf, duck, home] = parseConfig(VARS).backends;

const from = (colo?: unknown, method = "GET") =>
  new Request("https://aiostreams.example.com/stremio/s3cr3t", { method, cf: { colo } as CfProperties });

function pointOf(served: Omit<Served, "response">, status: number, request = from("FRA")) {
  const writeDataPoint = vi.fn();
  recordMetrics({ writeDataPoint }, request, { response: new Response(null, { status }), ...served }, 42);
  expect(writeDataPoint.mock.calls.length).toBeLessThanOrEqual(1);
  return writeDataPoint.mock.calls[0]?.[0];
}

describe("the data point of a request", () => {
  it("names the backend that answered, how, and how long its headers took", () => {
    expect(pointOf({ backend: cf, first: cf, attempts: 1 }, 206)).toEqual({
      indexes: ["cf"],
      blobs: ["ok", "cf", "GET", "2xx", "FRA", "primary"],
      doubles: [42, 1],
    });
  });

  it("is ok when the same backend answered at a second attempt", () => {
    expect(pointOf({ backend: cf, first: cf, attempts: 2 }, 404)).toMatchObject({
      blobs: ["ok", "cf", "GET", "4xx", "FRA", "primary"],
      doubles: [42, 2],
    });
  });

  it("is a failover when another backend answered than was asked first", () => {
    expect(pointOf({ backend: duck, first: cf, attempts: 2 }, 200, from("AMS", "POST"))).toEqual({
      indexes: ["duck"],
      blobs: ["failover", "cf", "POST", "2xx", "AMS", "primary"],
      doubles: [42, 2],
    });
  });

  it("is exhausted when no backend answered below 500, whoever's answer the client got", () => {
    expect(pointOf({ backend: duck, first: cf, attempts: 2 }, 503)).toMatchObject({
      indexes: ["duck"],
      blobs: ["exhausted", "cf", "GET", "5xx", "FRA", "primary"],
    });
    expect(pointOf({ backend: undefined, first: cf, attempts: 2 }, 502)).toMatchObject({
      indexes: ["cf"],
      blobs: ["exhausted", "cf", "GET", "5xx", "FRA", "primary"],
    });
  });

  it("tells whether a backup answered", () => {
    expect(pointOf({ backend: home, first: cf, attempts: 2 }, 200)).toMatchObject({
      indexes: ["home"],
      blobs: ["failover", "cf", "GET", "2xx", "FRA", "backup"],
    });
  });

  it("is not written when no backend was asked", () => {
    expect(pointOf({ backend: undefined, first: undefined, attempts: 0 }, 400)).toBeUndefined();
  });

  it("holds nothing of the path, and no host", () => {
    expect(JSON.stringify(pointOf({ backend: cf, first: cf, attempts: 1 }, 200))).not.toMatch(/s3cr3t|example/);
  });
});

it("a metric that cannot be written harms no request", () => {
  const served = { response: new Response(), backend: cf, first: cf, attempts: 1 };
  const broken = {
    writeDataPoint() {
      throw new TypeError("too large");
    },
  };
  expect(() => recordMetrics(broken, from("FRA"), served, 1)).not.toThrow();
  expect(() => recordMetrics("a variable" as unknown as AnalyticsEngineDataset, from("FRA"), served, 1)).not.toThrow();
});

it.each([
  ["FRA", "FRA"],
  [undefined, ""],
  [5, ""],
])("the data centre %j is read as %j", (colo, expected) => {
  expect(coloOf(from(colo))).toBe(expected);
});

describe("the Worker", () => {
  afterEach(() => vi.unstubAllGlobals());

  const statusWith = async (env: Record<string, unknown>) => {
    vi.stubGlobal("fetch", async () => new Response("film"));
    const ctx = { waitUntil() {} } as unknown as ExecutionContext;
    const fetched = worker.fetch(from("FRA") as Parameters<typeof worker.fetch>[0], { ...VARS, ...env }, ctx);
    return (await fetched).status;
  };

  it("writes one data point for a request that it proxied", async () => {
    const writeDataPoint = vi.fn();
    expect(await statusWith({ METRICS: { writeDataPoint } })).toBe(200);
    expect(writeDataPoint.mock.calls).toEqual([
      [
        {
          indexes: [expect.any(String)],
          blobs: ["ok", expect.any(String), "GET", "2xx", "FRA", "primary"],
          doubles: [expect.any(Number), 1],
        },
      ],
    ]);
  });

  it("serves without the binding", async () => {
    expect(await statusWith({})).toBe(200);
  });
});
