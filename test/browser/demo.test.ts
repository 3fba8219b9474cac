import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PAGE_PATH } from "../demo/backend.ts";
import { untilGone } from "../demo/smoke.ts";
import { IDS } from "../demo/stack.ts";
import { DemoProcess } from "../e2e/demo-process.ts";
import { accessibilityFaults, DESKTOP, overhang, PHONE, visit } from "../support/page.ts";
import { freePort } from "../support/ports.ts";

let demo: DemoProcess;

beforeAll(async () => {
  demo = await DemoProcess.run("--port", String(await freePort()), "--down-time", "200").ready();
});

afterAll(() => demo?.stop());

describe("the demo's page in a browser", () => {
  const browser = visit();
  const backend = (id: string) => browser.page.getByRole("region", { name: id, exact: true });
  const press = (action: string, id: string) => browser.page.getByRole("button", { name: `${action}: ${id}` }).click();
  const shows = (id: string, text: string) => backend(id).getByText(text).waitFor();

  /** The backend that the page says answered it last. */
  async function serving(): Promise<string> {
    await browser.page.locator(".backend.serving").waitFor();
    return browser.page.locator("#answered-by").innerText();
  }

  beforeEach(async () => {
    await browser.page.goto(`${demo.url}${PAGE_PATH}`);
    for (const id of IDS) await shows(id, "● available");
  });

  afterEach(async () => {
    for (const id of IDS) await demo.press(id, "recover");
  });

  it("shows three backends that are well and available, and which of them answers", async () => {
    for (const id of IDS) await shows(id, "● well");
    expect(await browser.page.getByRole("heading", { level: 3 }).allInnerTexts()).toEqual(IDS);
    expect(IDS).toContain(await serving());
    await browser.page.getByRole("cell", { name: "✓ 200" }).first().waitFor();
    await browser.page
      .locator("#socket")
      .getByText(/message \d+/)
      .waitFor();
  });

  it("shows that another backend answers, with no request lost, until the one that failed has recovered", async () => {
    const id = await serving();
    await press("Answer 503", id);
    await shows(id, "! answers 503");
    await shows(id, "(check: bad status)");
    await expect.poll(serving).not.toBe(id);

    await press("Recover", id);
    await shows(id, "● well");
    await shows(id, "● available");
    expect(await browser.page.getByRole("cell", { name: "✕" }).count()).toBe(0);
  });

  it("has no fault that axe-core knows of, light or dark, while all is well and while a backend is dead", async () => {
    const faults = async () => {
      for (const colorScheme of ["light", "dark"] as const) {
        await browser.page.emulateMedia({ colorScheme });
        expect(await accessibilityFaults(browser.page), colorScheme).toEqual([]);
      }
    };
    await faults();
    const id = await serving();
    await press("Die", id);
    await shows(id, "✕ ejected");
    await faults();
  });

  it("never scrolls sideways, on a phone or a desktop", async () => {
    for (const viewport of [PHONE, DESKTOP, { width: 320, height: 600 }]) {
      await browser.page.setViewportSize(viewport);
      expect(await overhang(browser.page), `${viewport.width} px`).toBe(0);
    }
  });
});

// It stands here because this demo is running already, and has to end somehow.
it("leaves no process behind when the demo is killed, not even a frozen one", async () => {
  await demo.press("koyeb", "hang");
  const processes = await demo.family();
  demo.child.kill("SIGKILL");
  await demo.ended();
  await untilGone(processes.map(({ pid }) => pid));
});
