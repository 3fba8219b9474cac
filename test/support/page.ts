import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import axe from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";

export const PHONE = { width: 375, height: 800 };
export const DESKTOP = { width: 1200, height: 900 };

/** A busy machine may take long over a page. */
const PATIENCE_MS = 100_000;

/** Why the browser tests are not run, where they are not. */
const NO_CHROMIUM = "no Chromium was found: install it (apt-get install chromium), or name one in CHROMIUM_PATH";

/** Beside those by which Playwright itself has the browser leave the network alone. */
const CHROMIUM_FLAGS = ["--disable-gpu", "--disable-quic"];

const CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The path of a Chromium on this machine, or `undefined`. Where `CHROMIUM_PATH` is set it is that one or none. */
function findChromium({ CHROMIUM_PATH, PATH = "" } = process.env): string | undefined {
  const directories = [...PATH.split(delimiter), "/usr/bin"];
  const candidates = directories.flatMap((directory) => CHROMIUM_NAMES.map((name) => join(directory, name)));
  return (CHROMIUM_PATH === undefined ? candidates : [CHROMIUM_PATH]).find((path) => existsSync(path));
}

export interface Visit {
  page: Page;
}

/**
 * A new page of a real browser before each test of the suite that calls it. After each test the browser must have had
 * nothing to complain of: no error in the console, which is also where it reports what a Content-Security-Policy refused.
 * Without a browser the tests are not run, and say why.
 */
export function visit(headers: Record<string, string> = {}): Visit {
  const visit = {} as Visit;
  let browser: Browser | undefined;
  let complaints: string[] = [];

  beforeAll(async () => {
    const executablePath = findChromium();
    if (executablePath) browser = await chromium.launch({ executablePath, args: CHROMIUM_FLAGS, timeout: PATIENCE_MS });
  });

  beforeEach(async ({ skip }) => {
    if (!browser) return skip(NO_CHROMIUM);
    complaints = [];
    visit.page = await browser.newPage({ viewport: DESKTOP, extraHTTPHeaders: headers });
    visit.page.setDefaultTimeout(PATIENCE_MS);
    visit.page.on("pageerror", (error) => complaints.push(error.message));
    visit.page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
  });

  afterEach(async () => {
    await visit.page?.close();
    expect(complaints).toEqual([]);
  });

  afterAll(() => browser?.close());

  return visit;
}

/** What axe-core finds wrong with a page, each with the elements that it found it at. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  // It takes a page that has no background of its own for white, whatever colour the browser gives it.
  await page.evaluate("document.documentElement.style.backgroundColor ||= 'Canvas'");
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
  return violations.map(
    ({ id, impact, nodes }) => `${impact}: ${id} at ${nodes.map(({ target }) => target).join(", ")}`,
  );
}

/** By how many pixels a page is wider than its window. */
export function overhang(page: Page): Promise<number> {
  return page.evaluate(
    "document.documentElement.scrollWidth - document.documentElement.clientWidth",
  ) as Promise<number>;
}
