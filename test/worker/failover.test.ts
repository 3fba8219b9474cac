import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { type Echo, type Origin, startOrigins } from "../support/origin.ts";
import { Worker } from "../support/worker.ts";

let origins: Origin[];
let worker: Worker;

const vars = () => Object.fromEntries(origins.map(({ id, url }) => [`BACKEND_${id.toUpperCase()}`, url]));

beforeAll(async () => {
  origins = await startOrigins("cf", "koyeb", "duck");
});

beforeEach(async () => {
  for (const origin of origins) origin.reset();
  await worker?.stop();
  worker = await Worker.start(inject("script"), vars());
});

afterAll(async () => {
  await worker?.stop();
  await Promise.all(origins.map((origin) => origin.kill()));
});

describe("failover", () => {
  it("answers from another backend when the first is killed", async () => {
    const first = await worker.fetch("/a%2Fb//c?x=1&x=2", { ip: "192.0.2.1" });
    expect(first.status).toBe(200);
    const echo = JSON.parse(first.text) as Echo;
    expect(echo.url).toBe("/a%2Fb//c?x=1&x=2");
    const origin = origins.find(({ id }) => id === echo.id);
    await origin?.kill();
    const second = await worker.fetch("/x", { ip: "192.0.2.1", headers: { Cookie: `aiostreams_backend=${echo.id}` } });
    expect(second.status).toBe(200);
    expect(second.session).not.toBe(echo.id);
    await origin?.start();
  });
});
