/** `npm run bench`: what the Worker costs beside the least that any such Worker has to do. */
import { cpus } from "node:os";
import { oneOf, parseFlags, runProgram, wholeNumber } from "../support/arguments.ts";
import { buildWorker } from "../support/build.ts";
import { temporaryDirectory } from "../support/processes.ts";
import type { Worker } from "../support/worker.ts";
import type { Workerd } from "../support/workerd.ts";
import { buildRevision } from "./builds.ts";
import { besideBefore, CASES, type Case, exchange, headersOf, MESSAGE } from "./cases.ts";
import { openHttp, openWebSockets } from "./load.ts";
import { type Measured, type Round, render } from "./report.ts";
import { cpuMicros, type Setup, startBackends, startSubject } from "./subjects.ts";

const NAMES = CASES.map(({ name }) => name);

const USAGE = `Usage: npm run bench -- [options]

What the Worker costs beside the floor: the least Worker that sets the forwarded headers, has one timer, and sets a cookie for
a client that has none. Each subject runs in a workerd process of its own; they are driven in turn, round by round.

  --rounds N       rounds of each case, 1 to 1000 (default 7)
  --ms N           milliseconds of each subject in a round, 100 to 600000 (default 2000)
  --case NAME      only this case; may be repeated: ${NAMES.join(", ")}
  --before REV     compare with the Worker as it was at this git revision too
  --help           print this text
`;

async function main(): Promise<boolean> {
  const flags = parseFlags({
    rounds: { type: "string", default: "7" },
    ms: { type: "string", default: "2000" },
    case: { type: "string", multiple: true, default: NAMES },
    before: { type: "string" },
  });
  const named = flags.case.map((name) => oneOf("--case", name, NAMES));
  const rounds = wholeNumber("--rounds", flags.rounds, 1, 1_000);
  const seconds = wholeNumber("--ms", flags.ms, 100, 600_000) / 1_000;
  // Progress goes to stderr, so that stdout can be piped.
  console.error("Building the Worker ...");
  const built = await buildWorker(temporaryDirectory());
  const { compatibility } = built;
  const before = flags.before === undefined ? undefined : (await buildRevision(flags.before)).path;
  const asked = CASES.filter(({ name }) => named.includes(name));
  const cases = before === undefined ? asked : asked.map(besideBefore);
  const count = Math.max(...cases.flatMap(({ subjects }) => subjects.map((subject) => subject.backends)));
  const backends = await startBackends(count, compatibility);
  const setup = { paths: { worker: built.path, before: before ?? built.path }, compatibility, backends };

  let isGood = true;
  for (const benchCase of cases) {
    console.error(`${benchCase.name}: ${rounds} rounds of ${benchCase.subjects.length} subjects ...`);
    const measured = await measure(benchCase, rounds, seconds, setup);
    console.log(render(benchCase, measured));
    for (const { subject, rounds } of measured) {
      for (const { errors, firstError } of rounds) {
        if (errors === 0) continue;
        console.log(`WRONG: ${subject.name}: ${errors} wrong answers in a round, the first: ${firstError}`);
        isGood = false;
      }
    }
  }
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, Node ${process.versions.node}`;
  console.log(`\n${built.gzipKiB} KiB gzipped. ${rounds} rounds of ${seconds} s each on ${machine}.`);
  // All rounds fall on one side of the true ratio, or of what is measured in its place, as often as so many coins do.
  const confidence = (100 * (1 - 2 ** (1 - rounds))).toFixed(0);
  console.log(`A true ratio lies between min and max with ${confidence} % confidence; "=": 1 lies there too.
A process that is 100 % busy was the limit.`);
  return isGood;
}

interface Running extends Measured {
  readonly worker: Worker;
  readonly rounds: Round[];
}

/** Drives the subjects of a case in turn, A B C, B C A, so that whatever else the machine does falls on all of them. */
async function measure(benchCase: Case, rounds: number, seconds: number, setup: Setup): Promise<readonly Measured[]> {
  const { backends } = setup;
  const running: Running[] = [];
  for (const subject of benchCase.subjects) {
    running.push({ subject, worker: await startSubject(subject, setup), rounds: [] });
  }
  // The first turn compiles and opens connections; it is checked, but not counted.
  for (const each of running) {
    const { firstError } = await drive(benchCase, each, seconds, backends);
    if (firstError !== undefined) throw new Error(`${each.subject.name} gave a wrong answer: ${firstError}`);
  }
  for (let round = 0; round < rounds; round++) {
    // The one that comes first changes, so that none always follows the same one.
    const from = round % running.length;
    for (const each of [...running.slice(from), ...running.slice(0, from)]) {
      each.rounds.push(await drive(benchCase, each, seconds, backends));
    }
  }
  for (const { worker } of running) await worker.stop();
  return running;
}

/** One turn of one subject. */
async function drive(
  benchCase: Case,
  { subject, worker }: Running,
  seconds: number,
  backends: Workerd,
): Promise<Round> {
  const { traffic, connections } = benchCase;
  const load =
    traffic === "WebSocket"
      ? await openWebSockets(worker.port, connections, (index) => headersOf(subject, index, true), MESSAGE)
      : openHttp(worker.port, benchCase, (index) => exchange(benchCase, subject, index));
  const subjectBefore = cpuMicros(worker.process);
  const backendBefore = cpuMicros(backends.process);
  const generatorBefore = process.cpuUsage();
  const sample = await load.run(seconds);
  const generator = process.cpuUsage(generatorBefore);
  const round: Round = {
    ...sample,
    subjectMicros: cpuMicros(worker.process) - subjectBefore,
    backendMicros: cpuMicros(backends.process) - backendBefore,
    generatorMicros: generator.user + generator.system,
  };
  await load.close();
  return round;
}

await runProgram(USAGE, main);
