import { beforeEach, describe, expect, it } from "vitest";
import { boundTo, IDS, PATIENT, SECRET, sharedLoadBalancer } from "../support/fixture.ts";
import { handshake, rawFetch } from "../support/raw-http.ts";
import type { LogLine, Worker } from "../support/worker.ts";

const RAY = "8f3a5b2c1d4e6f70-PRG";
const client = boundTo("cf", { headers: { "CF-Ray": RAY } });

const lb = sharedLoadBalancer(PATIENT);
let worker: Worker;
let start = 0;
beforeEach(async () => {
  worker = lb.worker;
  for (const id of IDS) await expect.poll(() => lb.isUp(id)).toBe(true);
  start = worker.output.length;
});

/** What this test has had logged, `recovered` by another request's check included. */
const output = () => worker.output.slice(start);
const lines = (...events: string[]) =>
  output()
    .split("\n")
    .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as LogLine] : []))
    .filter(({ event }) => events.includes(event));

/** The events that are logged from now on to the error stream, and to the other one. */
function streams(): { errors: Set<string>; rest: Set<string> } {
  const { stdout, stderr } = worker.process;
  const eventsOf = (stream: typeof stdout) => {
    const events = new Set<string>();
    let text = "";
    const onData = (chunk: Buffer) => {
      text += chunk;
      for (const [, event = ""] of text.matchAll(/"event":"(\w+)"/g)) events.add(event);
    };
    stream?.on("data", onData);
    return events;
  };
  return { errors: eventsOf(stderr), rest: eventsOf(stdout) };
}

describe("the log", () => {
  it("is empty while nothing happens", async () => {
    for (let i = 0; i < 10; i++) await lb.servedBy({ ip: `192.0.2.${i}` });
    await lb.worker.fetch("/", { host: "elsewhere.example.net" });
    await lb.worker.fetch("/", { scheme: "http" });
    (await lb.worker.webSocket("/socket")).close();
    lb.cf.mode = { kind: "status", status: 404, health: { kind: "well" } };
    await lb.worker.fetch("/", client);
    expect(output()).toBe("");
  });

  it("has a line for a failover: the backend, the reason, the status, the attempt, and the ray", async () => {
    lb.cf.mode = { kind: "status", status: 503, health: { kind: "well" } };
    await lb.worker.fetch("/", client);
    lb.cf.mode = { kind: "reset-after-body", health: { kind: "well" } };
    await lb.worker.fetch("/", boundTo("cf", { method: "POST", body: "a=1" }));
    await expect.poll(() => lines("failover")).toHaveLength(2);
    expect(lines("failover")).toEqual([
      { event: "failover", backend: "cf", reason: "unavailable", status: 503, attempt: 1, ray: RAY },
      { event: "failover", backend: "cf", reason: "network error", attempt: 1, ray: null },
    ]);
  });

  it("has a line when a backend is ejected, as an error, and one when it has recovered, however many meet it", async () => {
    // An isolate of its own, since a check that an earlier request wants may still be to come.
    worker = await lb.isolate();
    start = 0;
    const { errors, rest } = streams();
    await lb.cf.kill();
    await Promise.all(Array.from({ length: 20 }, () => worker.fetch("/", client)));
    await expect.poll(() => [...errors]).toEqual(["ejected"]);
    await lb.cf.start();
    await expect.poll(async () => (await worker.fetch("/", client)) && rest.has("recovered")).toBe(true);
    expect(lines("ejected", "recovered")).toEqual([
      { event: "ejected", backend: "cf", reason: "check: network error", ray: RAY },
      { event: "recovered", backend: "cf", reason: "check: good", status: 200, ray: RAY },
    ]);
    expect([[...errors], [...rest].sort()]).toEqual([["ejected"], ["failover", "recovered"]]);
  });

  it("has a line when a request is exhausted, as an error: how its last attempt failed", async () => {
    const { errors } = streams();
    const asked: string[] = [];
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) => {
        asked.push(backend.id);
        response.writeHead(500).end();
      };
    }
    await lb.worker.fetch("/", client);
    await expect.poll(() => [...errors]).toEqual(["exhausted"]);
    const failure = { reason: "application error", status: 500, ray: RAY };
    await expect.poll(() => lines("failover", "exhausted")).toHaveLength(3);
    const byAttempt = lines("failover", "exhausted").toSorted((a, b) => Number(a.attempt) - Number(b.attempt));
    expect(byAttempt).toEqual([
      { event: "failover", backend: asked[0], attempt: 1, ...failure },
      { event: "failover", backend: asked[1], attempt: 2, ...failure },
      { event: "exhausted", backend: asked[2], attempt: 3, ...failure },
    ]);
  });

  it("holds no path, query, header, cookie or body, nor a backend's host or answer", async () => {
    const path = `/stremio/${SECRET}/manifest.json?token=${SECRET}`;
    const cookie = `aiostreams_backend=cf; session=${SECRET}`;
    const headers = { Authorization: SECRET, Cookie: cookie, Range: `bytes=0-${SECRET}`, "User-Agent": SECRET };
    const ask = () => lb.worker.fetch(path, { headers, method: "POST", body: SECRET });
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) => void response.writeHead(500, { "X-Kind": SECRET }).end(SECRET);
    }
    await ask();
    await rawFetch(lb.worker, "GET", `/%${SECRET}%E0%A4%A`, headers);
    await handshake(lb.worker, path, { headers });
    for (const backend of lb.backends) backend.onRequest = undefined;
    for (const backend of lb.backends) backend.mode = { kind: "reset" };
    await ask();
    await expect.poll(() => new Set(lines("ejected").map(({ backend }) => backend)).size).toBe(IDS.length);
    for (const backend of lb.backends) backend.mode = { kind: "well" };
    await expect.poll(async () => (await ask()) && lines("recovered").length).toBe(IDS.length);
    expect(new Set(lines("failover", "exhausted").map(({ event }) => event)).size).toBe(2);
    expect(output()).not.toMatch(new RegExp(`${SECRET}|127\\.0\\.0\\.1|stremio`));
  });
});
