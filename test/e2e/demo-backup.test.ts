import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Snapshot } from "../../src/status/facts.ts";
import { STATUS_PATH } from "../demo/backend.ts";
import { BACKUP, IDS } from "../demo/stack.ts";
import { until } from "../support/waiting.ts";
import { DemoProcess } from "./demo-process.ts";

const OTHERS = IDS.filter((id) => id !== BACKUP);

let demo: DemoProcess;

beforeAll(async () => {
  demo = await DemoProcess.start("--backup", "--down-time", "1000");
});

afterAll(() => demo?.stop());

/** What the load balancer itself says of the backup. */
async function backupOnStatusPage() {
  const { body } = await demo.get(`${STATUS_PATH}?format=json`);
  return (JSON.parse(body.toString()) as Snapshot).backends.find(({ id }) => id === BACKUP);
}

describe("the demo with a backup", () => {
  it("says which backend it is, in the terminal and to the page", async () => {
    expect(demo.output).toContain(`${BACKUP} is a backup`);
    const { backends } = await demo.snapshot();
    expect(backends.filter(({ isBackup }) => isBackup).map(({ id }) => id)).toEqual([BACKUP]);
  });

  it("leaves it asleep while another backend is up", async () => {
    for (let i = 1; i <= 20; i++) {
      const { by } = await demo.manifest({ "CF-Connecting-IP": `192.0.2.${i}` });
      expect(OTHERS).toContain(by);
    }
    expect(await backupOnStatusPage()).toMatchObject({ backup: "asleep", finding: null, requests: 0 });
  });

  it("is answered by it once the others are dead, and gives its clients back when one recovers", async () => {
    for (const id of OTHERS) await demo.press(id, "die");
    const { status, by, cookie } = await demo.manifest();
    expect([status, by]).toEqual([200, BACKUP]);
    await until("the others are known to be down", async () => (await backupOnStatusPage())?.backup === "in service");

    await demo.press(OTHERS[0] ?? "", "recover");
    await until(
      "its client is back on another",
      async () => (await demo.manifest({ Cookie: cookie ?? "" })).by !== BACKUP,
    );
  });
});
