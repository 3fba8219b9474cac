import { median, percentile, type Spread, spread } from "../support/statistics.ts";
import type { Case, Subject } from "./cases.ts";
import type { Sample } from "./load.ts";

/** One turn of one subject, with the CPU time that it took of everybody. */
export interface Round extends Sample {
  readonly subjectCpuMicros: number;
  readonly backendCpuMicros: number;
  readonly generatorCpuMicros: number;
}

export interface SubjectReport {
  readonly name: string;
  /** Medians of the rounds. */
  readonly perSecond: number;
  readonly cpuMicrosPerUnit: number;
  /** Of all exchanges of all rounds. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  readonly firstError: string | undefined;
  /** How much of one core each process used, 1 being all of it: what is near 1 was the limit. */
  readonly busy: { readonly subject: number; readonly backend: number; readonly generator: number };
}

/** A subject's round divided by the same round of another, over all rounds; above 1 the subject is the better one. */
export interface RatioReport {
  readonly subject: string;
  readonly against: string;
  readonly perSecond: Spread;
  /** Units per second of the subject's own CPU time: the same question, without what else the machine was doing. */
  readonly perCpuSecond: Spread;
}

export interface CaseReport {
  readonly name: string;
  readonly title: string;
  readonly goal: string;
  readonly unit: string;
  readonly connections: number;
  readonly subjects: readonly SubjectReport[];
  readonly ratios: readonly RatioReport[];
}

export interface Report {
  readonly machine: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly gzipKiB: number;
  readonly startUpMs: number;
  readonly cases: readonly CaseReport[];
}

interface Measured {
  readonly subject: Subject;
  readonly rounds: readonly Round[];
}

export function reportOf(benchCase: Case, measured: readonly Measured[]): CaseReport {
  const { name, title, goal, unit, connections } = benchCase;
  const ratios = measured.flatMap((one) =>
    one.subject.against.map((against) => {
      const other = measured.find(({ subject }) => subject.name === against);
      if (!other) throw new Error(`${name} has no subject ${against}`);
      return ratioOf(one, other);
    }),
  );
  return {
    name,
    title,
    goal,
    unit: unit.name,
    connections,
    subjects: measured.map((one) => subjectReport(one, unit.perExchange)),
    ratios,
  };
}

function subjectReport({ subject, rounds }: Measured, unitsPerExchange: number): SubjectReport {
  const latenciesMs = rounds.flatMap((round) => round.latenciesMs);
  const busy = (cpuMicros: (round: Round) => number) =>
    median(rounds.map((round) => cpuMicros(round) / 1_000 / round.elapsedMs));
  return {
    name: subject.name,
    perSecond: median(rounds.map(perSecond)) * unitsPerExchange,
    cpuMicrosPerUnit: 1_000_000 / (median(rounds.map(perCpuSecond)) * unitsPerExchange),
    p50Ms: percentile(latenciesMs, 50),
    p99Ms: percentile(latenciesMs, 99),
    errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
    firstError: rounds.find(({ firstError }) => firstError !== undefined)?.firstError,
    busy: {
      subject: busy((round) => round.subjectCpuMicros),
      backend: busy((round) => round.backendCpuMicros),
      generator: busy((round) => round.generatorCpuMicros),
    },
  };
}

function ratioOf(one: Measured, other: Measured): RatioReport {
  const roundByRound = (value: (round: Round) => number) =>
    spread(one.rounds.map((round, index) => value(round) / value(other.rounds[index] as Round)));
  return {
    subject: one.subject.name,
    against: other.subject.name,
    perSecond: roundByRound(perSecond),
    perCpuSecond: roundByRound(perCpuSecond),
  };
}

function perSecond({ count, elapsedMs }: Round): number {
  return (count * 1_000) / elapsedMs;
}

function perCpuSecond({ count, subjectCpuMicros }: Round): number {
  return (count * 1_000_000) / subjectCpuMicros;
}

export function renderCase({ title, goal, unit, connections, subjects, ratios }: CaseReport): string {
  return `
${title}; ${connections} connections
Goal: ${goal}

${table(
  ["", `${unit}s/s`, `CPU µs/${unit}`, "p50 ms", "p99 ms", "errors", "busy: subject", "backend", "generator"],
  subjects.map((subject) => [
    subject.name,
    subject.perSecond.toFixed(0),
    subject.cpuMicrosPerUnit.toFixed(1),
    subject.p50Ms.toFixed(2),
    subject.p99Ms.toFixed(2),
    String(subject.errors),
    ...[subject.busy.subject, subject.busy.backend, subject.busy.generator].map(percent),
  ]),
)}

${table(
  ["ratio: median (min to max)", `${unit}s/s`, `${unit}s per CPU second`],
  ratios.map((ratio) => [`${ratio.subject} / ${ratio.against}`, ...[ratio.perSecond, ratio.perCpuSecond].map(range)]),
)}
`;
}

export function render({ machine, rounds, seconds, gzipKiB, startUpMs }: Report): string {
  return `
Size: ${gzipKiB} KiB gzipped. Start-up: ${startUpMs} ms of CPU.
${rounds} rounds of ${seconds} s each on ${machine}.
`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function range({ median, min, max }: Spread): string {
  return `${median.toFixed(3)} (${min.toFixed(3)} to ${max.toFixed(3)})`;
}

/** The first column is text, the others are numbers. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const cell = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return lines.map((line) => `  ${line.map(cell).join("  ")}`).join("\n");
}
