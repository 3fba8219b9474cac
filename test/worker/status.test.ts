import { describe, expect, it } from "vitest";
import type { Snapshot } from "../../src/status-page.ts";
import { boundTo, IDS, loadBalancer } from "../support/fixture.ts";
import { handshake } from "../support/raw-http.ts";
import { inTime, until } from "../support/waiting.ts";

const PATH = "/lb-status-8f3a";
const ON = { STATUS_PATH: PATH };

function statusOf(lb: ReturnType<typeof loadBalancer>) {
  return async (): Promise<Snapshot> => JSON.parse((await lb.worker.fetch(`${PATH}?format=json`)).text);
}

describe("the status page", () => {
  const lb = loadBalancer();

  it("is off unless it is asked for: its path belongs to the application", async () => {
    expect(await lb.worker.fetch(PATH)).toMatchObject({
      status: 200,
      headers: { "x-served-by-backend": expect.any(String) },
    });
    expect(lb.backends.map(({ checks }) => checks)).toEqual([0, 0, 0]);
  });
});

describe("the status page that is on", () => {
  const lb = loadBalancer(ON);
  const status = statusOf(lb);

  it("shows every backend by its id, checked just now, and never asks the application", async () => {
    const { status: code, headers, text } = await lb.worker.fetch(PATH);
    expect([code, headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    for (const id of IDS) expect(text).toContain(`<h3>${id}</h3>`);
    expect(text.match(/answers 200 in \d+ ms/g)).toHaveLength(3);
    expect(lb.backends.map(({ checks, seen }) => [checks, seen.length])).toEqual(Array(3).fill([1, 0]));
  });

  it("takes exactly its path from the application", async () => {
    for (const path of [`${PATH}/`, `${PATH}x`, `/${PATH}`, PATH.toUpperCase(), `/?${PATH}`]) {
      const { headers } = await lb.worker.fetch(path);
      expect(headers["x-served-by-backend"], path).toBeDefined();
    }
    expect(lb.backends.map(({ checks }) => checks)).toEqual([0, 0, 0]);
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

  it("is 200 while one backend answers, and 503 when none does", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.duck.kill();
    expect((await lb.worker.fetch(PATH)).status).toBe(200);
  });

  it("is 503 when no backend answers", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    lb.duck.mode = { kind: "reset" };
    await lb.koyeb.kill();
    const { status: code, text } = await lb.worker.fetch(PATH);
    expect(code).toBe(503);
    expect(text).toContain("No backend answers");
  });

  it("checks side by side: three silent backends take as long as one", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const { status: code } = await inTime(5_000, "the page", lb.worker.fetch(PATH));
    expect(code).toBe(503);
  });

  it("cannot be used to hammer a backend: forty requests at once make one check of each", async () => {
    const answers = await Promise.all(Array.from({ length: 40 }, () => lb.worker.fetch(PATH)));
    expect(answers.map((answer) => answer.status)).toEqual(Array(40).fill(200));
    await lb.worker.fetch(PATH);
    expect(lb.backends.map(({ checks }) => checks)).toEqual([1, 1, 1]);
  });

  it("waits for nobody else's checks, and outlives a visitor that leaves during his", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const leaving = new AbortController();
    const first = lb.worker.fetch(PATH, { signal: leaving.signal });
    first.catch(() => {});
    await until("the checks are under way", () => lb.backends.every(({ checks }) => checks === 1));
    const second = await inTime(1_000, "the second visitor's page", status());
    expect(second.backends.map(({ isBeingProbed }) => isBeingProbed)).toEqual([true, true, true]);
    leaving.abort();
    await expect(first).rejects.toThrow();
    for (const backend of lb.backends) backend.mode = { kind: "well" };
    await until("the page has checked again", async () =>
      (await status()).backends.every(({ probe }) => probe !== null),
    );
  });

  it("tells why a backend was dropped, and what this isolate has counted", async () => {
    await lb.cf.kill();
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    const webSocket = await lb.worker.webSocket("/ws", boundTo("duck"));
    webSocket.terminate();
    const { answering, isolate, backends } = await status();
    expect(answering).toBe(2);
    expect(isolate).toMatchObject({ requests: 2, failovers: 1, ejections: 1, webSockets: 1 });
    expect(backends[0]).toMatchObject({
      id: "cf",
      state: "down",
      ejectedFor: "network error",
      probe: { status: null },
      lastFailure: { reason: "network error", status: null },
      requests: 1,
      failures: 1,
    });
    const lastMinutes = backends[0]?.minutes.slice(-2) ?? [];
    expect(lastMinutes.map(({ failures }) => failures).sort()).toEqual([0, 1]);
    expect(backends[1]?.requests).toBeGreaterThanOrEqual(1);
  });

  it("brings nobody back whose down time has not passed", async () => {
    await lb.cf.kill();
    await lb.servedBy(boundTo("cf"));
    await lb.cf.start();
    expect((await status()).backends[0]).toMatchObject({ state: "down", probe: { status: 200 } });
    expect(await lb.isUp("cf")).toBe(false);
  });

  it("does not count itself as a request", async () => {
    await status();
    expect((await status()).isolate.requests).toBe(0);
  });
});

describe("a backend that waits for a check", () => {
  const lb = loadBalancer({ ...ON, BACKEND_DOWN_TIME: 0 });
  const status = statusOf(lb);

  it("comes back by looking, and its last failure is still told", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.servedBy(boundTo("cf"));
    lb.cf.mode = { kind: "well" };
    expect((await status()).backends[0]).toMatchObject({
      state: "up",
      ejectedFor: null,
      lastFailure: { reason: "unavailable", status: 503 },
    });
    expect(lb.worker.log.at(-1)).toMatchObject({ event: "back", backend: "cf", reason: "probe answered" });
    expect(await lb.isUp("cf")).toBe(true);
  });

  it("goes on waiting when it does not answer the one who looks", async () => {
    await lb.cf.kill();
    await lb.servedBy(boundTo("cf"));
    expect((await status()).backends[0]).toMatchObject({ state: "waiting for a probe", answers: false });
    await lb.cf.start();
    await until("a request's own check has brought it back", () => lb.isUp("cf"));
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
