import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Backend, HEALTH_PATH, OUTAGES } from "../support/backend.ts";
import { livingProcesses } from "../support/processes.ts";

describe("a test backend", () => {
  const backend = new Backend("cf");
  beforeAll(async () => void (await backend.start()));
  afterAll(() => backend.kill());

  async function ask(path: string): Promise<string> {
    const response = await fetch(backend.url + path, { redirect: "manual" });
    return `${response.status} ${response.headers.get("Content-Type")} ${await response.text()}`;
  }

  it.each(OUTAGES)("that is out, as a platform says by %s, answers so on every route", async (answer) => {
    backend.mode = { kind: "outage", answer };
    const health = await ask(HEALTH_PATH);
    expect(health).not.toContain('"success":true');
    expect([await ask("/"), await ask("/manifest.json")]).toEqual([health, health]);
  });

  it("may be sick on its health route alone, or at its next checks", async () => {
    backend.mode = { kind: "well", health: { kind: "outage", answer: "404" } };
    expect([await ask(HEALTH_PATH), await ask("/")]).toEqual([
      expect.stringMatching(/^404/),
      expect.stringMatching(/^200/),
    ]);
    backend.mode = { kind: "well" };
    backend.nextChecks.push({ kind: "status", status: 503 });
    expect(await ask(HEALTH_PATH)).toMatch(/^503/);
    expect(await ask(HEALTH_PATH)).toBe('200 application/json {"success":true,"detail":"OK"}');
  });
});

it("a process that is killed leaves neither a workerd behind nor a backend that is frozen", async () => {
  const support = (name: string) => JSON.stringify(join(import.meta.dirname, "../support", name));
  const program = `
    import { BackendProcess } from ${support("backend-process.ts")};
    import { Workerd } from ${support("workerd.ts")};
    const modules = { "stub.js": ${JSON.stringify(join(import.meta.dirname, "platform-stub.js"))} };
    const compatibility = { compatibilityDate: "2026-01-01", compatibilityFlags: [] };
    const workerd = await Workerd.start({ modules, compatibility, sockets: ["http"] });
    const backend = await BackendProcess.start("cf");
    backend.freeze();
    console.log(workerd.process.pid, backend.pid);
    setInterval(() => {}, 1_000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const pids = String((await once(child.stdout, "data"))[0])
    .trim()
    .split(" ")
    .map(Number);
  const left = async () => (await livingProcesses()).filter(({ pid }) => pids.includes(pid)).length;
  expect(await left()).toBe(2);
  child.kill("SIGKILL");
  await expect.poll(left, { interval: 100 }).toBe(0);
});
