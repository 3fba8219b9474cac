import { afterEach, describe, expect, it, vi } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { isAlive, isWell, probe } from "../../src/probe.ts";

const config = parseConfig({
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_CF: "cf.example.net",
  HEALTH_CHECK_PATH: "/healthz",
});
const backend = config.backends[0];
if (!backend) throw new Error("no backend");

afterEach(() => vi.unstubAllGlobals());

describe("a probe", () => {
  it("asks the backend's health route, and follows no redirect", async () => {
    const fetch = vi.fn(async () => new Response("ok"));
    vi.stubGlobal("fetch", fetch);
    await probe(backend, config);
    expect(fetch).toHaveBeenCalledWith(
      "https://cf.example.net/healthz",
      expect.objectContaining({ redirect: "manual" }),
    );
  });

  it("finds the status of the answer", async () => {
    vi.stubGlobal("fetch", async () => new Response("busy", { status: 503 }));
    expect(await probe(backend, config)).toBe(503);
  });

  it("finds nothing where no connection stands", async () => {
    vi.stubGlobal("fetch", async () => {
      throw new Error("refused");
    });
    expect(await probe(backend, config)).toBeUndefined();
  });
});

it("takes any answer below 500 for a sign of life", () => {
  expect([200, 302, 404, 499, 500, 503, 521, undefined].filter(isAlive)).toEqual([200, 302, 404, 499]);
});

it("takes only a 2xx for health", () => {
  expect([200, 204, 302, 404, 500, undefined].filter(isWell)).toEqual([200, 204]);
});
