import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { run } from "./processes.ts";
import type { Compatibility } from "./workerd.ts";

export const ROOT = join(import.meta.dirname, "../..");

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

/** Builds the Worker in `directory` with Wrangler, exactly as a deployment does; a plan limits the size of the upload. */
export async function buildWorker(outdir: string, directory = ROOT): Promise<Script & { readonly gzipKiB: number }> {
  const wrangler = join(ROOT, "node_modules/.bin/wrangler");
  const building = run(directory, wrangler, "deploy", "--dry-run", "--outdir", outdir);
  const [compatibility, output] = await Promise.all([readCompatibility(directory), building]);
  return { path: join(outdir, "index.js"), compatibility, gzipKiB: Number(/gzip: ([\d.]+) KiB/.exec(output)?.[1]) };
}

/** What wrangler.toml says. To load Wrangler takes a second. */
async function readCompatibility(directory: string): Promise<Compatibility> {
  const { unstable_readConfig } = await import("wrangler");
  const { compatibility_date, compatibility_flags } = unstable_readConfig({ config: join(directory, "wrangler.toml") });
  if (compatibility_date === undefined) throw new Error("wrangler.toml has no compatibility date");
  return { compatibilityDate: compatibility_date, compatibilityFlags: compatibility_flags };
}

/** Builds the Worker once for all tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "load-balancer-build-"));
  project.provide("script", await buildWorker(directory));
  return () => rm(directory, { recursive: true, force: true });
}
