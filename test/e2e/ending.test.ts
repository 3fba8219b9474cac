import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { freePort } from "../support/ports.ts";
import { until } from "../support/waiting.ts";
import { DemoProcess, expectGone } from "./demo-process.ts";

/** Listens on a port of localhost, unless somebody does already. */
async function occupy(port: number): Promise<AsyncDisposable> {
  const server = createServer();
  server.on("error", () => {});
  await new Promise((resolve) => {
    server.once("error", resolve);
    server.listen(port, "127.0.0.1", () => resolve(undefined));
  });
  return {
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      server.close();
      await once(server, "close");
    },
  };
}

describe.concurrent("the demo's end", () => {
  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("leaves no process behind after %s", async (signal) => {
    await using demo = await DemoProcess.start();
    const processes = await demo.family();
    expect(processes.filter(({ args }) => /workerd|wrangler|backend\.ts/.test(args)).length).toBeGreaterThanOrEqual(5);
    demo.child.kill(signal);
    expect(await demo.ended()).toBe(0);
    await expectGone(processes);
  });

  it("leaves no process behind when the demo itself is killed, not even a frozen one", async () => {
    await using demo = await DemoProcess.start();
    await demo.press("koyeb", "hang");
    const processes = await demo.family();
    demo.child.kill("SIGKILL");
    await demo.ended();
    await expectGone(processes);
  });

  it("obeys the terminal's keys, of which Ctrl-C leaves no process behind", async () => {
    await using terminal = await DemoProcess.startInTerminal();
    await until("the keys are explained", () => terminal.output.includes("Keys: first 1, 2 or 3"));
    const processes = await terminal.family();
    terminal.child.stdin?.write("2d");
    await until("koyeb is dead", () => terminal.output.includes("koyeb is dead"));
    terminal.child.stdin?.write("r");
    await until("koyeb has recovered", () => terminal.output.includes("koyeb has recovered"));
    terminal.child.stdin?.write("\u0003");
    await terminal.ended();
    await expectGone(processes);
  });
});

describe("the demo's beginning", () => {
  it("takes the next free port when the usual one is busy, and says so", async () => {
    await using _ = await occupy(8787);
    await using demo = await DemoProcess.startOnUsualPort();
    const port = /The demo takes port (\d+) instead/.exec(demo.output)?.[1];
    expect(demo.output).toContain("Port 8787 is busy");
    expect(demo.url).toBe(`http://localhost:${port}`);
    expect((await demo.manifest()).status).toBe(200);
  });

  it("refuses a busy port that was asked for, and names one that is free", async () => {
    const port = await freePort();
    await using _ = await occupy(port);
    await using refused = DemoProcess.run("--port", String(port));
    expect(await refused.ended()).toBe(1);
    expect(refused.output).toContain(`Port ${port} is busy`);
    expect(refused.output).toMatch(/npm run demo -- --port \d+/);
  });

  it.each([
    { args: ["--port", "http"], answer: '--port must be a whole number from 1 to 65535, found "http"' },
    { args: ["--port", "65536"], answer: '--port must be a whole number from 1 to 65535, found "65536"' },
    { args: ["--down-time", "-1"], answer: "--down-time" },
    { args: ["--fast"], answer: "--fast" },
    { args: ["film"], answer: "film" },
  ])("refuses $args and shows how it is used", async ({ args, answer }) => {
    await using refused = DemoProcess.run(...args);
    expect(await refused.ended()).toBe(1);
    expect(refused.output).toContain(answer);
    expect(refused.output).toContain("Usage: npm run demo");
  });

  it("proves itself without a person: --smoke kills a backend and is answered by another", async () => {
    await using smoke = DemoProcess.run("--smoke");
    expect(await smoke.ended(), smoke.output).toBe(0);
    expect(smoke.output).toMatch(/(\w+) was killed.\n.*was answered by (?!\1)/);
    expect(smoke.output).toContain("All processes have ended.");
  });
});
