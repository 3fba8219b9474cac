import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** For the environment of programs that load Wrangler: to compile it each time would take longer than what they do. */
export const COMPILE_CACHE = { NODE_COMPILE_CACHE: join(import.meta.dirname, "../../node_modules/.cache/node") };

export function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** Resolves once it has ended, to its exit code or to the signal that ended it. */
export async function exited(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  if (isRunning(child)) await once(child, "exit");
  return child.exitCode ?? child.signalCode;
}

/** Ends a child; resolves once it is gone. One that ignores the signal for `patienceMs` is killed. */
export async function end(child: ChildProcess, signal: NodeJS.Signals = "SIGKILL", patienceMs?: number): Promise<void> {
  if (!isRunning(child)) return;
  const timer = patienceMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), patienceMs);
  child.kill(signal);
  await exited(child);
  clearTimeout(timer);
}

/** The program and arguments that run a command in a terminal of its own, of which stdin is the keyboard. */
export function inTerminal(...command: string[]): [program: string, args: string[]] {
  // The two kinds of script(1): that of util-linux and that of the BSDs.
  const isLinux = process.platform === "linux";
  return ["script", isLinux ? ["-qec", command.join(" "), "/dev/null"] : ["-q", "/dev/null", ...command]];
}

/** Reads "+ pid" and "- pid"; kills those that are left once the process that writes is gone. */
const WATCHDOG = `
while read -r change pid; do
  case $change in
    +) left="$left $pid" ;;
    -) still=; for one in $left; do [ "$one" = "$pid" ] || still="$still $one"; done; left=$still ;;
  esac
done
[ -z "$left" ] || kill -9 $left`;

let watchdog: Socket | undefined;

/**
 * Has a child end with this process, however this process ends: by a crash or SIGKILL too. workerd, and whatever is frozen,
 * would go on for ever. With the leader of a group the whole group ends.
 */
export function endWithProcess(child: ChildProcess, { isLeader = false } = {}): void {
  if (child.pid === undefined || !isRunning(child)) return;
  watchdog ??= startWatchdog();
  watchdog.write(`+ ${isLeader ? -child.pid : child.pid}\n`);
  // A group may outlive its leader.
  if (!isLeader) child.once("exit", () => watchdog?.write(`- ${child.pid}\n`));
}

function startWatchdog(): Socket {
  // In a process group of its own, or Ctrl-C would end it first.
  const shell = spawn("sh", ["-c", WATCHDOG], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  shell.unref();
  const input = shell.stdin as unknown as Socket;
  input.unref();
  input.on("error", () => {});
  return input;
}

/** What a program has started; all of it has to be gone when the program ends or is interrupted. */
const endings: (() => Promise<unknown>)[] = [];
let hasEnded = false;

/** Resolves to what was started; it is stopped at the end, even when that comes before it has started. */
export function start<T extends { stop(): Promise<unknown> }>(starting: () => Promise<T>): Promise<T> {
  throwIfEnding();
  const started = starting();
  endings.push(async () => (await started).stop());
  return started;
}

/** A directory that is removed at the end. */
export function temporaryDirectory(): string {
  throwIfEnding();
  const directory = mkdtempSync(join(tmpdir(), "load-balancer-"));
  endings.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs a command to its end, or to that of the program; resolves to what it wrote. */
export async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  throwIfEnding();
  const env = { ...process.env, ...COMPILE_CACHE, NO_COLOR: "1" };
  const running = promisify(execFile)(command, args, { cwd, env });
  endings.push(() => end(running.child, "SIGTERM"));
  return (await running).stdout;
}

/** Whether the end has begun: what fails from then on fails because of that. */
export function isEnding(): boolean {
  return hasEnded;
}

function throwIfEnding(): void {
  if (hasEnded) throw new Error("interrupted");
}

let stopped: Promise<void> | undefined;

/** Stops everything, the latest first; nothing can be started after it. Resolves, each time, once all of it has stopped. */
export function endAll(): Promise<void> {
  hasEnded = true;
  stopped ??= stopAll();
  return stopped;
}

async function stopAll(): Promise<void> {
  // What is stopped twice is gone already.
  for (let ending = endings.pop(); ending; ending = endings.pop()) await ending().catch(() => {});
}

/** Has a program that is interrupted, or fails, leave nothing behind either. */
export function endAllWithProcess(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => void endAll().then(() => process.exit(130)));
  }
  process.on("uncaughtException", (error) => {
    if (!hasEnded) console.error(error);
    void endAll().then(() => process.exit(1));
  });
}

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly args: string;
}

/** All processes that run. One that has ended, and that its parent has not asked about yet, does not. */
export async function livingProcesses(): Promise<Process[]> {
  const { stdout } = await promisify(execFile)("ps", ["-eo", "pid=,ppid=,pgid=,stat=,args="], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.split("\n").flatMap((line) => {
    const [, pid, parent, group, state = "", args = ""] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (pid === undefined || state.startsWith("Z")) return [];
    return [{ pid: Number(pid), parent: Number(parent), group: Number(group), args }];
  });
}

/** A process and all that it started, directly or not. */
export function family(processes: readonly Process[], pid: number): Process[] {
  const self = processes.filter((process) => process.pid === pid);
  const children = processes.filter((process) => process.parent === pid);
  return [...self, ...children.flatMap((child) => family(processes, child.pid))];
}
