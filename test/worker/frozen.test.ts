import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { BackendProcess } from "../support/backend-process.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, IDS } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { handshake } from "../support/raw-http.ts";
import { inTime } from "../support/waiting.ts";
import { backendVars, Worker } from "../support/worker.ts";

/** Far more than `PROBE_AFTER` and the 3 s of a check, far less than `BACKEND_TIMEOUT`, which ends the wait otherwise. */
const LEFT_WITHIN_MS = 10_000;

// A frozen process is no broken connection: the kernel goes on accepting, and takes what is sent until its buffers are full.
describe("a frozen process", () => {
  let backends: BackendProcess[];
  let worker: Worker;

  async function start(vars: Record<string, number>): Promise<void> {
    worker = await Worker.start(inject("script"), { ...backendVars(backends), ...vars });
  }

  beforeEach(async () => {
    backends = await Promise.all(IDS.map((id) => BackendProcess.start(id)));
  });

  afterEach(async () => {
    await worker.stop();
    await Promise.all(backends.map((backend) => backend.kill()));
  });

  it("is left for another by GET, POST and WebSocket handshakes alike, and then waited for by nobody", async () => {
    await start({ PROBE_AFTER: 100 });
    const [cf] = backends;
    const bodies = [noise(1), noise(1024 * 1024)];
    await worker.fetch("/", boundTo("cf")); // A connection that is open already freezes with the rest.
    cf?.freeze();
    const requests = [
      worker.fetch("/", boundTo("cf")),
      ...bodies.map((body) => worker.fetch("/", boundTo("cf", { method: "POST", body }))),
    ];
    const socket = handshake(worker, "/socket", boundTo("cf"));
    const answers = await inTime(LEFT_WITHIN_MS, "leaving it", Promise.all(requests));
    const echoes = answers.map((answer) => JSON.parse(answer.text) as Echo);
    for (const { id } of echoes) expect(["duck", "koyeb"]).toContain(id);
    expect(echoes.map((echo) => echo.sha256)).toEqual([Buffer.alloc(0), ...bodies].map((body) => sha256(body)));
    const { statusCode, headers } = await inTime(LEFT_WITHIN_MS, "leaving it", socket);
    expect(statusCode).toBe(101);
    expect(["duck", "koyeb"]).toContain(headers["x-served-by-backend"]);

    const again = Array.from({ length: 20 }, () => worker.fetch("/", boundTo("cf")));
    await inTime(1_000, "twenty more", Promise.all(again));
  });

  it("is told to the client that sends it a body too large to be sent again", async () => {
    await start({ PROBE_AFTER: 100 });
    backends[0]?.freeze();
    const upload = worker.fetch("/", boundTo("cf", { method: "POST", body: noise(3_000_000) }));
    expect((await inTime(LEFT_WITHIN_MS, "the answer", upload)).status).toBe(504);
  });

  it("is answered 504 in bounded time when every backend is one, for GET, POST and WebSocket handshakes alike", async () => {
    await start({ BACKEND_TIMEOUT: 300 });
    for (const backend of backends) backend.freeze();
    const answers = await inTime(
      LEFT_WITHIN_MS,
      "the answers",
      Promise.all([
        worker.fetch("/"),
        worker.fetch("/", { method: "POST", body: noise(100_000) }),
        handshake(worker, "/socket").then(({ statusCode }) => ({ status: statusCode })),
      ]),
    );
    expect(answers.map(({ status }) => status)).toEqual([504, 504, 504]);
  });

  it("serves again once it is thawed", async () => {
    await start({ BACKEND_TIMEOUT: 300, BACKEND_DOWN_TIME: 0 });
    for (const backend of backends) backend.freeze();
    expect((await worker.fetch("/")).status).toBe(504);
    for (const backend of backends) backend.thaw();
    expect((await worker.fetch("/")).status).toBe(200);
  });
});
