import { existsSync } from "node:fs";
import { parseArgs } from "node:util";

export const USAGE = `Usage: npm run chaos -- [options]

Breaks one or two of three backends all the time, and checks every answer that 48 clients get meanwhile, beside an attacker.
With --isolates: freezes one of three backends for good behind several isolates of one data centre, which are replaced all
the time, and measures how long their users wait. Exits with 1 if anything was lost, wrong, late or moved without a cause.

  --seconds N        how long, 1 to 86400 (default 60; 600 with --soak; 40 with --isolates)
  --seed N           what happens, and in which order (default 7)
  --soak             watch the memory too; so does a run of 180 s or more
  --isolates N       how many isolates share the data centre, 1 to 64
  --share BOOLEAN    with --isolates, whether they share their findings: true or false (default true)
  --var NAME=VALUE   a variable of the Worker; may be repeated
  --worker PATH      run this built module in place of the Worker
  --help             print this text
`;

export interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly isSoak: boolean;
  /** `undefined` for the run with one isolate and backends that break. */
  readonly isolates: number | undefined;
  readonly share: boolean;
  /** Variables that go over those of the run. */
  readonly vars: Readonly<Record<string, string>>;
  /** A built module; `undefined` for the Worker as it is. */
  readonly worker: string | undefined;
}

/** Fault in what was asked for, as opposed to one in what was found. */
export class UsageError extends Error {}

/** From so many seconds on a run is long enough to tell a leak from a warm-up. */
const SOAK_SECONDS = 180;

/** @throws {UsageError} naming what is allowed. */
export function parseOptions(args: readonly string[]): Options | "help" {
  let values: ReturnType<typeof parseFlags>;
  try {
    values = parseFlags(args);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return "help";
  const isolates = values.isolates === undefined ? undefined : wholeNumber("--isolates", values.isolates, 1, 64);
  if (values.share !== undefined && isolates === undefined) throw new UsageError("--share is for --isolates only");
  if (values.soak && isolates !== undefined) throw new UsageError("--soak and --isolates exclude each other");
  if (values.worker !== undefined && !existsSync(values.worker)) {
    throw new UsageError(`--worker must be the path of a built module, found "${values.worker}"`);
  }
  const standard = isolates !== undefined ? "40" : values.soak ? "600" : "60";
  const seconds = wholeNumber("--seconds", values.seconds ?? standard, 1, 86_400);
  return {
    seconds,
    seed: wholeNumber("--seed", values.seed, 0, 2 ** 31 - 1),
    isSoak: values.soak || seconds >= SOAK_SECONDS,
    isolates,
    share: trueOrFalse("--share", values.share ?? "true"),
    vars: Object.fromEntries(values.var.map(variable)),
    worker: values.worker,
  };
}

function parseFlags(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    options: {
      seconds: { type: "string" },
      seed: { type: "string", default: "7" },
      soak: { type: "boolean", default: false },
      isolates: { type: "string" },
      share: { type: "string" },
      var: { type: "string", multiple: true, default: [] },
      worker: { type: "string" },
      help: { type: "boolean", default: false },
    },
  }).values;
}

function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${flag} must be a whole number from ${min} to ${max}, found "${text}"`);
}

function trueOrFalse(flag: string, text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw new UsageError(`${flag} must be true or false, found "${text}"`);
}

function variable(text: string): [name: string, value: string] {
  const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(text) ?? [];
  if (name !== undefined && value !== undefined) return [name, value];
  throw new UsageError(`--var must be NAME=VALUE, such as MAX_RETRIES=0, found "${text}"`);
}
