import { setTimeout as sleep } from "node:timers/promises";
import { boundTo } from "../support/load-balancer.ts";
import { Random } from "../support/random.ts";
import type { Worker } from "../support/worker.ts";
import { ATTACK_NAMES, type Attack, attackPath, EVERY } from "./attacks.ts";

/** Fifty requests a second. */
const EVERY_MS = 20;

/** How long one attack lasts, at least and at most; between these all of them together last as long as the run. */
const TURN_MS = [1_000, 5_000] as const;

interface Turn {
  readonly attack: Attack;
  /** The backend that the attacker's cookie names, so that it is the first to be asked. */
  readonly first: string;
  readonly target: string;
}

/** One client that asks for what breaks one backend, or every one, and does not care for the answers. */
export class Attacker {
  readonly #worker: Worker;
  readonly #turns: readonly Turn[];
  /** What each request was. */
  readonly sent: string[] = [];

  constructor(worker: Worker, ids: readonly string[], seed: number) {
    this.#worker = worker;
    const random = Random.forPart(seed, "attacker");
    const turns = ATTACK_NAMES.flatMap((attack) => {
      const first = random.pick(ids);
      return [first, EVERY].map((target) => ({ attack, first, target }));
    });
    this.#turns = random.shuffled(turns);
  }

  async run(untilMs: number): Promise<void> {
    const [minMs, maxMs] = TURN_MS;
    const shareMs = (untilMs - performance.now()) / this.#turns.length;
    const turnMs = Math.min(Math.max(shareMs, minMs), maxMs);
    for (let turn = 0; performance.now() < untilMs; turn++) {
      await this.#attack(this.#turns[turn % this.#turns.length] as Turn, Math.min(untilMs, performance.now() + turnMs));
    }
  }

  async #attack({ attack, first, target }: Turn, untilMs: number): Promise<void> {
    const name = `${attack} of ${target === EVERY ? "every backend" : "one backend"}`;
    const over = new AbortController();
    for (let dueMs = performance.now(); dueMs < untilMs; dueMs += EVERY_MS) {
      const asked = this.#worker.open(
        attackPath(attack, target),
        boundTo(first, { ip: "192.0.2.66", signal: over.signal }),
      );
      // It may be told anything.
      asked.then((response) => response.resume()).catch(() => {});
      this.sent.push(name);
      await sleep(Math.max(0, dueMs + EVERY_MS - performance.now()));
    }
    over.abort();
  }
}
