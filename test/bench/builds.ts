import { join } from "node:path";
import { buildWorker, ROOT, type Script } from "../support/build.ts";
import { run, temporaryDirectory } from "../support/processes.ts";

/** Builds the Worker as it was at a revision. */
export async function buildRevision(revision: string): Promise<Script> {
  const directory = temporaryDirectory();
  const archive = join(directory, "source.tar");
  try {
    // A name that begins with a dash would be read as an option of git.
    await run(ROOT, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`);
  } catch {
    throw new Error(`--before must be a revision that git knows, found "${revision}"`);
  }
  await run(ROOT, "git", "archive", "--output", archive, revision, "src", "wrangler.toml", "tsconfig.json");
  await run(directory, "tar", "-xf", archive);
  return buildWorker(temporaryDirectory(), directory);
}
