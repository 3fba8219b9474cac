import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The path of Chromium; empty on a machine without one. */
    chromium: string;
  }
}

/** Why the browser tests are not run, where they are not. */
export const NO_CHROMIUM = "no Chromium was found: install it (apt-get install chromium), or name one in CHROMIUM_PATH";

/** What a test's browser is started with: nothing of its own may reach the network. */
export const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The path of a Chromium on this machine, or `undefined`. Where `CHROMIUM_PATH` is set it is that one or none. */
export function findChromium(env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (env.CHROMIUM_PATH !== undefined) return existsSync(env.CHROMIUM_PATH) ? env.CHROMIUM_PATH : undefined;
  const directories = [...(env.PATH ?? "").split(delimiter), "/usr/bin"];
  const candidates = directories.flatMap((directory) => NAMES.map((name) => join(directory, name)));
  return candidates.find((path) => existsSync(path));
}

/** Tells the tests which browser there is. */
export default function setup(project: TestProject): void {
  project.provide("chromium", findChromium() ?? "");
}
