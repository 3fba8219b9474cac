import { join } from "node:path";
import { run, temporaryDirectory } from "../support/processes.ts";

export const ROOT = join(import.meta.dirname, "../..");

/** Builds the Worker in `directory` as a deployment does; a plan limits the size of the upload. */
export async function build(directory: string): Promise<{ path: string; gzipKiB: number }> {
  const outdir = temporaryDirectory();
  const wrangler = join(ROOT, "node_modules/.bin/wrangler");
  const stdout = await run(directory, wrangler, "deploy", "--dry-run", "--outdir", outdir);
  return { path: join(outdir, "index.js"), gzipKiB: Number(/gzip: ([\d.]+) KiB/.exec(stdout)?.[1] ?? Number.NaN) };
}

/** Builds the Worker as it was at a revision. */
export async function buildRevision(revision: string): ReturnType<typeof build> {
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
  return build(directory);
}
