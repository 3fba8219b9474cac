/** `npm run doctor`: whether what wrangler.toml names works, and whether the backends agree with each other. */
import { lookup } from "node:dns/promises";
import { setDefaultAutoSelectFamilyAttemptTimeout } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Arguments, parseArguments, USAGE } from "./arguments.ts";
import { ask } from "./ask.ts";
import { bounded } from "./bounded.ts";
import { readDeployment, shortened } from "./deployment.ts";
import type { Desk, Leftover } from "./desk.ts";
import { examine } from "./examination.ts";
import { Progress } from "./progress.ts";
import { reach } from "./reach.ts";
import { Report } from "./report.ts";
import { readDevVars, withSecretHeaders } from "./secret-headers.ts";

/** One Ctrl-C may come twice: from the terminal, and passed on by npm. */
const SAME_SIGNAL_MS = 1_000;
/** Node gives one address of a host 250 ms, too little for a backend on the other side of the world. */
const CONNECT_ATTEMPT_MS = 3_000;

/** Resolves to the exit code. */
async function runDoctor({ url, config: path, isJson }: Arguments): Promise<number> {
  const report = new Report(process.stdout, { isJson });
  const progress = new Progress(process.stderr);
  const left: Leftover[] = [];
  const interrupted = listenForSignals(left);
  const desk: Desk = {
    ask,
    reach,
    resolves: (host, signal) => bounded(signal, () => lookup(host)).then(Boolean, () => false),
    sleep: (ms, signal) => sleep(ms, undefined, signal && { signal }),
    section: (id, heading) => progress.around(() => report.section(id, heading)),
    say: (line) => progress.around(() => report.add(line)),
    during: (what, task) => progress.during(what, task),
    interrupted,
    addonPassword: process.env.AIOSTREAMS_ADDON_PASSWORD || undefined,
    left,
  };
  desk.section("configuration", `Reading ${shortened(path)}`);
  const deployment = await desk.during("wrangler.toml", () => readDeployment(path));
  const { backends, lines } = withSecretHeaders(deployment, await readDevVars(path), process.env);
  for (const line of lines) desk.say(line);
  report.width = Math.max(0, ...backends.map(({ id }) => id.length));
  const isDeployed = await examine({ ...deployment, backends }, url, desk);
  const next = isDeployed ? "" : "Next: npm run deploy, then npm run doctor once more.";
  progress.around(() => report.end({ isInterrupted: interrupted.aborted, left, next }));
  return interrupted.aborted ? 2 : report.count("wrong") > 0 ? 1 : 0;
}

/** The first Ctrl-C ends the questions and deletes the throwaway user; a second one ends the program as it is. */
function listenForSignals(left: readonly Leftover[]): AbortSignal {
  const interrupted = new AbortController();
  let firstMs: number | undefined;
  const onSignal = () => {
    const nowMs = performance.now();
    firstMs ??= nowMs;
    if (!interrupted.signal.aborted) {
      if (left.length > 0) {
        console.error("\nInterrupted. Deleting the throwaway user first (Ctrl-C once more leaves it behind)…");
      }
      interrupted.abort();
    } else if (nowMs - firstMs > SAME_SIGNAL_MS) {
      for (const { uuid = "(its uuid is not known)", backend } of left) {
        console.error(`The throwaway user ${uuid} may be left in the database of ${backend}.`);
      }
      process.exit(2);
    }
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  // A pipe or a terminal that is gone ends the questions too, but nothing keeps the user from being deleted.
  process.stdout.on("error", () => interrupted.abort());
  process.stderr.on("error", () => {});
  return interrupted.signal;
}

async function main(args: string[]): Promise<number> {
  try {
    const parsed = parseArguments(args);
    if (parsed === "help") {
      console.log(USAGE);
      return 0;
    }
    setDefaultAutoSelectFamilyAttemptTimeout(CONNECT_ATTEMPT_MS);
    return await runDoctor(parsed);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (args.includes("--json")) console.log(JSON.stringify({ ok: false, error: text }, null, 2));
    console.error(`The doctor could not run: ${text}`);
    return 2;
  }
}

const exitCode = await main(process.argv.slice(2));
// Not `process.exitCode`: a name server that is silent would keep the program for as long as it likes.
process.stdout.write("", () => process.exit(exitCode));
