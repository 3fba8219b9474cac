import { describe, expect, it } from "vitest";
import type { Snapshot } from "../../src/status/types.ts";
import { IDS, loadBalancer } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

const PATH = "/lb-status-8f3a";

describe("the status page", () => {
  const lb = loadBalancer({ STATUS_PATH: PATH, PROBE_AFTER: 60_000 });
  const read = async (): Promise<Snapshot> => JSON.parse((await lb.worker.fetch(`${PATH}?format=json`)).text);

  it("shows every backend by its id, checked just now, and never asks the application", async () => {
    const { status, headers, text } = await lb.worker.fetch(PATH, {
      headers: { "Test-Cf": JSON.stringify({ colo: "FRA" }) },
    });
    expect([status, headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    for (const id of IDS) expect(text).toContain(`✓ ${id}: up for `);
    expect(text.match(/good, HTTP 200, \d s ago, took \d+ ms/g)).toHaveLength(3);
    expect(text).toContain("<dd>FRA</dd>");
    expect(lb.backends.map(({ checks, seen }) => [checks, seen.length])).toEqual(Array(3).fill([1, 0]));
    expect((await read()).isolate.requests).toBe(0);
    expect(await lb.worker.fetch(PATH, { method: "HEAD" })).toMatchObject({ status: 200, text: "" });
  });

  it("is served on the public domain over HTTPS only", async () => {
    expect((await lb.worker.fetch(PATH, { host: "other.example.com" })).status).toBe(421);
    expect((await lb.worker.fetch(PATH, { scheme: "http" })).status).toBe(301);
  });

  it("tells every visitor what the checks of the first one found, even when that one has left", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const leaving = new AbortController();
    const first = lb.worker.fetch(PATH, { signal: leaving.signal });
    first.catch(() => {});
    await until("the checks are under way", () => lb.backends.every(({ checks }) => checks === 1));
    const second = read();
    leaving.abort();
    await expect(first).rejects.toThrow();
    expect((await second).backends.map(({ result }) => result?.kind)).toEqual(Array(3).fill("no answer"));
    expect(lb.backends.map(({ checks }) => checks)).toEqual([1, 1, 1]);
  });
});
