import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { PAGE_PATH } from "../demo/backend.ts";
import { IDS } from "../demo/stack.ts";
import { DemoProcess } from "../e2e/demo-process.ts";
import { accessibilityFaults, DESKTOP, overhang, PHONE, visit } from "../support/page.ts";

const DOWN_TIME_MS = 1_000;

const browser = visit();
let demo: DemoProcess | undefined;

const backend = (id: string) => browser.page.getByRole("region", { name: id, exact: true });
const press = (action: string, id: string) => browser.page.getByRole("button", { name: `${action}: ${id}` }).click();
const shows = (id: string, text: string) => backend(id).getByText(text).waitFor({ timeout: 20_000 });

/** The backend that the page says answered it last. */
async function serving(): Promise<string> {
  await browser.page.locator(".backend.serving").waitFor();
  return browser.page.locator("#answered-by").innerText();
}

async function open(): Promise<void> {
  await browser.page.goto(`${demo?.url}${PAGE_PATH}`);
  for (const id of IDS) await shows(id, "gets requests");
}

beforeAll(async () => {
  if (inject("chromium")) demo = await DemoProcess.start("--down-time", String(DOWN_TIME_MS));
});

beforeEach(() => open());

afterEach(async () => {
  for (const id of IDS) await demo?.press(id, "recover");
});

afterAll(() => demo?.stop());

describe("the demo's page in a browser", () => {
  it("shows three backends that run and get requests, and which of them answers", async () => {
    for (const id of IDS) await shows(id, "● running");
    const id = await serving();
    expect(IDS).toContain(id);
    await browser.page.getByRole("cell", { name: "✓ 200" }).first().waitFor();
    await browser.page
      .locator("#socket")
      .getByText(/message \d+/)
      .waitFor();
  });

  it.each([
    ["Die", "✕ killed", "out for"],
    ["Answer 503", "! answers 503", "(check: bad status)"],
  ])("%s: another backend answers, no request fails, and the backend comes back", async (action, state, why) => {
    const id = await serving();
    await press(action, id);
    await shows(id, state);
    await shows(id, why);
    await expect.poll(serving).not.toBe(id);

    await press("Recover", id);
    await shows(id, "● running");
    await shows(id, "gets requests");
    expect(await browser.page.getByRole("cell", { name: "✕" }).count()).toBe(0);
  });

  for (const colorScheme of ["light", "dark"] as const) {
    it(`has no fault that axe-core knows of, in ${colorScheme}, while all is well and while a backend is dead`, async () => {
      await browser.page.emulateMedia({ colorScheme });
      expect(await accessibilityFaults(browser.page)).toEqual([]);
      const id = await serving();
      await press("Die", id);
      await shows(id, "out for");
      expect(await accessibilityFaults(browser.page)).toEqual([]);
    });
  }

  it("never scrolls sideways, on a phone or a desktop", async () => {
    for (const viewport of [PHONE, DESKTOP, { width: 320, height: 600 }]) {
      await browser.page.setViewportSize(viewport);
      expect(await overhang(browser.page), `${viewport.width} px`).toBe(0);
    }
  });
});
