import { beforeEach, describe, expect, it } from "vitest";
import { boundTo, IDS, PATIENT, SECRET, sharedLoadBalancer } from "../support/fixture.ts";
import { handshake, rawFetch } from "../support/raw-http.ts";

const lb = sharedLoadBalancer(PATIENT);
beforeEach(async () => {
  for (const id of IDS) await expect.poll(() => lb.isUp(id)).toBe(true);
});

const lines = (...events: string[]) => lb.worker.log.filter(({ event }) => events.includes(event));

describe("the log", () => {
  it("is empty while nothing happens", async () => {
    for (let i = 0; i < 10; i++) await lb.servedBy({ ip: `192.0.2.${i}` });
    await lb.worker.fetch("/", { host: "elsewhere.example.net" });
    await lb.worker.fetch("/", { scheme: "http" });
    (await lb.worker.webSocket("/socket")).close();
    lb.cf.mode = { kind: "status", status: 404, health: { kind: "well" } };
    await lb.worker.fetch("/", boundTo("cf"));
    expect(lb.worker.output).toBe("");
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
    expect(lb.worker.output).not.toMatch(new RegExp(`${SECRET}|127\\.0\\.0\\.1|stremio`));
  });
});
