import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { Backend } from "../support/backend.ts";
import { figuresOf, PLATFORM } from "../support/platform.ts";
import { head, rawConnection } from "../support/raw-http.ts";
import { type StartOptions, Worker } from "../support/worker.ts";

const STUB = join(import.meta.dirname, "platform-stub.js");
const TOO_MANY = "Error: Too many subrequests.";

const backend = new Backend("backend");
let worker: Worker;

const start = (options: StartOptions) =>
  Worker.start({ ...inject("script"), path: STUB }, { BACKEND: backend.url }, options);
const ask = async (path: string) => JSON.parse((await worker.fetch(path)).text);
const seen = () => backend.seen.map(({ url }) => url);
const last = async () => (await figuresOf(worker)).at(-1);

/** Sends a request and goes away once the backend has seen these paths. */
async function leave(path: string, ...paths: string[]): Promise<void> {
  const socket = await rawConnection(worker, head("GET", path));
  await expect.poll(seen).toEqual(expect.arrayContaining(paths));
  socket.resetAndDestroy();
}

beforeAll(async () => {
  await backend.start();
  worker = await start(PLATFORM);
});
beforeEach(() => backend.reset());
afterAll(async () => {
  await worker.stop();
  await backend.kill();
});

describe("the emulated platform", () => {
  it("refuses the 51st subrequest of an invocation, counting each invocation for itself", async () => {
    expect(await ask("/in-turn?count=50")).toEqual(Array(50).fill("answered"));
    expect(await ask("/in-turn?count=52")).toEqual([...Array(50).fill("answered"), TOO_MANY, TOO_MANY]);
    expect(await last()).toMatchObject({ path: "/in-turn?count=52", subrequests: 52, refused: 2 });
  });

  it("counts an operation of the cache as a subrequest", async () => {
    expect(await ask("/in-turn?count=50&cache")).toEqual([...Array(50).fill("answered"), TOO_MANY]);
  });

  it("lets a seventh fetch wait until one of six has its headers", async () => {
    const waiting: ServerResponse[] = [];
    backend.onRequest = (_, response) => void waiting.push(response);
    const answer = ask("/at-once");
    await expect.poll(() => waiting.length).toBe(6);
    waiting[0]?.writeHead(200).flushHeaders();
    await expect.poll(() => waiting.length).toBe(7);
    for (const response of waiting) response.end();
    expect(await answer).toEqual(Array(7).fill("answered"));
    expect(await last()).toMatchObject({ connectionsMax: 6, queuedMax: 1, subrequests: 7 });
  });

  it("lets a fetch that waits for a connection be aborted", async () => {
    backend.mode = { kind: "hang" };
    expect(await ask("/impatient")).toMatch(/^TimeoutError/);
    expect(seen()).not.toContain("/7");
  });

  it("lets all work go on while the client stays", async () => {
    expect((await worker.fetch("/work?own=10&kept=10")).text).toBe("done");
    await expect.poll(seen).toContain("/kept/3");
    expect(seen()).toContain("/own/3");
    expect(await last()).toMatchObject({ hasLeft: false, cancelledTimers: 0, cancelledSubrequests: 0 });
  });

  it("lets a timer never fire once the client has left, except for what was given to waitUntil", async () => {
    await leave("/work?own=20000&kept=200", "/own/1", "/kept/1");
    await expect.poll(seen).toContain("/kept/3");
    await expect.poll(last).toMatchObject({ hasLeft: true, cancelledTimers: 1 });
    expect(seen()).not.toContain("/own/2");
  });

  it("lets work go on that was begun before it was given to waitUntil", async () => {
    await leave("/work-given-later", "/kept/1");
    await expect.poll(seen).toContain("/kept/3");
  });

  it("begins nothing any more once the client has left, whatever was waited for", async () => {
    let body: ServerResponse | undefined;
    backend.handler = (_, response) => {
      body = response;
      response.writeHead(200).write("the beginning");
    };
    await leave("/read", "/body");
    await expect.poll(last).toMatchObject({ hasLeft: true });
    body?.end();
    await expect.poll(last).toMatchObject({ cancelledSubrequests: 1 });
    expect(seen()).toEqual(["/body"]);
  });

  it("aborts a fetch once the client has left", async () => {
    backend.mode = { kind: "hang" };
    await leave("/hang", "/hang");
    await expect.poll(last).toMatchObject({ hasLeft: true, cancelledSubrequests: 1 });
  });

  describe("has a cache that", () => {
    const RANGE = { headers: { Range: "bytes=0-1" } };
    const relay = (path: string, init: object = {}) =>
      ask(`/relay?path=${encodeURIComponent(path)}&init=${encodeURIComponent(JSON.stringify(init))}`);

    it.each([
      ["200", 200, {}],
      ["302", 302, { Location: "/elsewhere" }],
      ["404", 404, {}],
    ])("keeps a %s by the extension of the path alone", async (_, status, headers) => {
      backend.handler = (_request, response) => void response.writeHead(status, headers).end("once");
      expect(await relay(`/${status}.mkv`)).toEqual({ status, cache: "MISS", text: "once" });
      expect(await relay(`/${status}.mkv`)).toEqual({ status, cache: "HIT", text: "once" });
      for (const path of [`/${status}.json`, `/${status}.m3u8`, `/${status}`]) {
        expect((await relay(path)).cache).toBeNull();
      }
      expect(seen()).toHaveLength(4);
    });

    it("makes a GET of a HEAD, and drops a Range", async () => {
      await relay("/head.mkv", { method: "HEAD" });
      await relay("/range.mkv", RANGE);
      expect(backend.seen.map(({ method, headers }) => [method, headers.range])).toEqual([
        ["GET", undefined],
        ["GET", undefined],
      ]);
    });

    it("is passed by with no-store", async () => {
      for (let i = 0; i < 2; i++) await relay("/past.mkv", { ...RANGE, method: "HEAD", cache: "no-store" });
      expect(backend.seen.map(({ method, headers }) => [method, headers.range])).toEqual([
        ["HEAD", "bytes=0-1"],
        ["HEAD", "bytes=0-1"],
      ]);
    });
  });
});

it("plain workerd does none of this, so that it has to be emulated", async () => {
  const plain = await start({});
  expect(JSON.parse((await plain.fetch("/in-turn?count=52")).text)).toEqual(Array(52).fill("answered"));
  const socket = await rawConnection(plain, head("GET", "/work?own=300&kept=1000"));
  await expect.poll(seen).toContain("/own/1");
  socket.resetAndDestroy();
  await expect.poll(seen).toContain("/own/2");
  await plain.stop();
});
