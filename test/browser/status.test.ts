import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { type Backend, startBackends } from "../support/backend.ts";
import { boundTo, IDS } from "../support/fixture.ts";
import { accessibilityFaults, DESKTOP, overhang, PHONE, visit } from "../support/page.ts";
import { backendVars, Worker } from "../support/worker.ts";

const HOST = "localhost";
const PATH = "/lb-status-8f3a";

/** The browser says as Cloudflare would that it came by HTTPS, and at which data centre. */
const browser = visit({ "Test-Scheme": "https", "Test-Cf": JSON.stringify({ colo: "FRA" }) });
let backends: Backend[];
let worker: Worker;

const open = () => browser.page.goto(`http://${HOST}:${worker.port}${PATH}`);
const row = (id: string) =>
  browser.page.getByRole("listitem").filter({ has: browser.page.getByRole("heading", { name: id, exact: true }) });
const rowText = (id: string) => row(id).innerText();

/** Kills koyeb, and lets a user's request find that out. */
async function loseKoyeb(): Promise<void> {
  await backends[2]?.kill();
  expect((await worker.fetch("/film", boundTo("koyeb", { host: HOST }))).status).toBe(200);
}

beforeEach(async () => {
  backends = await startBackends(...IDS);
  backends.sort((a, b) => (a.id < b.id ? -1 : 1));
  worker = await Worker.start(inject("script"), {
    ...backendVars(backends),
    // It is asleep as long as one of the others is up, so nothing has to listen there.
    BACKEND_HOME: "http://127.0.0.1:9 backup",
    PRIMARY_DOMAIN: HOST,
    STATUS_PATH: PATH,
    BACKEND_DOWN_TIME: 3_000,
  });
});

afterEach(async () => {
  await worker.stop();
  await Promise.all(backends.map((backend) => backend.kill()));
});

describe("the status page in a browser", () => {
  it("shows a row for each backend with its state and its last check", async () => {
    expect((await open())?.status()).toBe(200);
    expect(await browser.page.title()).toBe("All 3 backends are up · load balancer");
    for (const id of IDS) {
      expect(await rowText(id)).toMatch(/Up\s+for \d+ s/);
      expect(await rowText(id)).toMatch(/answered 200 in \d+ ms/);
      expect(await row(id).getByRole("img").getAttribute("aria-label")).toMatch(/^Last hour: /);
    }
    expect(await browser.page.getByText("FRA").isVisible()).toBe(true);
  });

  it("shows a backup as asleep, and does not miss it", async () => {
    await open();
    expect(await rowText("home")).toMatch(/Backup, asleep\s+left alone while another backend is up/);
  });

  it("is styled under its own Content-Security-Policy", async () => {
    await open();
    const colours = await browser.page.evaluate(
      "[getComputedStyle(document.body).color, getComputedStyle(document.querySelector('h1 i')).backgroundColor]",
    );
    expect(colours).toEqual(["rgb(0, 0, 0)", "rgb(21, 115, 71)"]);
  });

  it("turns a killed backend to down with its reason, and shows by itself that it is back", async () => {
    await loseKoyeb();
    await open();
    expect(await rowText("koyeb")).toMatch(/Down\s+for \d+ s, checked again within [1-3] s/);
    expect(await rowText("koyeb")).toContain("check: network error");
    expect(await rowText("koyeb")).toMatch(/network error after \d+ ms/);
    expect(await rowText("cf")).toContain("Up");
    await browser.page.getByRole("heading", { name: "2 of 3 backends are up" }).waitFor();

    await backends[2]?.start();
    // Nobody reloads: the page refreshes itself, and its check brings the backend back.
    await browser.page.getByRole("heading", { name: "All 3 backends are up" }).waitFor({ timeout: 20_000 });
    expect(await rowText("koyeb")).toContain("Up");
    expect(await rowText("koyeb")).toMatch(/Last failure\s+network error, \d+ s ago/);
  });

  it("can be paused, and goes on again", async () => {
    await open();
    await browser.page.getByRole("link", { name: "Pause" }).click();
    await browser.page.getByRole("link", { name: "Go on" }).waitFor();
    expect(new URL(browser.page.url()).search).toBe("?refresh=off");
    await browser.page.getByRole("link", { name: "Go on" }).click();
    await browser.page.getByRole("link", { name: "Pause" }).waitFor();
  });

  for (const colorScheme of ["light", "dark"] as const) {
    it(`has no fault that axe-core knows of, in ${colorScheme}, while all is well and while a backend is down`, async () => {
      await browser.page.emulateMedia({ colorScheme });
      await open();
      expect(await accessibilityFaults(browser.page)).toEqual([]);
      await loseKoyeb();
      await open();
      expect(await rowText("koyeb")).toContain("Down");
      expect(await accessibilityFaults(browser.page)).toEqual([]);
    });
  }

  it("is dark where the visitor's system is", async () => {
    await browser.page.emulateMedia({ colorScheme: "dark" });
    await open();
    const colours = await browser.page.evaluate(
      "[getComputedStyle(document.body).color, getComputedStyle(document.querySelector('h1 i')).backgroundColor]",
    );
    expect(colours).toEqual(["rgb(255, 255, 255)", "rgb(76, 195, 138)"]);
  });

  it("never scrolls sideways, on a phone or a desktop, all well or not", async () => {
    await loseKoyeb();
    for (const viewport of [PHONE, DESKTOP, { width: 320, height: 600 }]) {
      await browser.page.setViewportSize(viewport);
      await open();
      expect(await overhang(browser.page), `${viewport.width} px`).toBe(0);
    }
  });
});
