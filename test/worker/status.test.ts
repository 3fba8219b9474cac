import { afterEach, describe, expect, inject, it } from "vitest";
import type { Snapshot } from "../../src/status/facts.ts";
import { type Backend, startBackends } from "../support/backend.ts";
import { DataCentre } from "../support/data-centre.ts";
import { boundTo, IDS, loadBalancer } from "../support/fixture.ts";
import { handshake } from "../support/raw-http.ts";
import { inTime, until } from "../support/waiting.ts";
import { backendVars, Worker } from "../support/worker.ts";

const PATH = "/lb-status-8f3a";
const ON = { STATUS_PATH: PATH };

function statusOf(lb: { worker: Worker }) {
  return async (): Promise<Snapshot> => JSON.parse((await lb.worker.fetch(`${PATH}?format=json`)).text);
}

describe("the status page", () => {
  const lb = loadBalancer();

  it("is off unless it is asked for: its path belongs to the application", async () => {
    expect(await lb.worker.fetch(PATH)).toMatchObject({
      status: 200,
      headers: { "x-served-by-backend": expect.any(String) },
    });
  });
});

describe("the status page that is on", () => {
  const lb = loadBalancer(ON);
  const status = statusOf(lb);

  it("shows every backend by its id, checked just now, and never asks the application", async () => {
    const { status: code, headers, text } = await lb.worker.fetch(PATH);
    expect([code, headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    for (const id of IDS) expect(text).toContain(`<h3>${id}</h3>`);
    expect(text.match(/answered 200 in \d+ ms, just now/g)).toHaveLength(3);
    expect(lb.backends.map(({ checks, seen }) => [checks, seen.length])).toEqual(Array(3).fill([1, 0]));
  });

  it("takes exactly its path from the application", async () => {
    for (const path of [`${PATH}/`, `${PATH}x`, `/${PATH}`, PATH.toUpperCase(), `/?${PATH}`]) {
      const { headers } = await lb.worker.fetch(path);
      expect(headers["x-served-by-backend"], path).toBeDefined();
    }
  });

  it("is served on the public domain over HTTPS only", async () => {
    expect((await lb.worker.fetch(PATH, { host: "other.example.com" })).status).toBe(421);
    expect((await lb.worker.fetch(PATH, { scheme: "http" })).status).toBe(301);
  });

  it("answers HEAD without a body, and nothing but GET and HEAD", async () => {
    const head = await lb.worker.fetch(PATH, { method: "HEAD" });
    expect([head.status, head.body.length]).toEqual([200, 0]);
    const post = await lb.worker.fetch(PATH, { method: "POST", body: "x" });
    expect([post.status, post.headers.allow]).toEqual([405, "GET, HEAD"]);
    expect(lb.backends.flatMap(({ seen }) => seen)).toEqual([]);
  });

  it("is JSON for a client that prefers it", async () => {
    const { headers, text } = await lb.worker.fetch(PATH, { headers: { Accept: "application/json" } });
    expect(headers["content-type"]).toBe("application/json");
    expect(JSON.parse(text)).toMatchObject({ answering: 3, backends: IDS.map((id) => ({ id, state: "up" })) });
  });

  it("names the data centre, as text whatever it says", async () => {
    const asked = (colo: string) => lb.worker.fetch(PATH, { headers: { "Test-Cf": JSON.stringify({ colo }) } });
    expect((await asked("FRA")).text).toContain("<dd>FRA</dd>");
    expect((await asked("<script>")).text).not.toContain("<script>");
  });

  it("names no host, port or address of a backend", async () => {
    await lb.cf.kill();
    await lb.servedBy(boundTo("cf"));
    for (const query of ["", "?format=json"]) {
      const { text, rawHeaders } = await lb.worker.fetch(PATH + query);
      const all = text + rawHeaders.join("\n");
      expect(all).not.toMatch(/127\.0\.0\.1|example/);
      for (const { port } of lb.backends) expect(all).not.toContain(String(port));
    }
  });

  it("is 200 while one backend is up", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.duck.kill();
    const { status: code, text } = await lb.worker.fetch(PATH);
    expect(code).toBe(200);
    expect(text).toContain("1 of 3 backends is up");
  });

  it("is 503 when no backend is up", async () => {
    lb.cf.mode = { kind: "status", status: 404 };
    lb.duck.mode = { kind: "reset" };
    await lb.koyeb.kill();
    const { status: code, text } = await lb.worker.fetch(PATH);
    expect(code).toBe(503);
    expect(text).toContain("No backend is up");
  });

  it("checks side by side: three silent backends take as long as one", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const { status: code } = await inTime(6_000, "the page", lb.worker.fetch(PATH));
    expect(code).toBe(503);
  });

  it("cannot be used to hammer a backend: forty requests at once make one check of each", async () => {
    const answers = await Promise.all(Array.from({ length: 40 }, () => lb.worker.fetch(PATH)));
    expect(answers.map((answer) => answer.status)).toEqual(Array(40).fill(200));
    await lb.worker.fetch(PATH);
    expect(lb.backends.map(({ checks }) => checks)).toEqual([1, 1, 1]);
  });

  it("tells every visitor what the checks of the first one found, even when that one has left", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const leaving = new AbortController();
    const first = lb.worker.fetch(PATH, { signal: leaving.signal });
    first.catch(() => {});
    await until("the checks are under way", () => lb.backends.every(({ checks }) => checks === 1));
    const second = inTime(5_000, "the second visitor's page", status());
    leaving.abort();
    await expect(first).rejects.toThrow();
    expect((await second).backends.map(({ finding }) => finding?.result)).toEqual(Array(3).fill("no answer"));
    expect(lb.backends.map(({ checks }) => checks)).toEqual([1, 1, 1]);
  });

  it("never says up of a backend that its own check has found dead, and nobody is sent there", async () => {
    const home = await lb.servedBy();
    const backend = lb.backends.find(({ id }) => id === home) as Backend;
    await until("its first check has ended", () => backend.checks > 0);
    backend.mode = { kind: "status", status: 404 };
    const stateOf = async () => (await status()).backends.find(({ id }) => id === home);
    await until("the page has checked it again", async () => (await stateOf())?.finding?.status === 404);
    expect(await stateOf()).toMatchObject({ state: "down", ejectedFor: "check: bad status" });
    expect(lb.worker.log.filter(({ event }) => event === "ejected")).toMatchObject([
      { backend: home, reason: "check: bad status", status: 404 },
    ]);
    expect(await lb.servedBy()).not.toBe(home);
    expect(await lb.servedBy(boundTo(home))).not.toBe(home);
  });

  it("tells why a backend was ejected, and what this isolate has counted", async () => {
    await lb.cf.kill();
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    const webSocket = await lb.worker.webSocket("/ws", boundTo("duck"));
    webSocket.terminate();
    const { answering, isolate, backends } = await status();
    expect(answering).toBe(2);
    expect(isolate).toMatchObject({ requests: 2, failovers: 1, ejections: 1, webSockets: 1, sharesFindings: true });
    const [cf] = backends;
    expect(cf).toMatchObject({
      id: "cf",
      state: "down",
      ejectedFor: "check: network error",
      finding: { result: "network error", status: null, isShared: false },
      lastFailure: { reason: "network error", status: null },
    });
    expect(cf?.failures).toBeGreaterThanOrEqual(1);
    expect(cf?.minutes.slice(-2).reduce((sum, { failures }) => sum + failures, 0)).toBe(cf?.failures);
    expect(backends[1]?.requests).toBeGreaterThanOrEqual(1);
  });

  it("shows a backend as up again once a check is good, and still tells its last failure", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.servedBy(boundTo("cf"));
    await until("cf is ejected", () => lb.worker.log.some(({ event }) => event === "ejected"));
    lb.cf.mode = { kind: "well" };
    await until("the page has checked it again", async () => (await status()).backends[0]?.state === "up");
    expect((await status()).backends[0]).toMatchObject({
      ejectedFor: null,
      lastFailure: { reason: "unavailable", status: 503 },
    });
    expect(lb.worker.log.at(-1)).toMatchObject({ event: "back", backend: "cf", reason: "check: good" });
    expect(await lb.isUp("cf")).toBe(true);
  });

  it("does not count itself as a request", async () => {
    await status();
    expect((await status()).isolate.requests).toBe(0);
  });
});

describe("the status page of twelve backends", () => {
  const NAMES = Array.from({ length: 12 }, (_, i) => `b${String(i).padStart(2, "0")}`);
  const lb = {} as { worker: Worker; backends: Backend[] };
  const status = statusOf(lb);

  async function start(...live: string[]): Promise<void> {
    lb.backends = await startBackends(...NAMES);
    for (const backend of lb.backends) if (!live.includes(backend.id)) backend.mode = { kind: "hang" };
    lb.worker = await Worker.start(inject("script"), { ...backendVars(lb.backends), ...ON });
  }

  afterEach(async () => {
    await lb.worker.stop();
    await Promise.all(lb.backends.map((backend) => backend.kill()));
  });

  it("that all hang comes in time, calls none of them up, and says what is still being checked", async () => {
    await start();
    const { answering, backends } = await inTime(6_000, "the page", status());
    expect(answering).toBe(0);
    expect(backends.map(({ state }) => state)).not.toContain("up");
    expect(backends.filter(({ state }) => state === "down")).toHaveLength(6);
    // Six connections are all that an invocation has, so the others' checks began when the first six had ended.
    expect(backends.filter(({ finding, isBeingChecked }) => !finding && isBeingChecked)).toHaveLength(6);
  });

  it("shows the only one that lives as up, even if it is the last", async () => {
    await start("b11");
    const { answering, backends } = await inTime(6_000, "the page", status());
    expect(answering).toBe(1);
    expect(backends.filter(({ state }) => state === "up").map((backend) => backend.id)).toEqual(["b11"]);
  });
});

describe("the status page of a data centre's isolates", () => {
  it("shows in a cold one what another has found, without asking the backend again", async () => {
    await using dc = await DataCentre.start(ON);
    dc.koyeb.mode = { kind: "hang" };
    const [first, second] = await Promise.all([dc.isolate(), dc.isolate()]);
    expect((await statusOf({ worker: first })()).backends[2]).toMatchObject({
      state: "down",
      finding: { isShared: false },
    });
    await until("the finding is shared", () => dc.cache.operations.some(({ text }) => text.includes("no answer")));

    const { backends } = await inTime(2_000, "the second isolate's page", statusOf({ worker: second })());
    expect(backends[2]).toMatchObject({ state: "down", finding: { result: "no answer", isShared: true } });
    expect(dc.koyeb.checks).toBe(1);
    expect((await second.fetch(PATH)).text).toContain("by another isolate");
    expect(second.log).toMatchObject([{ event: "ejected", backend: "koyeb", shared: true }]);
  });

  it("comes in time when their cache hangs", async () => {
    await using dc = await DataCentre.start(ON);
    dc.cache.mode = { kind: "hang" };
    const { answering } = await inTime(6_000, "the page", statusOf({ worker: await dc.isolate() })());
    expect(answering).toBe(3);
  });
});

describe("a backup on the status page", () => {
  const lb = {} as { worker: Worker; backends: Backend[] };
  const status = statusOf(lb);

  async function start(): Promise<void> {
    lb.backends = await startBackends("cf", "home");
    const vars = backendVars(lb.backends);
    lb.worker = await Worker.start(inject("script"), { ...vars, BACKEND_HOME: `${vars.BACKEND_HOME} backup`, ...ON });
  }

  afterEach(async () => {
    await lb.worker.stop();
    await Promise.all(lb.backends.map((backend) => backend.kill()));
  });

  it("is left asleep: the page asks it nothing, and neither counts nor misses it", async () => {
    await start();
    const { text } = await lb.worker.fetch(PATH);
    expect(text).toContain("The backend is up");
    expect(text).toContain("Backup, asleep");
    expect((await status()).answering).toBe(1);
    expect(lb.backends[1]?.checks).toBe(0);
    expect(lb.backends[1]?.connections.size).toBe(0);
  });

  it("is checked once the last other backend is down, and is in service", async () => {
    await start();
    await lb.backends[0]?.kill();
    const { answering, backends } = await status();
    expect(answering).toBe(1);
    expect(backends[1]).toMatchObject({ id: "home", state: "up", backup: "in service", finding: { status: 200 } });
  });
});

describe("the header that names the backend", () => {
  const lb = loadBalancer({ SERVED_BY_HEADER: "X-Served-By" });

  it("stands on every answer that came from a backend, a WebSocket's too", async () => {
    const { headers, text } = await lb.worker.fetch("/who");
    expect(headers["x-served-by"]).toBe(JSON.parse(text).id);
    expect((await handshake(lb.worker, "/ws", boundTo("koyeb"))).headers["x-served-by"]).toBe("koyeb");
    for (const backend of lb.backends) backend.mode = { kind: "status", status: 503 };
    const refused = await lb.worker.fetch("/who");
    expect([refused.status, refused.text]).toEqual([503, `${refused.headers["x-served-by"]} says 503`]);
  });

  it("stands on no answer of the Worker's own", async () => {
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    const { status: code, headers } = await lb.worker.fetch("/who");
    expect([code, headers["x-served-by"]]).toEqual([502, undefined]);
  });
});

describe("without that header", () => {
  const lb = loadBalancer();

  it("an answer does not say which backend it came from", async () => {
    const { rawHeaders } = await lb.worker.fetch("/who");
    expect(rawHeaders.map((text) => text.toLowerCase())).not.toContain("x-served-by");
  });
});
