import { describe, expect, inject, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { BackendProcess } from "../support/backend-process.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, changesOf, IDS } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { handshake } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import { backendVars, Worker } from "../support/worker.ts";

async function start(vars: Record<string, number> = {}) {
  const backends = await Promise.all(IDS.map((id) => BackendProcess.start(id)));
  const [cf] = backends as [BackendProcess];
  const worker = await Worker.start(inject("script"), { ...backendVars(backends), ...vars });
  return {
    worker,
    backends,
    cf,
    async [Symbol.asyncDispose]() {
      await worker.stop();
      await Promise.all(backends.map((backend) => backend.kill()));
    },
  };
}

const echoOf = ({ text }: { text: string }) => JSON.parse(text) as Echo;

// A frozen process is no broken connection: the kernel goes on accepting, and takes what is sent until its buffers are full.
describe.concurrent("a frozen process", () => {
  it("costs a viewer about two seconds with every setting as it is delivered, and the next ones nothing", async () => {
    await using lb = await start();
    const { worker, cf } = lb;
    await Promise.all(Array.from({ length: 10 }, () => worker.fetch("/", boundTo("cf")))); // Its connections freeze as well.
    cf.freeze();
    const first = await Promise.all(Array.from({ length: 10 }, () => worker.fetch("/", boundTo("cf"))));
    expect(first.map(({ status }) => status)).toEqual(Array(10).fill(200));
    const next = await Promise.all(Array.from({ length: 20 }, () => worker.fetch("/", boundTo("cf"))));
    expect(changesOf(lb, "cf"), "nobody has waited for the check to end").toEqual([]);
    for (const answer of [...first, ...next]) expect(echoOf(answer).id).not.toBe("cf");
  });

  it("has its uploads and WebSockets carried out elsewhere, whole, once it is found down", async () => {
    await using lb = await start({ PROBE_AFTER: 100 });
    const { worker, cf } = lb;
    await worker.fetch("/", boundTo("cf"));
    cf.freeze();
    const bodies = [noise(1), noise(1024 * 1024)];
    const [socket, ...answers] = await Promise.all([
      handshake(worker, "/socket", boundTo("cf")),
      ...bodies.map((body) => worker.fetch("/", boundTo("cf", { method: "POST", body }))),
    ]);
    expect(socket.statusCode).toBe(101);
    expect(socket.headers["x-served-by-backend"]).toMatch(/duck|koyeb/);
    expect(answers.map((answer) => echoOf(answer).sha256)).toEqual(bodies.map((body) => sha256(body)));
    for (const answer of answers) expect(echoOf(answer).id).not.toBe("cf");
    expect(changesOf(lb, "cf")).toEqual(["ejected"]);
  });

  it("keeps its uploads and WebSockets when it is thawed before it is found down", async () => {
    await using lb = await start({ PROBE_AFTER: 100 });
    const { worker, cf } = lb;
    cf.freeze();
    const body = noise(1000);
    const upload = worker.fetch("/", boundTo("cf", { method: "POST", body }));
    const socket = handshake(worker, "/socket", boundTo("cf"));
    expect(echoOf(await worker.fetch("/", boundTo("cf"))).id).not.toBe("cf"); // The check has been silent for a second now.
    cf.thaw();
    expect(echoOf(await upload)).toMatchObject({ id: "cf", sha256: sha256(body) });
    expect((await socket).headers["x-served-by-backend"]).toBe("cf");
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("is told to the client that sends it a body too large to be sent again", async () => {
    await using lb = await start({ PROBE_AFTER: 100, BACKEND_TIMEOUT: 1_000 });
    lb.cf.freeze();
    const upload = await lb.worker.fetch("/", boundTo("cf", { method: "POST", body: noise(3_000_000) }));
    expect(upload.status).toBe(504);
  });

  it("is answered 504 in bounded time when every backend is one, for GET, POST and WebSocket handshakes alike", async () => {
    await using lb = await start({ PROBE_AFTER: 100, BACKEND_TIMEOUT: 500 });
    for (const backend of lb.backends) backend.freeze();
    const [get, post, socket] = await Promise.all([
      lb.worker.fetch("/"),
      lb.worker.fetch("/", { method: "POST", body: noise(100_000) }),
      handshake(lb.worker, "/socket"),
    ]);
    expect([get.status, post.status, socket.statusCode]).toEqual([504, 504, 504]);
    expect(get.headers["retry-after"]).toBeDefined();
  });

  it("serves again once it is thawed", async () => {
    await using lb = await start({ PROBE_AFTER: 100, BACKEND_DOWN_TIME: 100 });
    const { worker, cf } = lb;
    cf.freeze();
    await worker.fetch("/", boundTo("cf"));
    await until("it is found down", () => changesOf(lb, "cf").includes("ejected"));
    cf.thaw();
    await until("it serves", async () => echoOf(await worker.fetch("/", boundTo("cf"))).id === "cf");
    expect(changesOf(lb, "cf")).toEqual(["ejected", "back"]);
  });
});
