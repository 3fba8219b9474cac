import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";
import { COMPILE_CACHE } from "./processes.ts";
import type { Compatibility } from "./workerd.ts";

const ROOT = join(import.meta.dirname, "../..");

/** A module that can be run, and the runtime that it wants. */
export interface Script {
  readonly path: string;
  readonly compatibility: Compatibility;
}

declare module "vitest" {
  interface ProvidedContext {
    /** The built Worker. */
    script: Script;
  }
}

/** Builds the Worker with Wrangler, exactly as a deployment does. */
export async function buildWorker(outdir: string): Promise<Script> {
  const wrangler = join(ROOT, "node_modules/.bin/wrangler");
  const building = promisify(execFile)(wrangler, ["deploy", "--dry-run", "--outdir", outdir], {
    cwd: ROOT,
    env: { ...process.env, ...COMPILE_CACHE },
  });
  const [compatibility] = await Promise.all([readCompatibility(), building]);
  return { path: join(outdir, "index.js"), compatibility };
}

/** What wrangler.toml says. To be called once in a run: it takes a second, to load Wrangler. */
export async function readCompatibility(): Promise<Compatibility> {
  const { unstable_readConfig } = await import("wrangler");
  const { compatibility_date, compatibility_flags } = unstable_readConfig({ config: join(ROOT, "wrangler.toml") });
  if (compatibility_date === undefined) throw new Error("wrangler.toml has no compatibility date");
  return { compatibilityDate: compatibility_date, compatibilityFlags: compatibility_flags };
}

/** Builds the Worker once for all tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "load-balancer-build-"));
  project.provide("script", await buildWorker(directory));
  return () => rm(directory, { recursive: true, force: true });
}
