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
const heading = (name: string | RegExp) => browser.page.getByRole("heading", { name });
/** What a backend's card says, in one line. */
async function cardText(id: string): Promise<string> {
  const card = browser.page.locator("section").filter({ has: heading(new RegExp(`^. ${id}: `)) });
  return (await card.innerText()).replace(/\s+/g, " ");
}
const colours = () =>
  browser.page.evaluate("[document.body, document.querySelector('h1')].map((one) => getComputedStyle(one).color)");

/** Kills koyeb, and lets a user's request find that out. */
async function loseKoyeb(): Promise<void> {
  await lb.koyeb.kill();
  expect(await lb.servedBy(boundTo("koyeb", { host: HOST }))).not.toBe("koyeb");
}

describe("the status page in a browser", () => {
  it("shows each backend, and by itself that one that was down has recovered", async () => {
    await loseKoyeb();
    await open();
    expect(await browser.page.title()).toBe("2 of 3 backends up");
    expect(await cardText("cf")).toMatch(/up for \d+ s LAST CHECK good, .* LAST HOUR \d requests, 0 failed$/);
    expect(await cardText("koyeb")).toMatch(/down for \d+ s WHY check: network error NEXT CHECK within \d+ s /);
    expect(await cardText("home")).toMatch(/standby, unknown for \d+ s /);
    expect(await browser.page.getByText("FRA").isVisible()).toBe(true);

    await lb.koyeb.start();
    // The page refreshes itself, and its check brings the backend back.
    await heading("3 of 3 backends up").waitFor();
    expect(await cardText("koyeb")).toMatch(/up for \d+ s .* LAST FAILURE network error, /);
  });

  it("has no fault, light or dark, narrow or wide, while it is paused, and goes on again", async () => {
    for (const isLost of [false, true]) {
      if (isLost) await loseKoyeb();
      await open("?refresh=off");
      for (const colorScheme of ["light", "dark"] as const) {
        await browser.page.emulateMedia({ colorScheme });
        const all = `${colorScheme}, ${isLost ? "one is down" : "all is well"}`;
        const text = colorScheme === "light" ? "rgb(0, 0, 0)" : "rgb(255, 255, 255)";
        expect(await colours(), all).toEqual([text, isLost ? "rgb(210, 105, 30)" : "rgb(46, 139, 87)"]);
        expect(await accessibilityFaults(browser.page), all).toEqual([]);
      }
      for (const viewport of [{ width: 320, height: 600 }, PHONE, DESKTOP]) {
        await browser.page.setViewportSize(viewport);
        expect(await overhang(browser.page), `${viewport.width} px`).toBe(0);
      }
    }
    await browser.page.getByRole("link", { name: "Go on refreshing" }).click();
    await browser.page.getByRole("link", { name: "Pause refreshing" }).click();
    await browser.page.getByRole("link", { name: "Go on refreshing" }).waitFor();
  });
});
