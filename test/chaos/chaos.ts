/** `npm run chaos`: what the Worker survives, under workerd, with real backends that are broken all the time. */
import { oneOf, parseFlags, runProgram, UsageError, wholeNumber } from "../support/arguments.ts";
import { buildWorker } from "../support/build.ts";
import { temporaryDirectory } from "../support/processes.ts";
import { isolates } from "./isolates.ts";
import { model } from "./model.ts";
import { outages } from "./outages.ts";
import type { Options } from "./report.ts";
import { storm } from "./storm.ts";

const USAGE = `Usage: npm run chaos -- [options]

Breaks one or two of three backends all the time, and checks every answer that 32 clients get meanwhile, beside an attacker.
Or one of three other runs. Exits with 1 if anything was lost, wrong, late, moved without a cause, or asked too often.

  --outages          every way in which a platform answers for an app that is gone, as a family meets it: one line each
  --isolates N       freezes one of three backends for good behind N isolates of one data centre, 1 to 64, which are
                     replaced all the time; shows how long their users wait, and before that how many checks they make
  --model            a model by events, without processes: how many checks up to 3,000 isolates make of one backend
  --seconds N        how long, 1 to 86400 (default 60; 600 with --soak; 40 with --isolates); not for the two others
  --seed N           what happens, and in which order (default 7)
  --soak             watch the memory too; so does a run of 180 s or more
  --share BOOLEAN    with --isolates, whether they share their results: true or false (default true)
  --help             print this text
`;

/** From so many seconds on a run is long enough to tell a leak from a warm-up. */
const SOAK_SECONDS = 180;

async function main(): Promise<boolean> {
  const flags = parseFlags({
    outages: { type: "boolean", default: false },
    isolates: { type: "string" },
    model: { type: "boolean", default: false },
    seconds: { type: "string" },
    seed: { type: "string", default: "7" },
    soak: { type: "boolean", default: false },
    share: { type: "string", default: "true" },
  });
  const count = flags.isolates === undefined ? undefined : wholeNumber("--isolates", flags.isolates, 1, 64);
  if ([flags.outages, flags.model, flags.soak, count !== undefined].filter(Boolean).length > 1) {
    throw new UsageError("--outages, --isolates, --model and --soak exclude each other");
  }
  const standard = count !== undefined ? "40" : flags.soak ? "600" : "60";
  const seconds = wholeNumber("--seconds", flags.seconds ?? standard, 1, 86_400);
  const seed = wholeNumber("--seed", flags.seed, 0, 2 ** 31 - 1);
  const share = oneOf("--share", flags.share, ["true", "false"]) === "true";
  if (flags.model) return model(seed);
  const script = await buildWorker(temporaryDirectory());
  const options: Options = { seconds, seed, isSoak: flags.soak || seconds >= SOAK_SECONDS, share, script };
  if (flags.outages) return outages(options);
  return count === undefined ? storm(options) : isolates(options, count);
}

await runProgram(USAGE, main);
