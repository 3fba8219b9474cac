import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { Backend } from "../support/backend.ts";
import { type Figures, figuresOf, PLATFORM } from "../support/platform.ts";
import { head, rawConnection } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import { type StartOptions, Worker } from "../support/worker.ts";

const STUB = join(import.meta.dirname, "platform-stub.js");
const TOO_MANY = "Error: Too many subrequests.";

let backend: Backend;
let worker: Worker;

const start = (options: StartOptions) =>
  Worker.start({ ...inject("script"), path: STUB }, { BACKEND: backend.url }, options);
const ask = async (path: string) => JSON.parse((await worker.fetch(path)).text);
const seen = () => backend.seen.map(({ url }) => url);
const figures = async () => (await figuresOf(worker)).at(-1) as Figures;

/** Sends a request and goes away once `when` holds. */
async function leave(path: string, when: () => boolean): Promise<void> {
  const socket = await rawConnection(worker, head("GET", path));
  await until("it is time to leave", when);
  socket.resetAndDestroy();
}

beforeEach(async () => {
  backend = await new Backend("backend").start();
});

afterEach(async () => {
  await worker.stop();
  await backend.kill();
});

describe("the emulated platform", () => {
  beforeEach(async () => {
    worker = await start(PLATFORM);
  });

  it("refuses the 51st fetch of an invocation", async () => {
    expect(await ask("/in-turn?count=52")).toEqual([...Array(50).fill("answered"), TOO_MANY, TOO_MANY]);
    expect(backend.seen).toHaveLength(50);
    expect(await figures()).toMatchObject({ path: "/in-turn?count=52", subrequests: 52, refused: 2 });
  });

  it("counts an operation of the cache as a subrequest", async () => {
    expect(await ask("/in-turn?count=50&cache")).toEqual([...Array(50).fill("answered"), TOO_MANY]);
  });

  it("counts every invocation for itself", async () => {
    for (let i = 0; i < 2; i++) expect(await ask("/in-turn?count=50")).toEqual(Array(50).fill("answered"));
    expect((await figuresOf(worker)).map(({ subrequests }) => subrequests)).toEqual([50, 50]);
  });

  it("keeps the figures of the last thousand invocations, so that they do not fill the isolate", async () => {
    for (let i = 0; i < 1_100; i += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, j) => ask(`/in-turn?count=0&i=${i + j}`)));
    }
    const paths = (await figuresOf(worker)).map(({ path }) => path);
    expect(paths).toHaveLength(1_000);
    expect(new Set(paths).has("/in-turn?count=0&i=1099")).toBe(true);
    expect(new Set(paths).has("/in-turn?count=0&i=0")).toBe(false);
  });

  it("lets a seventh fetch wait until one of six has its headers", async () => {
    const waiting: ServerResponse[] = [];
    backend.onRequest = (_, response) => void waiting.push(response);
    const answer = ask("/at-once?count=7");
    await until("six are there", () => waiting.length === 6);
    await sleep(200);
    expect(waiting).toHaveLength(6);
    waiting[0]?.writeHead(200).flushHeaders();
    await until("the seventh is there", () => waiting.length === 7);
    for (const response of waiting) response.end();
    expect(await answer).toEqual(Array(7).fill("answered"));
    expect(await figures()).toMatchObject({ connectionsMax: 6, queuedMax: 1, subrequests: 7 });
  });

  it("lets a fetch that waits for a connection be aborted", async () => {
    backend.mode = { kind: "hang" };
    expect(await ask("/impatient")).toMatch(/^TimeoutError/);
    expect(seen()).not.toContain("/7");
  });

  it("lets all work go on while the client stays", async () => {
    expect((await worker.fetch("/work")).text).toBe("done");
    await until("what was kept has ended", () => seen().includes("/kept/3"));
    expect(seen().sort()).toEqual(["/kept/1", "/kept/2", "/kept/3", "/own/1", "/own/2", "/own/3"]);
    expect(await figures()).toMatchObject({ hasLeft: false, cancelledTimers: 0, cancelledSubrequests: 0 });
  });

  it("lets a timer never fire once the client has left, except for what was given to waitUntil", async () => {
    await leave("/work", () => worker.output.includes("own waits") && worker.output.includes("kept waits"));
    await until("what was kept has ended", () => seen().includes("/kept/3"));
    expect(worker.output).not.toContain("own goes on");
    expect(seen()).not.toContain("/own/2");
    expect(await figures()).toMatchObject({ hasLeft: true, cancelledTimers: 1, cancelledSubrequests: 0 });
  });

  it("lets work go on that was begun before it was given to waitUntil", async () => {
    await leave("/work-given-later", () => seen().includes("/kept/1"));
    await until("what was kept has ended", () => seen().includes("/kept/3"));
  });

  it("begins nothing any more once the client has left, even where something else than a timer or a fetch was waited for", async () => {
    let body: ServerResponse | undefined;
    backend.handler = (_, response) => {
      body = response;
      response.writeHead(200).write("the beginning");
    };
    await leave("/read", () => body !== undefined);
    await until("it is known that the client has left", async () => (await figuresOf(worker))[0]?.hasLeft === true);
    body?.end();
    await until("a fetch was cancelled", async () => (await figuresOf(worker))[0]?.cancelledSubrequests === 1);
    expect(seen()).toEqual(["/body"]);
  });

  it("aborts a fetch once the client has left", async () => {
    backend.mode = { kind: "hang" };
    await leave("/hang", () => seen().includes("/hang"));
    await until("the backend's connection is closed", () => backend.connections.size === 0);
    expect(await figures()).toMatchObject({ hasLeft: true, cancelledSubrequests: 1 });
  });
});

describe("plain workerd", () => {
  it("does none of this, so that it has to be emulated", async () => {
    worker = await start({});
    expect(await ask("/in-turn?count=52")).toEqual(Array(52).fill("answered"));
    backend.seen.length = 0;
    await leave("/work", () => worker.output.includes("own waits"));
    await until("the timer has fired", () => seen().includes("/own/2"));
  });
});
