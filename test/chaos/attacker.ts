import { setTimeout as sleep } from "node:timers/promises";
import { boundTo } from "../support/load-balancer.ts";
import { Random } from "../support/random.ts";
import type { Worker } from "../support/worker.ts";
import { ATTACK_NAMES, attackPath, EVERY } from "./attacks.ts";

/** Fifty requests a second. */
const EVERY_MS = 20;

/** How long one attack lasts, at least and at most; between these all of them together last as long as the run. */
const TURN_MS = [1_000, 5_000] as const;

/**
 * One client that asks for what breaks one backend, or every one, until `untilMs`, and does not care for the answers.
 * Resolves to what each request was.
 */
export async function keepAttacking(
  worker: Worker,
  ids: readonly string[],
  seed: number,
  untilMs: number,
): Promise<string[]> {
  const random = Random.forPart(seed, "attacker");
  const attacks = ATTACK_NAMES.flatMap((attack) => {
    // The attacker's cookie names the backend that is the first to be asked.
    const first = random.pick(ids);
    return [
      { name: `${attack} of one backend`, first, path: attackPath(attack, first) },
      { name: `${attack} of every backend`, first, path: attackPath(attack, EVERY) },
    ];
  });
  const turns = random.shuffled(attacks);
  const [minMs, maxMs] = TURN_MS;
  const turnMs = Math.min(Math.max((untilMs - performance.now()) / turns.length, minMs), maxMs);
  const sent: string[] = [];
  for (let turn = 0; performance.now() < untilMs; turn++) {
    const { name, first, path } = turns[turn % turns.length] as (typeof turns)[number];
    const over = new AbortController();
    const endMs = Math.min(untilMs, performance.now() + turnMs);
    for (let dueMs = performance.now(); dueMs < endMs; dueMs += EVERY_MS) {
      const asked = worker.open(path, boundTo(first, { ip: "192.0.2.66", signal: over.signal }));
      // It may be told anything.
      asked.then((response) => response.resume()).catch(() => {});
      sent.push(name);
      await sleep(Math.max(0, dueMs + EVERY_MS - performance.now()));
    }
    over.abort();
  }
  return sent;
}
