import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { buildWorker } from "./worker.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The path of the built Worker. */
    script: string;
  }
}

/** Builds the Worker once for all tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "load-balancer-build-"));
  project.provide("script", await buildWorker(directory));
  return () => rm(directory, { recursive: true, force: true });
}
