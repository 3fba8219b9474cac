import { median, spread } from "../support/statistics.ts";
import type { Case, Subject } from "./cases.ts";
import type { Sample } from "./load.ts";

/** One turn of one subject, with the CPU time that each process took. */
export interface Round extends Sample {
  readonly subjectMicros: number;
  readonly backendMicros: number;
  readonly generatorMicros: number;
}

export interface Measured {
  readonly subject: Subject;
  readonly rounds: readonly Round[];
}

/** A round that used less CPU time than this says nothing of it: Linux counts it in hundredths of a second. */
const CPU_MICROS_MIN = 100_000;

const perSecond = ({ count, elapsedMs }: Round) => (count * 1_000) / elapsedMs;
const perCpuSecond = ({ count, subjectMicros }: Round) =>
  subjectMicros < CPU_MICROS_MIN ? Number.NaN : (count * 1_000_000) / subjectMicros;
/** So that more is better here too. */
const promptness = ({ latenciesMs }: Round) => 1 / median(latenciesMs);

/** The tables of a case. */
export function render({ title, goal, unit, connections }: Case, measured: readonly Measured[]): string {
  const subjects = measured.map(({ subject, rounds }) => {
    const of = (value: (round: Round) => number) => median(rounds.map(value));
    const busy = (micros: (round: Round) => number) =>
      `${of((round) => micros(round) / round.elapsedMs / 10).toFixed(0)} %`;
    return [
      subject.name,
      (of(perSecond) * unit.perExchange).toFixed(0),
      (1_000_000 / of(perCpuSecond) / unit.perExchange).toFixed(1),
      median(rounds.flatMap(({ latenciesMs }) => latenciesMs)).toFixed(2),
      busy((round) => round.subjectMicros),
      busy((round) => round.backendMicros),
      busy((round) => round.generatorMicros),
    ];
  });
  const ratios = measured.flatMap((one) =>
    one.subject.against.map((name) => {
      const other = measured.find(({ subject }) => subject.name === name);
      const ratio = (value: (round: Round) => number) => ratioText(one.rounds, other?.rounds ?? [], value);
      return [`${one.subject.name} / ${name}`, ...[perSecond, perCpuSecond, promptness].map(ratio)];
    }),
  );
  const first = `${unit.name}s/s`;
  return `
${title}; ${connections} connections
Goal: ${goal}

${table([["", first, `CPU µs/${unit.name}`, "p50 ms", "busy: subject", "backend", "generator"], ...subjects])}

${table([["ratio: median (min to max)", first, `${unit.name}s per CPU second`, "1 / p50"], ...ratios])}`;
}

/** A subject's round divided by the same round of another, over all rounds; above 1 the subject is the better one. */
function ratioText(own: readonly Round[], others: readonly Round[], value: (round: Round) => number): string {
  const ratios = own.map((round, index) => value(round) / value(others[index] as Round));
  const { median, min, max } = spread(ratios);
  if (ratios.some(Number.isNaN)) return "too little to tell";
  return `${median.toFixed(3)} (${min.toFixed(3)} to ${max.toFixed(3)}) ${min <= 1 && max >= 1 ? "=" : " "}`;
}

/** The first column is text, the others are numbers. */
function table(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const cell = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return lines.map((line) => `  ${line.map(cell).join("  ")}`).join("\n");
}
