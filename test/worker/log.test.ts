import { describe, expect, it } from "vitest";
import { boundTo, loadBalancer, SECRET } from "../support/fixture.ts";
import { handshake, rawFetch } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import type { LogLine } from "../support/worker.ts";

const RAY = "8f3a5b2c1d4e6f70-PRG";

function logOf(lb: ReturnType<typeof loadBalancer>, event: string): LogLine[] {
  return lb.worker.log.filter((line) => line.event === event);
}

describe("the log", () => {
  const lb = loadBalancer({ BACKEND_DOWN_TIME: 200, PROBE_AFTER: 100, BACKEND_TIMEOUT: 1_000 });
  const client = boundTo("cf", { headers: { "CF-Ray": RAY } });

  it("is empty while nothing happens", async () => {
    for (let i = 0; i < 20; i++) await lb.servedBy({ ip: `192.0.2.${i}` });
    await lb.worker.fetch("/", { host: "elsewhere.example.net" });
    await lb.worker.fetch("/", { scheme: "http" });
    (await lb.worker.webSocket("/socket")).close();
    lb.cf.mode = { kind: "status", status: 404 };
    await lb.worker.fetch("/", boundTo("cf"));
    expect(lb.worker.output).toBe("");
  });

  it("says that a backend was left for another, and that it was ejected: a status", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.worker.fetch("/", client);
    await until("both are there", () => lb.worker.log.length >= 2);
    const because = { backend: "cf", reason: "unavailable", status: 503, attempt: 1, ray: RAY };
    expect(lb.worker.log).toEqual([
      { event: "failover", ...because },
      { event: "ejected", ...because },
    ]);
  });

  it.each([
    ["application error", { kind: "status", status: 500 }, { status: 500 }],
    ["unreachable", { kind: "status", status: 521 }, { status: 521 }],
    ["network error", { kind: "reset" }, {}],
    ["silent", { kind: "hang", healthStatus: 503 }, {}],
  ] as const)("says why a backend was ejected: %s", async (reason, mode, status) => {
    lb.cf.mode = mode;
    await lb.worker.fetch("/", client);
    await until("it is there", () => logOf(lb, "ejected").length > 0);
    expect(logOf(lb, "ejected")).toEqual([
      { event: "ejected", backend: "cf", reason, ...status, attempt: 1, ray: RAY },
    ]);
  });

  it("says that every attempt failed, and how the last one did", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "status", status: 500 };
    await lb.worker.fetch("/", client);
    await until("it is there", () => logOf(lb, "exhausted").length > 0);
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
    expect(logOf(lb, "failover").map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(logOf(lb, "ejected")).toEqual([]);
  });

  it("says that a backend is back, and whose request found out", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.worker.fetch("/", client);
    lb.cf.mode = { kind: "well" };
    await until("it is back", async () => {
      await lb.worker.fetch("/", client);
      return logOf(lb, "back").length > 0;
    });
    expect(logOf(lb, "back")).toEqual([{ event: "back", backend: "cf", reason: "probe answered", ray: RAY }]);
  });

  it("says that a backend was acquitted", async () => {
    lb.cf.mode = { kind: "status", status: 500, healthStatus: 200 };
    await lb.worker.fetch("/", client);
    await until("it is there", () => logOf(lb, "back").length > 0);
    expect(logOf(lb, "back")).toEqual([{ event: "back", backend: "cf", reason: "acquitted", ray: RAY }]);
  });

  it("says that all are tried again because none was up", async () => {
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    await lb.worker.fetch("/");
    await Promise.all(lb.backends.map((backend) => backend.start()));
    await lb.worker.fetch("/", client);
    await until("they are there", () => logOf(lb, "back").length === 3);
    for (const line of logOf(lb, "back")) expect(line).toMatchObject({ reason: "no backend was up", ray: RAY });
  });

  it("says each change once, however many requests it meets", async () => {
    await lb.cf.kill();
    const served = await Promise.all(Array.from({ length: 30 }, () => lb.servedBy(client)));
    expect(served).not.toContain("cf");
    await until("it is there", () => logOf(lb, "ejected").length > 0);
    expect(logOf(lb, "ejected")).toHaveLength(1);
  });

  it("has no ray where Cloudflare gave none", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.worker.fetch("/", boundTo("cf"));
    await until("it is there", () => logOf(lb, "ejected").length > 0);
    expect(logOf(lb, "ejected")[0]?.ray).toBeNull();
  });

  it("never holds a path, a query, a header or a body, nor a backend's host or answer", async () => {
    const path = `/stremio/${SECRET}/manifest.json?token=${SECRET}`;
    const headers = {
      Authorization: `Bearer ${SECRET}`,
      Cookie: `aiostreams_backend=cf; session=${SECRET}`,
      Range: `bytes=0-${SECRET}`,
      "User-Agent": SECRET,
    };
    const options = { headers, method: "POST", body: SECRET };
    for (const backend of lb.backends) {
      backend.handler = (_, response) => void response.writeHead(500, { "X-Kind": SECRET }).end(SECRET);
    }
    await lb.worker.fetch(path, options);
    await rawFetch(lb.worker, "GET", `/%${SECRET}%E0%A4%A`, headers);
    for (const mode of [{ kind: "reset" }, { kind: "hang", healthStatus: 503 }] as const) {
      for (const backend of lb.backends) backend.mode = mode;
      await lb.worker.fetch(path, options);
    }
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    await lb.worker.fetch(path, options);
    await handshake(lb.worker, path, { headers });
    const before = logOf(lb, "exhausted").length;
    await lb.worker.fetch("/last");
    await until("all of it is there", () => logOf(lb, "exhausted").length > before);
    expect(new Set(lb.worker.log.map(({ event }) => event))).toEqual(
      new Set(["failover", "ejected", "exhausted", "back"]),
    );
    expect(lb.worker.output).not.toContain(SECRET);
    expect(lb.worker.output).not.toContain("127.0.0.1");
  });
});
