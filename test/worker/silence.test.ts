import { once } from "node:events";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, inject, it } from "vitest";
import { Backend, type Echo } from "../support/backend.ts";
import { BackendProcess } from "../support/backend-process.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, CHECKS_ON_REQUEST, LINGERING, LoadBalancer, startLoadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { PLATFORM } from "../support/platform.ts";
import { handshake, head, rawConnection } from "../support/raw-http.ts";
import type { Answer } from "../support/worker.ts";

const SOON = { ...CHECKS_ON_REQUEST, PROBE_AFTER: 200 };

describe.concurrent("a silent attempt", () => {
  it("is hedged, and wins if its backend answers first: the hedge frees its connection meanwhile", async ({
    expect,
  }) => {
    await using lb = await startLoadBalancer(SOON, LINGERING);
    lb.cf.mode = { kind: "frozen" };
    let finish = () => {};
    lb.cf.handler = (_, response) => {
      response.write("cf begins");
      finish = () => response.end(" and ends");
    };
    const hedges: Socket[] = [];
    for (const backend of [lb.duck, lb.koyeb]) backend.onRequest = ({ socket }) => void hedges.push(socket);
    const answer = lb.worker.open("/", boundTo("cf"));
    await expect.poll(() => hedges.length).toBeGreaterThan(0);
    await expect.poll(() => lb.worker.log[0]).toMatchObject({ event: "failover", backend: "cf", reason: "silent" });
    lb.cf.mode = { kind: "well" };
    const body = text(await answer);
    await expect.poll(() => hedges.every(({ destroyed }) => destroyed)).toBe(true);
    finish();
    expect(await body).toBe("cf begins and ends");
    expect(lb.cf.seen).toHaveLength(1);
  });
});

describe.concurrent("BACKEND_TIMEOUT", () => {
  it("cuts nothing once the headers have come, a retry's body and an idle WebSocket included", async ({ expect }) => {
    const timeoutMs = 3_000;
    await using lb = await startLoadBalancer({ ...SOON, BACKEND_TIMEOUT: timeoutMs }, LINGERING);
    lb.cf.onRequest = (_, response) => void response.writeHead(503).end();
    for (const backend of [lb.duck, lb.koyeb]) backend.onRequest = (_, response) => void response.write("it begins");
    const webSocket = await lb.worker.webSocket("/socket", boundTo("duck"));
    const answers = await Promise.all(["cf", "duck"].map((id) => lb.worker.open("/", boundTo(id))));
    const ends: unknown[] = [webSocket, ...answers].map((stream) => once(stream, "close").then(() => "cut"));
    expect(await Promise.race([...ends, sleep(2 * timeoutMs)])).toBeUndefined();
    webSocket.send("still there");
    expect(String((await once(webSocket, "message"))[0])).toBe("still there");
    webSocket.close();
    for (const answer of answers) answer.destroy();
  });
});

/** `cf` is a process of its own: when it is frozen, the kernel goes on accepting, and takes what is sent. */
async function startWithProcess(): Promise<LoadBalancer<Backend | BackendProcess> & { cf: BackendProcess }> {
  const startBackend = (id: string) => (id === "cf" ? BackendProcess.start(id) : new Backend(id).start());
  const vars = { HEALTH_CHECK_INTERVAL: 0, PROBE_AFTER: 100, BACKEND_DOWN_TIME: 0 };
  const lb = new LoadBalancer<Backend | BackendProcess>(inject("script"), vars, { startBackend });
  return (await lb.start()) as LoadBalancer<Backend | BackendProcess> & { cf: BackendProcess };
}

const echoOf = ({ text }: Answer) => JSON.parse(text) as Echo;

describe.concurrent("a frozen process", () => {
  it("has viewers, and once it is down uploads and WebSockets, served elsewhere, whole; and recovers", async ({
    expect,
  }) => {
    await using lb = await startWithProcess();
    await expect.poll(() => lb.isUp("cf")).toBe(true); // Its connection freezes as well.
    lb.cf.freeze();
    const body = noise(1024 * 1024);
    const upload = lb.worker.fetch("/", boundTo("cf", { method: "POST", body }));
    const socket = handshake(lb.worker, "/socket", boundTo("cf"));
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    expect(echoOf(await upload)).toMatchObject({ id: expect.stringMatching(/duck|koyeb/), sha256: sha256(body) });
    expect((await socket).headers["x-served-by-backend"]).toMatch(/duck|koyeb/);
    await expect.poll(() => lb.changes("cf")).toEqual(["ejected"]);
    lb.cf.thaw();
    await expect.poll(() => lb.isUp("cf")).toBe(true);
  });
});

describe.concurrent("a client that leaves", () => {
  it("has a silent backend checked all the same, by the next request that passes, of whichever backend", async ({
    expect,
  }) => {
    await using lb = await startLoadBalancer({ ...CHECKS_ON_REQUEST, PROBE_AFTER: 3_000 }, PLATFORM);
    lb.cf.mode = { kind: "frozen" };
    const socket = await rawConnection(lb.worker, head("GET", "/", { Cookie: "aiostreams_backend=cf" }));
    await expect.poll(() => lb.cf.seen.length).toBe(1);
    socket.resetAndDestroy();
    expect(lb.cf.checks).toBe(0);
    await expect.poll(async () => [await lb.servedBy(boundTo("duck")), lb.cf.checks]).toEqual(["duck", 1]);
    await expect.poll(() => lb.changes("cf")).toEqual(["ejected"]);
  });
});
