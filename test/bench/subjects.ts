import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { start } from "../support/processes.ts";
import { backendVars, Worker } from "../support/worker.ts";
import { type Compatibility, type Vars, Workerd } from "../support/workerd.ts";
import { backendId, type Subject } from "./cases.ts";

const WORKERS = join(import.meta.dirname, "workers");

/** All backends: one Worker under workerd too, on as many ports as there are backends. */
export function startBackends(count: number, compatibility: Compatibility): Promise<Workerd> {
  const { compatibilityDate } = compatibility;
  const sockets = Array.from({ length: count }, (_, index) => backendId(index));
  const modules = { "backend.js": join(WORKERS, "backend.js") };
  return start(() => Workerd.start({ modules, compatibility: { compatibilityDate, compatibilityFlags: [] }, sockets }));
}

/** What all cases share. */
export interface Setup {
  /** The builds that are measured. */
  readonly paths: Readonly<Record<"worker" | "before", string>>;
  readonly compatibility: Compatibility;
  readonly backends: Workerd;
}

/** Starts a subject in a process of its own, so that its CPU time can be told from all others'. */
export function startSubject(subject: Subject, { paths, compatibility, backends }: Setup): Promise<Worker> {
  const { program } = subject;
  const path = program === "floor" ? join(WORKERS, "floor.js") : paths[program];
  const floorVars = { BACKEND: `http://127.0.0.1:${backends.port(backendId(0))}` };
  const vars = program === "floor" ? floorVars : balancerVars(subject, backends);
  return start(() => Worker.start({ path, compatibility }, vars));
}

/** Nothing listens on port 1 (TCPMUX, RFC 1078), so a backend there is down. */
function balancerVars({ backends, down }: Subject, running: Workerd): Vars {
  const urlOf = (index: number) => `http://127.0.0.1:${index < backends - down ? running.port(backendId(index)) : 1}`;
  return backendVars(Array.from({ length: backends }, (_, index) => ({ id: backendId(index), url: urlOf(index) })));
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
