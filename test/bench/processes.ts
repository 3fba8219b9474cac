import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { Worker } from "../support/worker.ts";
import { backendId, type Subject } from "./cases.ts";

export const ROOT = join(import.meta.dirname, "../..");
const BIN = join(ROOT, "node_modules/.bin");
const WORKERS = join(import.meta.dirname, "workers");

/** All that has to be gone when the bench ends or is interrupted. */
const cleanups: (() => Promise<unknown>)[] = [];
let ended = false;

/** Ends every process and removes every file that was made here; nothing can be made after it. */
export async function cleanUp(): Promise<void> {
  ended = true;
  for (let cleanup = cleanups.pop(); cleanup; cleanup = cleanups.pop()) await cleanup().catch(() => {});
}

function throwIfEnded(): void {
  if (ended) throw new Error("interrupted");
}

export function temporaryDirectory(): string {
  throwIfEnded();
  const directory = mkdtempSync(join(tmpdir(), "load-balancer-bench-"));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs a command to its end and resolves to what it wrote. */
async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  throwIfEnded();
  const running = promisify(execFile)(command, args, { cwd, env: { ...process.env, NO_COLOR: "1" } });
  cleanups.push(() => end(running.child, "SIGTERM"));
  return (await running).stdout;
}

/** What Wrangler says of a build. */
export interface Build {
  readonly script: string;
  /** The size of the upload; what a plan limits. */
  readonly gzipKiB: number;
}

/** Builds the Worker in `directory` as a deployment does. */
export async function build(directory: string): Promise<Build> {
  const outdir = temporaryDirectory();
  const stdout = await wrangler(directory, "deploy", "--dry-run", "--outdir", outdir);
  return { script: join(outdir, "index.js"), gzipKiB: found(stdout, /gzip: ([\d.]+) KiB/) };
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
  return run(cwd, join(BIN, "wrangler"), ...args);
}

function found(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? Number.NaN);
}

export interface Origin {
  readonly process: ChildProcess;
  readonly ports: readonly number[];
}

/** One origin, a Worker under workerd too, on as many ports as there are backends. */
export async function startOrigin(backends: number): Promise<Origin> {
  const directory = temporaryDirectory();
  const names = Array.from({ length: backends }, (_, index) => backendId(index));
  const sockets = names.map((name) => `(name = "${name}", address = "127.0.0.1:0", service = "main")`);
  await cp(join(WORKERS, "origin.js"), join(directory, "origin.js"));
  await writeFile(
    join(directory, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "origin.js", esModule = embed "origin.js")], compatibilityDate = "2026-10-23"))],
  sockets = [${sockets.join(", ")}]
);
`,
  );
  throwIfEnded();
  const workerd = spawn(join(BIN, "workerd"), ["serve", "--control-fd=3", "config.capnp"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  cleanups.push(() => end(workerd, "SIGKILL"));
  const portOf = new Map<string, number>();
  // It says, one JSON object a line, which port each socket was given.
  for await (const line of createInterface(workerd.stdio[3] as Readable)) {
    const { event, socket, port } = JSON.parse(line) as { event: string; socket: string; port: number };
    if (event === "listen") portOf.set(socket, port);
    if (portOf.size === names.length) break;
  }
  const ports = names.flatMap((name) => portOf.get(name) ?? []);
  if (ports.length < names.length) throw new Error("the origin did not start");
  return { process: workerd, ports };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
}

/** Starts a subject in a process of its own, so that its CPU time can be told from all others'. */
export async function startSubject(
  { program, backends, down }: Subject,
  scripts: Readonly<Record<"worker" | "base", string>>,
  origin: Origin,
): Promise<Worker> {
  throwIfEnded();
  const isReference = program === "floor" || program === "forward";
  const script = isReference ? join(WORKERS, `${program}.js`) : scripts[program];
  const starting = Worker.start(script, isReference ? referenceVars(origin) : balancerVars(backends, down, origin));
  cleanups.push(async () => (await starting).stop());
  return starting;
}

function referenceVars(origin: Origin): Record<string, string> {
  return { ORIGIN_HOST: `127.0.0.1:${origin.ports[0]}` };
}

/** Nothing listens on port 1 (TCPMUX, RFC 1078), so a backend there is down. */
function balancerVars(backends: number, down: number, origin: Origin): Record<string, string> {
  const vars: Record<string, string> = {};
  for (let i = 0; i < backends; i++) {
    const port = i < backends - down ? origin.ports[i] : 1;
    vars[`BACKEND_${backendId(i).toUpperCase()}`] = `http://127.0.0.1:${port}`;
  }
  return vars;
}

/** Linux counts CPU time in hundredths of a second, on every architecture (`USER_HZ`, proc(5)). */
const MICROS_PER_TICK = 10_000;

/** The CPU time that a process has used, all its threads, in µs; `NaN` where there is no /proc. */
export function cpuMicros(child: ChildProcess): number {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${child.pid}/stat`, "latin1");
  } catch {
    return Number.NaN;
  }
  // The second field is the command's name, in brackets, and may hold blanks; 14 and 15 are user and system time.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * MICROS_PER_TICK;
}
