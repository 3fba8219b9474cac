import { describe, expect, it } from "vitest";
import type { Mode } from "../support/backend.ts";
import {
  boundTo,
  changesOf,
  HINTS_ONLY,
  IDS,
  type LoadBalancer,
  SECRET,
  startLoadBalancer,
} from "../support/fixture.ts";
import { handshake, rawFetch } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import type { LogLine } from "../support/worker.ts";

const RAY = "8f3a5b2c1d4e6f70-PRG";
const VARS = { ...HINTS_ONLY, PROBE_AFTER: 100 };
const client = boundTo("cf", { headers: { "CF-Ray": RAY } });

function logOf(lb: LoadBalancer, event: string): LogLine[] {
  return lb.worker.log.filter((line) => line.event === event);
}

/** What it logs to the error stream, and to the other one. */
function streamsOf({ worker }: LoadBalancer): { errors: () => string[]; rest: () => string[] } {
  const { stdout, stderr } = worker.process;
  const eventsOf = (stream: typeof stdout) => {
    let text = "";
    stream?.on("data", (chunk) => {
      text += chunk;
    });
    return () => Array.from(text.matchAll(/"event":"(\w+)"/g), ([, event]) => event ?? "");
  };
  return { errors: eventsOf(stderr), rest: eventsOf(stdout) };
}

describe.concurrent("the log", () => {
  it("is empty while nothing happens", async () => {
    await using lb = await startLoadBalancer();
    for (let i = 0; i < 20; i++) await lb.servedBy({ ip: `192.0.2.${i}` });
    await lb.worker.fetch("/", { host: "elsewhere.example.net" });
    await lb.worker.fetch("/", { scheme: "http" });
    (await lb.worker.webSocket("/socket")).close();
    lb.cf.onRequest = (_, response) => void response.writeHead(404).end();
    await lb.worker.fetch("/", boundTo("cf"));
    await until("every backend has been checked", () => lb.backends.every(({ checks }) => checks === 1));
    expect(lb.worker.output).toBe("");
  });

  it.each<[string, Mode, { status?: number }]>([
    ["application error", { kind: "status", status: 500, healthStatus: 200 }, { status: 500 }],
    ["unavailable", { kind: "status", status: 503, healthStatus: 200 }, { status: 503 }],
    ["unreachable", { kind: "status", status: 521, healthStatus: 200 }, { status: 521 }],
    ["network error", { kind: "reset" }, {}],
    ["silent", { kind: "hang" }, {}],
  ])("says that a request went on to another backend, and why: %s", async (reason, mode, status) => {
    await using lb = await startLoadBalancer(VARS);
    const streams = streamsOf(lb);
    lb.cf.mode = mode;
    await lb.worker.fetch("/", client);
    await until("it is there", () => streams.rest().length > 0);
    expect(logOf(lb, "failover")).toEqual([
      { event: "failover", backend: "cf", reason, ...status, attempt: 1, ray: RAY },
    ]);
    expect(streams.rest()).toEqual(["failover"]);
  });

  it.each<[string, Mode, { status?: number }]>([
    ["check: bad status", { kind: "status", status: 404, healthStatus: 404 }, { status: 404 }],
    ["check: network error", { kind: "reset" }, {}],
    ["check: no answer", { kind: "hang" }, {}],
  ])("says that a backend was ejected, and that it is back: %s", async (reason, mode, status) => {
    await using lb = await startLoadBalancer({ ...VARS, BACKEND_DOWN_TIME: 0 });
    const streams = streamsOf(lb);
    lb.cf.mode = mode;
    // A hint of its own, since a 404 is none.
    lb.cf.onRequest = mode.kind === "status" ? (_, response) => void response.writeHead(500).end() : undefined;
    await lb.worker.fetch("/", client);
    await until("it is ejected", () => streams.errors().length > 0);
    lb.cf.onRequest = undefined;
    lb.cf.mode = { kind: "well" };
    await until("it is back", async () => {
      await lb.worker.fetch("/", client);
      return changesOf(lb, "cf").length > 1;
    });
    expect(logOf(lb, "ejected")).toEqual([{ event: "ejected", backend: "cf", reason, ...status, ray: RAY }]);
    expect(logOf(lb, "back")).toEqual([{ event: "back", backend: "cf", reason: "check: good", status: 200, ray: RAY }]);
    expect(streams.errors()).toEqual(["ejected"]);
    expect(streams.rest()).toContain("back");
  });

  it("says that a backend was ejected for failing everybody, and the check's status is not the reason", async () => {
    await using lb = await startLoadBalancer(VARS);
    const streams = streamsOf(lb);
    lb.cf.mode = { kind: "status", status: 500, healthStatus: 200 };
    for (let i = 0; i < 5; i++) await lb.worker.fetch("/", { ...client, ip: `192.0.2.${i}` });
    await until("it is there", () => streams.errors().length > 0);
    expect(logOf(lb, "ejected")).toEqual([{ event: "ejected", backend: "cf", reason: "failures in a row", ray: RAY }]);
    expect(streams.errors()).toEqual(["ejected"]);
  });

  it("says that every attempt failed, and how the last one did", async () => {
    await using lb = await startLoadBalancer(VARS);
    const streams = streamsOf(lb);
    for (const backend of lb.backends) backend.mode = { kind: "status", status: 500, healthStatus: 200 };
    await lb.worker.fetch("/", client);
    await until("it is there", () => streams.errors().length > 0);
    expect(logOf(lb, "exhausted")).toEqual([
      {
        event: "exhausted",
        backend: expect.stringMatching(/^(duck|koyeb)$/),
        reason: "application error",
        status: 500,
        attempt: 3,
        ray: RAY,
      },
    ]);
    await until("the rest is there", () => streams.rest().length > 1);
    expect(logOf(lb, "failover").map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(streams.errors()).toEqual(["exhausted"]);
    expect(streams.rest()).toEqual(["failover", "failover"]);
  });

  it("says each change once, however many requests meet it", async () => {
    await using lb = await startLoadBalancer(VARS);
    await lb.cf.kill();
    const served = await Promise.all(Array.from({ length: 30 }, () => lb.servedBy(client)));
    expect(served).not.toContain("cf");
    await until("it is there", () => changesOf(lb, "cf").length > 0);
    for (let i = 0; i < 20; i++) await lb.servedBy(client);
    expect(logOf(lb, "ejected")).toHaveLength(1);
  });

  it("has no ray where Cloudflare gave none", async () => {
    await using lb = await startLoadBalancer(VARS);
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.worker.fetch("/", boundTo("cf"));
    await until("both are there", () => lb.worker.log.length === 2);
    expect(lb.worker.log.map(({ ray }) => ray)).toEqual([null, null]);
  });

  it("names the faults of a configuration that cannot work, as an error", async () => {
    await using lb = await startLoadBalancer({ MAX_RETRIES: "-1" });
    const streams = streamsOf(lb);
    for (let i = 0; i < 3; i++) expect((await lb.worker.fetch("/")).status).toBe(500);
    await until("it is there", () => streams.errors().length > 0);
    expect(lb.worker.log).toEqual([
      {
        event: "bad_configuration",
        issues: [{ variable: "MAX_RETRIES", allowed: "must be a whole number from 0 to 10", found: "-1" }],
      },
    ]);
    expect(streams.errors()).toEqual(["bad_configuration"]);
  });

  it("holds no path, no query, no header and no body, nor a backend's host or answer", async () => {
    await using lb = await startLoadBalancer({ ...VARS, BACKEND_TIMEOUT: 300, BACKEND_DOWN_TIME: 0 });
    const path = `/stremio/${SECRET}/manifest.json?token=${SECRET}`;
    const headers = {
      Authorization: `Bearer ${SECRET}`,
      Cookie: `aiostreams_backend=cf; session=${SECRET}`,
      Range: `bytes=0-${SECRET}`,
      "User-Agent": SECRET,
    };
    const options = { headers, method: "POST", body: SECRET };
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) => void response.writeHead(500, { "X-Kind": SECRET }).end(SECRET);
    }
    await lb.worker.fetch(path, options);
    await rawFetch(lb.worker, "GET", `/%${SECRET}%E0%A4%A`, headers);
    for (const backend of lb.backends) backend.onRequest = undefined;
    for (const mode of [{ kind: "reset" }, { kind: "hang" }] as const) {
      for (const backend of lb.backends) backend.mode = mode;
      await lb.worker.fetch(path, options);
    }
    await handshake(lb.worker, path, { headers });
    for (const backend of lb.backends) backend.mode = { kind: "well" };
    await until("all are back", async () => {
      await lb.worker.fetch(path, options);
      return IDS.every((id) => changesOf(lb, id).at(-1) === "back");
    });
    const events = new Set(lb.worker.log.map(({ event }) => event));
    expect(events).toEqual(new Set(["failover", "ejected", "exhausted", "back"]));
    expect(lb.worker.output).not.toContain(SECRET);
    expect(lb.worker.output).not.toContain("127.0.0.1");
  });
});
