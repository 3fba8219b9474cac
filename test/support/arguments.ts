import { type ParseArgsConfig, parseArgs } from "node:util";
import { endAll, endAllWithProcess, isEnding } from "./processes.ts";

/** A mistake in what was asked for, as opposed to one in what was found. */
export class UsageError extends Error {}

type Flags = NonNullable<ParseArgsConfig["options"]>;

/** `--help` was asked for. */
class Help extends Error {}

/** The arguments of a program. @throws {UsageError} for one that it does not have, and whatever `runProgram` shows help for. */
export function parseFlags<const F extends Flags>(flags: F, args = process.argv.slice(2)) {
  if (args.includes("--help") || args.includes("-h")) throw new Help();
  try {
    return parseArgs({ args, options: flags }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Runs a program to its end, or until it is interrupted; 1 is its exit code where `main` resolves to `false` or rejects. */
export async function runProgram(usage: string, main: () => Promise<boolean>): Promise<never> {
  endAllWithProcess();
  let isGood = false;
  try {
    isGood = await main();
  } catch (error) {
    isGood = error instanceof Help;
    if (isGood) console.log(usage);
    else if (error instanceof UsageError) console.error(`${error.message}\n\n${usage}`);
    else if (!isEnding()) console.error(error);
  }
  await endAll();
  // Without this Node was seen to spin for ever over pipes of children that had ended.
  process.exit(isGood ? 0 : 1);
}

/** @throws {UsageError} naming what is allowed. */
export function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${flag} must be a whole number from ${min} to ${max}, found "${text}"`);
}

/** @throws {UsageError} naming what is allowed. */
export function oneOf<Word extends string>(flag: string, text: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw new UsageError(`${flag} must be one of ${words.join(", ")}, found "${text}"`);
}
