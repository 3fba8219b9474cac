import { type ChildProcess, execFile } from "node:child_process";
import { once } from "node:events";
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

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly args: string;
}

/** All processes that run. One that has ended, and that nobody has asked about yet, does not. */
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

/** Those of the processes that have one of these ids, or belong to the group of one of them. */
export function groupOrSelf(processes: readonly Process[], pids: readonly number[]): Process[] {
  return processes.filter(({ pid, group }) => pids.includes(pid) || pids.includes(group));
}

/** A process and all that it started, directly or not. */
export function family(processes: readonly Process[], pid: number): Process[] {
  const self = processes.filter((process) => process.pid === pid);
  const children = processes.filter((process) => process.parent === pid);
  return [...self, ...children.flatMap((child) => family(processes, child.pid))];
}
