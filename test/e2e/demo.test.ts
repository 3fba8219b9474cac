import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type RawData, WebSocket } from "ws";
import { EVENTS_PATH, FILM_BYTES, FILM_PATH, film, LIVE_PATH, PAGE_PATH } from "../demo/backend.ts";
import { IDS } from "../demo/stack.ts";
import { until } from "../support/waiting.ts";
import { DemoProcess } from "./demo-process.ts";

const DOWN_TIME_MS = 1_000;

let demo: DemoProcess;

beforeAll(async () => {
  demo = await DemoProcess.start("--down-time", String(DOWN_TIME_MS));
});

afterAll(() => demo?.stop());

/** The id of the backend that answers, now that it is asked with this session. */
async function servedBy(cookie: string): Promise<string> {
  const { status, by } = await demo.manifest({ Cookie: cookie });
  expect(status).toBe(200);
  return by;
}

/** A session on one of the backends: bound by its cookie, as the load balancer set it. */
function sessionOn(id: string): string {
  return `aiostreams_backend=${id}`;
}

/** Waits until the load balancer sends requests to every backend. */
async function allServing(): Promise<void> {
  for (const id of IDS) await until(`${id} serves`, async () => (await servedBy(sessionOn(id))) === id);
}

describe("what the demo shows", () => {
  it("prints only addresses that answer", async () => {
    const urls = demo.output.match(/http:\/\/localhost:\d+\S+/g) ?? [];
    expect(urls.length).toBeGreaterThanOrEqual(6);
    for (const url of new Set(urls)) {
      const response = await fetch(url);
      expect(response.status, url).toBe(200);
      await response.body?.cancel();
    }
  });

  it("prints how long the first request to a hung backend waits, and that the next ones do not", () => {
    expect(demo.output).toMatch(/hangs\s+the first request waits 2 s: 1 s of silence, and 1 s more/);
    expect(demo.output).toMatch(/The next\s+requests do not wait at all\./);
  });

  it("serves a page that names the backend it came from", async () => {
    for (const path of [PAGE_PATH, "/"]) {
      const { status, by, headers, body } = await demo.get(path);
      expect(status).toBe(200);
      expect(headers.get("Content-Type")).toBe("text/html; charset=utf-8");
      expect(IDS).toContain(by);
      expect(body.toString()).toContain(`came from <strong>${by}</strong>`);
    }
  });

  it("serves a page that needs nothing from elsewhere", async () => {
    const page = (await demo.get(PAGE_PATH)).body.toString();
    const hosts = [...page.matchAll(/\b(?:https?|wss?):\/\/([\w.-]+)/g)].map(([, host]) => host);
    expect(hosts.length).toBeGreaterThan(0);
    expect(new Set(hosts)).toEqual(new Set(["127.0.0.1"]));
    expect(page).not.toContain("{{");
  });

  it("links the load balancer's status page, which shows every backend", async () => {
    const page = await demo.get(PAGE_PATH);
    const path = /href="(\/[^"]+)"/.exec(page.body.toString())?.[1] ?? "";
    const { status, by, body } = await demo.get(path);
    expect(status).toBe(200);
    expect(by, "the load balancer itself answers").toBe("");
    for (const id of IDS) expect(body.toString()).toContain(id);
  });

  it("tells the page how its backends are", async () => {
    const { backends } = await demo.snapshot();
    expect(backends).toEqual(IDS.map((id) => ({ id, state: "running", isBackup: false, out: null })));
  });

  it("takes orders from no other site's page", async () => {
    const response = await fetch(`${await demo.controlUrl()}/backends/cf/die`, {
      method: "POST",
      headers: { Origin: "https://evil.example.net" },
    });
    expect(response.status).toBe(403);
    expect((await demo.snapshot()).backends.map(({ state }) => state)).toEqual(["running", "running", "running"]);
  });
});

describe("what passes through the load balancer", () => {
  it("answers a manifest, and binds the client to the backend that answered", async () => {
    const first = await demo.manifest();
    expect(first.status).toBe(200);
    expect(JSON.parse(first.body.toString()).name).toContain(first.by);
    expect(first.cookie).toBe(sessionOn(first.by));
    expect(await servedBy(sessionOn(first.by))).toBe(first.by);
  });

  it("answers the health route", async () => {
    const { status, body } = await demo.get("/api/v1/health");
    expect(status).toBe(200);
    expect(JSON.parse(body.toString())).toEqual({ status: "ok" });
  });

  it("passes server-sent events on one by one", async () => {
    const response = await fetch(demo.url + EVENTS_PATH);
    expect(response.headers.get("Content-Type")).toBe("text/event-stream");
    const counts: number[] = [];
    const arrivedMs: number[] = [];
    for await (const chunk of response.body ?? []) {
      arrivedMs.push(performance.now());
      for (const [, count] of Buffer.from(chunk)
        .toString()
        .matchAll(/"count":(\d+)/g))
        counts.push(Number(count));
      if (counts.length >= 3) break;
    }
    expect(counts).toEqual([1, 2, 3]);
    // The backend sends them a second apart; a buffer would let them arrive together.
    expect(arrivedMs).toHaveLength(3);
    expect((arrivedMs[2] ?? 0) - (arrivedMs[0] ?? 0)).toBeGreaterThan(1_000);
  });

  it.each([
    { range: "bytes=1000-1999", first: 1_000, last: 1_999 },
    { range: `bytes=${FILM_BYTES - 10}-`, first: FILM_BYTES - 10, last: FILM_BYTES - 1 },
    { range: "bytes=-500", first: FILM_BYTES - 500, last: FILM_BYTES - 1 },
  ])("answers $range of a film with just that part", async ({ range, first, last }) => {
    const { status, headers, body } = await demo.get(FILM_PATH, { Range: range });
    expect(status).toBe(206);
    expect(headers.get("Content-Range")).toBe(`bytes ${first}-${last}/${FILM_BYTES}`);
    expect(body.equals(film().subarray(first, last + 1))).toBe(true);
  });

  it("says so when a range lies behind the film's end", async () => {
    const { status, headers } = await demo.get(FILM_PATH, { Range: `bytes=${FILM_BYTES}-` });
    expect(status).toBe(416);
    expect(headers.get("Content-Range")).toBe(`bytes */${FILM_BYTES}`);
  });

  it("carries WebSocket messages both ways", async () => {
    const webSocket = new WebSocket(demo.url.replace("http", "ws") + LIVE_PATH);
    const binary: Buffer[] = [];
    const texts: string[] = [];
    webSocket.on("message", (data: RawData, isBinary: boolean) => {
      if (isBinary) binary.push(data as Buffer);
      else texts.push(String(data));
    });
    await once(webSocket, "open");
    const sent = film().subarray(0, 100_000);
    webSocket.send("Grüße");
    webSocket.send(sent);
    await until("both came back, and the backend named itself", () => texts.length >= 2 && binary.length === 1);
    webSocket.close();
    expect(texts).toContain("Grüße");
    expect(binary[0]?.equals(sent)).toBe(true);
    expect(IDS).toContain(JSON.parse(texts.find((text) => text.startsWith("{")) ?? "{}").backend);
  });
});

describe("when a backend fails", () => {
  afterEach(async () => {
    for (const id of IDS) await demo.press(id, "recover");
    await allServing();
  });

  it("loses no request of 20 clients while a backend is killed, and moves only the clients of that one", async () => {
    const clients = Array.from({ length: 20 }, (_, i) => new Client(`192.0.2.${i + 1}`));
    const answered = () => clients.reduce((sum, { backends }) => sum + backends.length, 0);
    const traffic = Promise.all(clients.map((client) => client.ask(25)));
    await until("a good part of the requests is answered", () => answered() >= 150);
    await demo.press("duck", "die");
    const atKill = answered();
    await traffic;

    expect(clients.flatMap(({ failures }) => failures)).toEqual([]);
    expect(answered()).toBe(20 * 25);
    expect(answered() - atKill, "requests after the kill").toBeGreaterThan(50);
    const ofDuck = clients.filter(({ backends }) => backends[0] === "duck");
    expect(ofDuck.length, "clients of the backend that is killed").toBeGreaterThan(0);
    for (const { backends } of ofDuck) {
      expect(backends.at(-1)).not.toBe("duck");
      expect(new Set(backends).size, "a client of the dead backend moves once").toBe(2);
    }
    for (const { backends } of clients) {
      if (backends[0] !== "duck") expect(new Set(backends).size, "a client of a live backend stays").toBe(1);
    }
  });

  it("answers at once from another backend, also on a page whose own backend is dead", async () => {
    await demo.press("cf", "die");
    const { status, by, ms } = await demo.get(PAGE_PATH, { Cookie: sessionOn("cf") });
    expect(status).toBe(200);
    expect(by).not.toBe("cf");
    expect(ms).toBeLessThan(2_000);
    await until("the page is told why, while requests come", async () => {
      await demo.manifest({ Cookie: sessionOn("cf") });
      return (await demo.snapshot()).backends[0]?.out !== null;
    });
    expect((await demo.snapshot()).backends[0]).toMatchObject({
      id: "cf",
      state: "dead",
      out: { reason: "check: network error" },
    });
  });

  it("hides a 503 from the client", async () => {
    await demo.press("koyeb", "fail");
    expect(await servedBy(sessionOn("koyeb"))).not.toBe("koyeb");
  });

  it("gives a backend requests again once it has recovered and a check is good", async () => {
    await demo.press("koyeb", "die");
    expect(await servedBy(sessionOn("koyeb"))).not.toBe("koyeb");
    await until("the load balancer says why, while requests come", async () => {
      await demo.manifest({ Cookie: sessionOn("koyeb") });
      return demo.output.includes("sends no more requests to koyeb: check: network error");
    });
    await demo.press("koyeb", "recover");
    await until("koyeb serves again", async () => (await servedBy(sessionOn("koyeb"))) === "koyeb");
    await until("the load balancer says so", () => demo.output.includes("sends requests to koyeb again: check: good"));
  });

  it("lets only the first request wait for a backend that hangs", async () => {
    await demo.press("duck", "hang");
    const first = await demo.manifest({ Cookie: sessionOn("duck") });
    expect(first.status).toBe(200);
    expect(first.by).not.toBe("duck");
    // One second of silence; the second one falls away where a check by age is under way already.
    expect(first.ms).toBeGreaterThan(900);
    expect(first.ms).toBeLessThan(5_000);
    for (let i = 0; i < 5; i++) {
      const next = await demo.manifest({ Cookie: sessionOn("duck") });
      expect(next.by).not.toBe("duck");
      expect(next.ms).toBeLessThan(900);
    }
    await until("the load balancer says why", () =>
      demo.output.includes("sends no more requests to duck: check: no answer"),
    );
  });

  it("notices a backend that was killed by hand", async () => {
    const processes = await demo.family();
    const backend = processes.find(({ args }) => /backend\.ts cf \d+$/.test(args));
    if (!backend) throw new Error(`no process of cf: ${JSON.stringify(processes)}`);
    process.kill(backend.pid, "SIGKILL");
    await until("the page is told", async () => (await demo.snapshot()).backends[0]?.state === "dead");
  });
});

/** One of many clients: an address and a session of its own, and a list of who answered. */
class Client {
  readonly ip: string;
  readonly backends: string[] = [];
  readonly failures: string[] = [];
  #cookie: string | undefined;

  constructor(ip: string) {
    this.ip = ip;
  }

  /** Asks so many times, one after the other. */
  async ask(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      const headers = { "CF-Connecting-IP": this.ip, ...(this.#cookie && { Cookie: this.#cookie }) };
      try {
        const { status, by, cookie, body } = await demo.manifest(headers);
        this.backends.push(by);
        if (cookie) this.#cookie = cookie;
        if (status !== 200 || !body.includes(by)) this.failures.push(`${status} ${body}`);
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }
}
