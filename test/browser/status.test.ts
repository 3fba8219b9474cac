import { describe, expect, it } from "vitest";
import { boundTo, loadBalancer } from "../support/fixture.ts";
import { accessibilityFaults, DESKTOP, overhang, PHONE, visit } from "../support/page.ts";

const HOST = "localhost";
const PATH = "/lb-status-8f3a";

/** The browser says as Cloudflare would that it came by HTTPS, and at which data centre. */
const browser = visit({ "Test-Scheme": "https", "Test-Cf": JSON.stringify({ colo: "FRA" }) });
const lb = loadBalancer({
  PROBE_AFTER: 60_000,
  // It is on standby as long as one of the others is up, so nothing has to listen there.
  BACKEND_HOME: "http://127.0.0.1:9 backup",
  PRIMARY_DOMAIN: HOST,
  STATUS_PATH: PATH,
});

const open = (query = "") => browser.page.goto(`http://${HOST}:${lb.worker.port}${PATH}${query}`);
const heading = (name: string) => browser.page.getByRole("heading", { name, exact: true });
const row = (id: string) => browser.page.getByRole("listitem").filter({ has: heading(id) });
const rowText = (id: string) => row(id).innerText();
const colours = () =>
  browser.page.evaluate(
    "[getComputedStyle(document.body).color, getComputedStyle(document.querySelector('h1 i')).backgroundColor]",
  );

/** Kills koyeb, and lets a user's request find that out. */
async function loseKoyeb(): Promise<void> {
  await lb.koyeb.kill();
  expect(await lb.servedBy(boundTo("koyeb", { host: HOST }))).not.toBe("koyeb");
}

describe("the status page in a browser", () => {
  it("shows each backend, and by itself that one that was down has recovered", async () => {
    await loseKoyeb();
    await open();
    expect(await browser.page.title()).toBe("2 of 3 backends are up · load balancer");
    expect(await rowText("cf")).toMatch(/Up\s+for \d+ s\s+Last check\s+answered 200 in [\d,]+ ms/);
    expect(await rowText("koyeb")).toMatch(/Down\s+for \d+ s, checked again.*\s+Why\s+check: network error/);
    expect(await rowText("home")).toMatch(/Backup, standby\s+not used while another backend is up/);
    expect(await row("duck").getByRole("img").getAttribute("aria-label")).toMatch(/^Last hour: /);
    expect(await browser.page.getByText("FRA").isVisible()).toBe(true);

    await lb.koyeb.start();
    // The page refreshes itself, and its check brings the backend back.
    await heading("All 3 backends are up").waitFor();
    expect(await rowText("koyeb")).toMatch(/Up\s+for \d+ s.*Last failure\s+network error, /s);
  });

  it("has no fault, light or dark, narrow or wide, while it is paused, and goes on again", async () => {
    for (const isLost of [false, true]) {
      if (isLost) await loseKoyeb();
      await open("?refresh=off");
      for (const colorScheme of ["light", "dark"] as const) {
        await browser.page.emulateMedia({ colorScheme });
        const all = `${colorScheme}, ${isLost ? "one is down" : "all is well"}`;
        const [text, sign] = colorScheme === "light" ? ["0, 0, 0", "21, 115, 71"] : ["255, 255, 255", "76, 195, 138"];
        expect(await colours(), all).toEqual([`rgb(${text})`, isLost ? expect.any(String) : `rgb(${sign})`]);
        expect(await accessibilityFaults(browser.page), all).toEqual([]);
      }
      for (const viewport of [{ width: 320, height: 600 }, PHONE, DESKTOP]) {
        await browser.page.setViewportSize(viewport);
        expect(await overhang(browser.page), `${viewport.width} px`).toBe(0);
      }
    }
    await browser.page.getByRole("link", { name: "Go on" }).click();
    await browser.page.getByRole("link", { name: "Pause" }).click();
    await browser.page.getByRole("link", { name: "Go on" }).waitFor();
  });
});
