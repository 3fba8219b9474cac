import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { run, temporaryDirectory } from "./cleanup.ts";

export const ROOT = join(import.meta.dirname, "../..");

/** What Wrangler says of a build. */
export interface Build {
  readonly path: string;
  /** The size of the upload; what a plan limits. */
  readonly gzipKiB: number;
}

/** Builds the Worker in `directory` as a deployment does. */
export async function build(directory: string): Promise<Build> {
  const outdir = temporaryDirectory();
  const stdout = await wrangler(directory, "deploy", "--dry-run", "--outdir", outdir);
  return { path: join(outdir, "index.js"), gzipKiB: found(stdout, /gzip: ([\d.]+) KiB/) };
}

/** Builds the Worker as it was at a revision. */
export async function buildRevision(revision: string): Promise<Build> {
  const directory = temporaryDirectory();
  const archive = join(directory, "source.tar");
  try {
    // A name that begins with a dash would be read as an option of git.
    await run(ROOT, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`);
  } catch {
    throw new Error(`--base must be a revision that git knows, found "${revision}"`);
  }
  await run(ROOT, "git", "archive", "--output", archive, revision, "src", "wrangler.toml", "tsconfig.json");
  const source = join(directory, "source");
  await mkdir(source);
  await run(directory, "tar", "-xf", archive, "-C", source);
  return build(source);
}

/**
 * How long the Worker's top level runs at a start, in ms, as Wrangler's sampling profile has it: the least of three, since
 * whatever else the machine does can only add to it.
 */
export async function startUpMs(): Promise<number> {
  const outfile = join(temporaryDirectory(), "startup.cpuprofile");
  const profiles: number[] = [];
  for (let i = 0; i < 3; i++) {
    profiles.push(found(await wrangler(ROOT, "check", "startup", "--outfile", outfile), /Active: ([\d.]+) ms/));
  }
  return Math.min(...profiles);
}

function wrangler(cwd: string, ...args: string[]): Promise<string> {
  return run(cwd, join(ROOT, "node_modules/.bin/wrangler"), ...args);
}

function found(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? Number.NaN);
}
