import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { parseArguments } from "../demo/demo.ts";
import { untilGone } from "../demo/smoke.ts";
import { emptied } from "../demo/stack.ts";
import { freePort } from "../support/ports.ts";
import { DemoProcess } from "./demo-process.ts";

describe("the demo's arguments", () => {
  it.each([
    { args: ["--port", "http"], answer: '--port must be a whole number from 1 to 65535, found "http"' },
    { args: ["--port", "65536"], answer: '--port must be a whole number from 1 to 65535, found "65536"' },
    { args: ["--down-time", "ten"], answer: "--down-time must be a whole number from 0 to 3600000" },
    { args: ["--fast"], answer: "--fast" },
    { args: ["film"], answer: "film" },
  ])("are refused with how the demo is used: $args", ({ args, answer }) => {
    expect(() => parseArguments(args)).toThrow(answer);
    expect(() => parseArguments(args)).toThrow("Usage: npm run demo");
  });

  it("may name the port by the variable PORT", () => {
    expect(parseArguments([], { PORT: "9000" }).port).toBe(9_000);
    expect(() => parseArguments([], { PORT: "0" })).toThrow("PORT must be a whole number");
  });
});

it("sends nothing to the backends that wrangler.toml names", () => {
  const toml = `
BACKEND_DOWN_TIME = 30000
BACKEND_MY-HOME = "home.example.com"
HEADERS_FOURTH = "X-Token: 1"`;
  expect(emptied(toml)).toEqual({ "BACKEND_MY-HOME": "", HEADERS_FOURTH: "" });
});

describe("the demo as a program", () => {
  const run = (...args: string[]) => {
    const demo = DemoProcess.run(...args);
    onTestFinished(() => demo.stop());
    return demo;
  };

  it("refuses a busy port that was asked for, and names one that is free", async () => {
    const port = await freePort();
    const other = createServer().listen(port, "127.0.0.1");
    onTestFinished(() => void other.close());
    await once(other, "listening");
    const refused = run("--port", String(port));
    expect(await refused.ended()).toBe(1);
    expect(refused.output).toContain(`Port ${port} is busy`);
    expect(refused.output).toMatch(/npm run demo -- --port \d+/);
  });

  it.each(["SIGTERM", "SIGHUP"] as const)(
    "leaves no process behind after %s, not even while it starts",
    async (signal) => {
      const demo = run("--port", String(await freePort()));
      await demo.prints("Starting");
      const processes = await demo.family();
      demo.child.kill(signal);
      expect(await demo.ended()).toBe(0);
      await untilGone(processes.map(({ pid }) => pid));
    },
  );

  it("proves itself without a person: --smoke kills a backend and is answered by another", async () => {
    const smoke = run("--smoke", "--port", String(await freePort()));
    expect(await smoke.ended(), smoke.output).toBe(0);
    expect(smoke.output).toMatch(/(\w+) was killed.\n.*was answered by (?!\1)/);
    expect(smoke.output.trim().split("\n")).toHaveLength(4);
    expect(smoke.output).toContain("All processes have ended.");
  });
});
