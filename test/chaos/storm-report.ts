import type { Affinity } from "./affinity.ts";
import type { Attacker } from "./attacker.ts";
import type { ChaosBackend } from "./backends.ts";
import type { EventLog } from "./event-log.ts";
import { type Exchanges, FAULTY, type Result, VERDICTS, type Verdict, type Waited } from "./exchanges.ts";
import { FAULTS } from "./faults.ts";

const SHOWN_MAX = 20;
/** How far back the causes of a failure are looked for. */
const HISTORY_MS = 5_000;

/** What there is to tell of a run. */
export interface Account {
  readonly backends: readonly ChaosBackend[];
  readonly exchanges: Exchanges;
  readonly affinity: Affinity;
  readonly attacker: Attacker;
  readonly log: EventLog;
}

/** Prints what happened, and what is wrong with it. Returns whether nothing is. */
export function report(account: Account, complaints: string[]): boolean {
  const { backends, exchanges, affinity, attacker, log } = account;
  const illnesses = backends.flatMap(({ illnesses }) => illnesses);
  const ejections = log.lines.filter(({ event }) => event === "ejected").map(({ reason = "" }) => reason);
  list(
    "faults",
    FAULTS.map(({ name }) => name),
    (name) => illnesses.filter(({ fault }) => fault.name === name).length,
  );
  list("attacks", [...attacker.sent.keys()].sort(), (name) => attacker.sent.get(name) ?? 0);
  list("ejections", [...new Set(ejections)].sort(), (reason) => ejections.filter((other) => other === reason).length);

  const { counts, total, kinds } = exchanges;
  list("exchanges", Object.keys(VERDICTS), (verdict) => counts[verdict as Verdict], VERDICTS);
  console.log(`  ${pad(total)}  in all: ${[...kinds].map(([kind, count]) => `${kind} ${count}`).join(", ")}`);
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => `${exchanges.percentileMs(share).toFixed(1)} ms`);
  console.log(`duration  p50 ${p50}, p99 ${p99}, longest ${max}`);
  console.log(`waited    ${waitedText(exchanges.waited)} beyond a normal answer`);
  console.log(`          ${waitedText(exchanges.waitedForSlow)} for backends that took their time`);
  const { stayed, brokeOff, movedRequests, movedSessions, reboundWithCause } = affinity;
  console.log("bystanders: clients whose backend was up all the time");
  console.log(`  ${pad(stayed)}  exchanges with it`);
  console.log(`  ${pad(brokeOff)}  answered elsewhere since their own connection was stale`);
  console.log(`  ${pad(movedRequests)}  answered elsewhere, ${movedSessions} moved for good`);
  console.log(`others: ${reboundWithCause} moved for good since their backend had failed`);

  const lacking = FAULTS.filter(({ name }) => illnesses.every(({ fault }) => fault.name !== name));
  for (const { name } of lacking) console.log(`too short a run for: ${name}`);
  for (const verdict of FAULTY) if (counts[verdict] > 0) complaints.push(`${counts[verdict]} exchanges ${verdict}`);
  if (total === 0 || stayed === 0) complaints.push("nothing was exchanged, so nothing is shown");
  for (const result of exchanges.faulty.slice(0, SHOWN_MAX)) explain(account, result);
  for (const complaint of complaints) console.log(`FAULT: ${complaint}`);
  console.log(complaints.length === 0 ? "nothing lost, nothing moved" : "see above");
  return complaints.length === 0;
}

function list(
  title: string,
  names: readonly string[],
  countOf: (name: string) => number,
  meanings: Readonly<Record<string, string>> = {},
): void {
  console.log(title);
  for (const name of names) {
    console.log(`  ${pad(countOf(name))}  ${name}${meanings[name] === undefined ? "" : `: ${meanings[name]}`}`);
  }
}

function pad(count: number): string {
  return String(count).padStart(7);
}

function waitedText({ totalMs, longestMs }: Waited): string {
  return `${(totalMs / 1_000).toFixed(1)} s in all, ${(longestMs / 1_000).toFixed(1)} s the longest`;
}

/** What there is to know of an exchange that did not go right. */
function explain({ backends, log }: Account, { verdict, what, why, startMs, endMs, ray }: Result): void {
  console.log(`\n${verdict}: ${what}\n  ${why} (after ${(endMs - startMs).toFixed(0)} ms)`);
  for (const { id, illnesses } of backends) {
    for (const { fault, fromMs, toMs } of illnesses) {
      if (fromMs > endMs || toMs < startMs - HISTORY_MS) continue;
      const from = (fromMs - startMs).toFixed(0);
      console.log(`  ${id}: ${fault.name} from ${from} to ${(toMs - startMs).toFixed(0)} ms`);
    }
  }
  for (const { atMs, ...line } of log.lines) {
    const isChange = line.event === "ejected" || line.event === "back";
    const isNear = isChange && atMs > startMs - HISTORY_MS && atMs < endMs;
    if (line.ray === ray || isNear) console.log(`  at ${(atMs - startMs).toFixed(0)} ms: ${JSON.stringify(line)}`);
  }
}
