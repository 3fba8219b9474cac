import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type RawData, WebSocket } from "ws";
import { LIVE_PATH, PAGE_PATH, STATUS_PATH } from "../demo/backend.ts";
import { untilGone } from "../demo/smoke.ts";
import { type Action, BACKUP, IDS } from "../demo/stack.ts";
import { until as untilWithin } from "../support/waiting.ts";
import { DemoProcess, PATIENCE_MS } from "./demo-process.ts";

const USUAL_PORT = 8787;
const PRIMARIES = IDS.filter((id) => id !== BACKUP);

const usual = createServer();
let demo: DemoProcess;

// One start for all of this: Wrangler takes seconds for it.
beforeAll(async () => {
  // Unless another program has it already.
  await new Promise<unknown>((resolve) => {
    usual.once("error", resolve).listen(USUAL_PORT, "127.0.0.1", () => resolve(undefined));
  });
  demo = await DemoProcess.runInTerminal("--backup", "--down-time", "200").ready();
});

afterAll(async () => {
  usual.close();
  await demo?.stop();
});

const until = (what: string, condition: () => Promise<boolean>) => untilWithin(what, condition, PATIENCE_MS);

/** A session on one of the backends: its cookie, as the load balancer sets it. */
const sessionOn = (id: string) => ({ Cookie: `aiostreams_backend=${id}` });

async function servedBy(headers: Record<string, string>): Promise<string> {
  const { status, by } = await demo.manifest(headers);
  expect(status).toBe(200);
  return by;
}

/** Waits until the demo prints this, from a place in its output on, while a user of koyeb goes on asking. */
async function isSaid(text: string, from: number): Promise<void> {
  await until(`the demo prints "${text}"`, async () => {
    await sleep(100);
    await demo.manifest(sessionOn("koyeb"));
    return demo.output.includes(text, from);
  });
}

describe("the demo", () => {
  it("takes the next free port when the usual one is busy, and says so", () => {
    const port = /The demo takes (\d+)\./.exec(demo.output)?.[1];
    expect(demo.output).toContain(`Port ${USUAL_PORT} is busy`);
    expect(demo.url).toBe(`http://localhost:${port}`);
  });

  it("introduces itself in twenty lines of eighty columns, its address last", () => {
    const lines = demo.output.slice(demo.output.indexOf("Starting")).trimEnd().split("\n");
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.length).toBeLessThanOrEqual(20);
    expect(lines.at(-1)).toMatch(new RegExp(`${demo.url}${PAGE_PATH}$`));
    expect(demo.output).toContain(`${BACKUP} is a backup`);
    expect(demo.output).toMatch(/hangs\s+the first request waits about two seconds/);
  });

  it("prints only addresses that answer", async () => {
    const urls = demo.output.match(/http:\/\/localhost:\d+\S+/g) ?? [];
    expect(urls).toHaveLength(3);
    for (const url of urls) expect((await demo.get(url.slice(demo.url.length))).status, url).toBe(200);
  });

  it("serves a page that names the backend it came from, and needs nothing from elsewhere", async () => {
    const { by, headers, body } = await demo.get("/");
    expect(headers.get("Content-Type")).toBe("text/html; charset=utf-8");
    expect(PRIMARIES).toContain(by);
    expect(body.toString()).toContain(`came from <strong>${by}</strong>`);
    const hosts = [...body.toString().matchAll(/\b(?:https?|wss?):\/\/([\w.-]+)/g)].map(([, host]) => host);
    expect(new Set(hosts)).toEqual(new Set(["127.0.0.1"]));
    expect(body.toString()).not.toContain("{{");
  });

  it("lists the backends in the order of the status page, to which its page links", async () => {
    expect((await demo.get(PAGE_PATH)).body.toString()).toContain(`href="${STATUS_PATH}"`);
    const { body } = await demo.get(`${STATUS_PATH}?format=json`);
    expect(JSON.parse(body.toString()).backends.map(({ id }: { id: string }) => id)).toEqual(IDS);
    expect(await demo.backends()).toEqual(
      IDS.map((id) => ({ id, action: "recover", isBackup: id === BACKUP, ejection: null })),
    );
  });

  it("takes orders from no other site's page", async () => {
    expect(await demo.press("cf", "die", "https://evil.example.net")).toBe(403);
    expect((await demo.backends()).map(({ action }) => action)).toEqual(["recover", "recover", "recover"]);
  });

  it("carries WebSocket messages both ways", async () => {
    const webSocket = new WebSocket(demo.url.replace("http", "ws") + LIVE_PATH);
    const texts: string[] = [];
    webSocket.on("message", (data: RawData) => texts.push(String(data)));
    await once(webSocket, "open");
    webSocket.send("Grüße");
    await until("it came back, and the backend named itself", async () => texts.length >= 2);
    webSocket.close();
    expect(texts).toContain("Grüße");
    expect(PRIMARIES).toContain(JSON.parse(texts.find((text) => text.startsWith("{")) ?? "{}").backend);
  });
});

describe("when a backend of the demo fails", () => {
  afterEach(async () => {
    for (const id of IDS) expect(await demo.press(id, "recover")).toBe(204);
    for (const id of PRIMARIES) {
      await until(`${id} serves`, async () => {
        await sleep(100);
        return (await servedBy(sessionOn(id))) === id;
      });
    }
  });

  it.each<[Action, string]>([
    ["die", "network error"],
    ["hang", "no answer"],
    ["answer503", "bad status"],
    ["answer404", "bad status"],
  ])("hides %s from the client, says why the backend is ejected, and when it has recovered", async (action, reason) => {
    const from = demo.output.length;
    await demo.press("koyeb", action);
    await isSaid(`ejects koyeb (check: ${reason}`, from);
    expect(await servedBy(sessionOn("koyeb"))).not.toBe("koyeb");
    expect((await demo.backends()).find(({ id }) => id === "koyeb")).toMatchObject({
      action,
      ejection: { reason: `check: ${reason}` },
    });
    await demo.press("koyeb", "recover");
    await isSaid("finds koyeb recovered (check: good", from);
  });

  it("asks the backup once every other backend is dead, and moves its clients when one recovers", async () => {
    for (const id of PRIMARIES) await demo.press(id, "die");
    const { status, by, cookie = "" } = await demo.manifest();
    expect([status, by]).toEqual([200, BACKUP]);
    await demo.press("cf", "recover");
    await until("its client moves", async () => (await servedBy({ Cookie: cookie })) === "cf");
  });

  it("notices a backend that was killed by hand", async () => {
    const backend = (await demo.family()).find(({ args }) => /backend\.ts cf \d+$/.test(args));
    process.kill(backend?.pid ?? Number.NaN, "SIGKILL");
    await until("the page is told", async () => (await demo.backends())[0]?.action === "die");
  });

  it("obeys the terminal's keys", async () => {
    demo.child.stdin?.write("3d");
    await until("koyeb is dead", async () => (await demo.backends())[2]?.action === "die");
    demo.child.stdin?.write("r");
    await until("koyeb is well", async () => (await demo.backends())[2]?.action === "recover");
  });
});

describe("the demo's end", () => {
  it("leaves no process behind after Ctrl-C", async () => {
    const processes = await demo.family();
    expect(processes.filter(({ args }) => /workerd|wrangler|backend\.ts/.test(args)).length).toBeGreaterThanOrEqual(5);
    demo.child.stdin?.write("\u0003");
    expect(await demo.ended()).toBe(0);
    await untilGone(processes.map(({ pid }) => pid));
  });
});
