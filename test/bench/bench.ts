import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { readCompatibility } from "../support/build.ts";
import type { Compatibility, Workerd } from "../support/workerd.ts";
import { build, buildRevision, ROOT, startUpMs } from "./builds.ts";
import { besideBase, CASES, type Case, exchange, headersOf, MESSAGE, type Subject } from "./cases.ts";
import { cleanUp } from "./cleanup.ts";
import { type Load, openDownloads, openHttp, openWebSockets } from "./load.ts";
import { type CaseReport, type Report, type Round, render, renderCase, reportOf } from "./report.ts";
import { cpuMicros, startBackends, startSubject } from "./subjects.ts";

const USAGE = `npm run bench -- [options]

What the Worker costs beside a Worker that only forwards. Every subject runs in a workerd process of its own; they are
driven in turn, round by round.

  --rounds N       rounds of each case (default 7)
  --seconds N      seconds of each subject in a round (default 2)
  --case NAME      only this case; may be repeated: ${CASES.map(({ name }) => name).join(", ")}
  --base REV       compare with the Worker as it was at this git revision
  --worker PATH    compare with this built module
  --json           print JSON instead of tables
  --help           print this text
`;

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly cases: readonly Case[];
  readonly base: string | undefined;
  readonly worker: string | undefined;
  readonly json: boolean;
}

/** Fault in what was asked for, as opposed to one in what was measured. */
class UsageError extends Error {}

function parseOptions(): Options | "help" {
  let values: ReturnType<typeof parseFlags>;
  try {
    values = parseFlags();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return "help";
  if (values.base !== undefined && values.worker !== undefined) {
    throw new UsageError("--base and --worker exclude each other: one build is compared with");
  }
  if (values.worker !== undefined && !existsSync(values.worker)) {
    throw new UsageError(`--worker must be the path of a built module, found "${values.worker}"`);
  }
  return {
    rounds: positive("--rounds", values.rounds, true),
    seconds: positive("--seconds", values.seconds, false),
    cases: values.case.length === 0 ? CASES : values.case.map(caseOf),
    base: values.base,
    worker: values.worker,
    json: values.json,
  };
}

function parseFlags() {
  return parseArgs({
    options: {
      rounds: { type: "string", default: "7" },
      seconds: { type: "string", default: "2" },
      case: { type: "string", multiple: true, default: [] },
      base: { type: "string" },
      worker: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  }).values;
}

function positive(flag: string, text: string, whole: boolean): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value) && (!whole || Number.isInteger(value))) return value;
  throw new UsageError(`${flag} must be a ${whole ? "whole " : ""}number above 0, found "${text}"`);
}

function caseOf(name: string): Case {
  const benchCase = CASES.find((known) => known.name === name);
  if (benchCase) return benchCase;
  throw new UsageError(`--case must be one of ${CASES.map((known) => known.name).join(", ")}, found "${name}"`);
}

/** Progress goes to stderr, so that stdout can be piped. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function bench(options: Options): Promise<Report> {
  say("Building the Worker ...");
  const built = await build(ROOT);
  const compatibility = await readCompatibility();
  const startUp = await startUpMs();
  const base = options.base === undefined ? options.worker : (await buildRevision(options.base)).path;
  const cases = base === undefined ? options.cases : options.cases.map(besideBase);
  const count = Math.max(...cases.flatMap(({ subjects }) => subjects.map((subject) => subject.backends)));
  const setup: Setup = {
    paths: { worker: built.path, base: base ?? built.path },
    compatibility,
    backends: await startBackends(count, compatibility),
  };

  const reports: CaseReport[] = [];
  for (const benchCase of cases) {
    say(`${benchCase.name}: ${options.rounds} rounds of ${benchCase.subjects.length} subjects ...`);
    const report = await measure(benchCase, options, setup);
    reports.push(report);
    if (!options.json) process.stdout.write(renderCase(report));
  }
  return {
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, Node ${process.versions.node}`,
    rounds: options.rounds,
    seconds: options.seconds,
    gzipKiB: built.gzipKiB,
    startUpMs: startUp,
    cases: reports,
  };
}

/** What all cases share. */
interface Setup {
  /** The builds that are measured. */
  readonly paths: Readonly<Record<"worker" | "base", string>>;
  readonly compatibility: Compatibility;
  readonly backends: Workerd;
}

/** Drives the subjects of a case in turn, A B C A B C, so that whatever else the machine does falls on all of them. */
async function measure(
  benchCase: Case,
  { rounds, seconds }: Options,
  { paths, compatibility, backends }: Setup,
): Promise<CaseReport> {
  const running: Running[] = [];
  for (const subject of benchCase.subjects) {
    running.push({ subject, worker: await startSubject(subject, paths, compatibility, backends), rounds: [] });
  }
  // The first turn compiles and opens connections; it is checked, but not counted.
  for (const each of running) failOn(await drive(benchCase, each, seconds, backends), each.subject);
  for (let round = 0; round < rounds; round++) {
    for (const each of running) each.rounds.push(await drive(benchCase, each, seconds, backends));
  }
  for (const { worker } of running) await worker.stop();
  return reportOf(benchCase, running);
}

interface Running {
  readonly subject: Subject;
  readonly worker: Awaited<ReturnType<typeof startSubject>>;
  readonly rounds: Round[];
}

function failOn({ firstError }: Round, { name }: Subject): void {
  if (firstError !== undefined) throw new Error(`${name} gave a wrong answer: ${firstError}`);
}

/** One turn of one subject. */
async function drive(
  benchCase: Case,
  { subject, worker }: Running,
  seconds: number,
  backends: Workerd,
): Promise<Round> {
  const load = await open(benchCase, subject, worker.port);
  const subjectBefore = cpuMicros(worker.process);
  const backendBefore = cpuMicros(backends.process);
  const generatorBefore = process.cpuUsage();
  const sample = await load.run(seconds);
  const generator = process.cpuUsage(generatorBefore);
  const round: Round = {
    ...sample,
    subjectCpuMicros: cpuMicros(worker.process) - subjectBefore,
    backendCpuMicros: cpuMicros(backends.process) - backendBefore,
    generatorCpuMicros: generator.user + generator.system,
  };
  await load.close();
  return round;
}

async function open(benchCase: Case, subject: Subject, port: number): Promise<Load> {
  const { connections, traffic } = benchCase;
  if (traffic === "WebSocket") {
    return openWebSockets(port, connections, (index) => headersOf(subject, index, true), MESSAGE);
  }
  const openLoad = traffic === "download" ? openDownloads : openHttp;
  return openLoad(port, connections, (index) => exchange(benchCase, subject, index));
}

async function main(): Promise<void> {
  const options = parseOptions();
  if (options === "help") {
    process.stdout.write(USAGE);
    return;
  }
  const report = await bench(options);
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : render(report));
  const failed = report.cases.flatMap(({ subjects }) => subjects).filter(({ errors }) => errors > 0);
  for (const { name, errors, firstError } of failed) say(`${name}: ${errors} wrong answers, the first: ${firstError}`);
  if (failed.length > 0) process.exitCode = 1;
}

let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    interrupted = true;
    void cleanUp().then(() => process.exit(130));
  });
}
try {
  await main();
} catch (error) {
  const text = (error as Error).message;
  if (!interrupted) say(error instanceof UsageError ? `${text}\n\n${USAGE}` : text);
  process.exitCode = error instanceof UsageError ? 2 : 1;
} finally {
  await cleanUp();
}
