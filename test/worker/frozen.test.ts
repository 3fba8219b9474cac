import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { backendVars, boundTo, handshake, IDS, inTime, noise, sha256 } from "../support/fixture.ts";
import type { Echo } from "../support/origin.ts";
import { OriginProcess } from "../support/origin-process.ts";
import { Worker } from "../support/worker.ts";

/** Far more than `PROBE_AFTER` and the probe's 3 s, far less than `BACKEND_TIMEOUT`, which ends the wait otherwise. */
const LEFT_WITHIN_MS = 10_000;

// A frozen process is no broken connection: the kernel goes on accepting, and takes what is sent until its buffers are full.
describe("a frozen process", () => {
  let origins: OriginProcess[];
  let worker: Worker;

  async function start(vars: Record<string, number>): Promise<void> {
    worker = await Worker.start(inject("script"), { ...backendVars(origins), ...vars });
  }

  beforeEach(async () => {
    origins = await Promise.all(IDS.map((id) => OriginProcess.start(id)));
  });

  afterEach(async () => {
    await worker.stop();
    await Promise.all(origins.map((origin) => origin.kill()));
  });

  it("is left for another by GET, POST and WebSocket handshakes alike, and then waited for by nobody", async () => {
    await start({ PROBE_AFTER: 100 });
    const [cf] = origins;
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
    expect(["duck", "koyeb"]).toContain(headers["x-served-by-origin"]);

    const again = Array.from({ length: 20 }, () => worker.fetch("/", boundTo("cf")));
    await inTime(1_000, "twenty more", Promise.all(again));
  });

  it("is told to the client that sends it a body too large to be sent again", async () => {
    await start({ PROBE_AFTER: 100 });
    origins[0]?.freeze();
    const upload = worker.fetch("/", boundTo("cf", { method: "POST", body: noise(3_000_000) }));
    expect((await inTime(LEFT_WITHIN_MS, "the answer", upload)).status).toBe(504);
  });

  it("is answered 504 in bounded time when every backend is one, for GET, POST and WebSocket handshakes alike", async () => {
    await start({ BACKEND_TIMEOUT: 300 });
    for (const origin of origins) origin.freeze();
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
    for (const origin of origins) origin.freeze();
    expect((await worker.fetch("/")).status).toBe(504);
    for (const origin of origins) origin.thaw();
    expect((await worker.fetch("/")).status).toBe(200);
  });
});
