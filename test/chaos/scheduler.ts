import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../support/random.ts";
import type { Exchanges } from "./exchanges.ts";
import { type ChaosBackend, FAULTS, type Fault } from "./faults.ts";

/** From so long a run on the faults take all the time that they may take. */
const UNHURRIED_MS = 60_000;

/**
 * Keeps breaking one or two of three backends, in an order that depends on the seed alone.
 *
 * One backend is sound, the other two have one fault after the other. From time to time another one becomes the sound one,
 * and this is the rule that makes a failure the Worker's: the new one is mended first, and the old one may break only when
 * every exchange that began before that has ended. So each exchange has a backend that is well from its beginning to its end.
 */
export class Scheduler {
  readonly #backends: readonly ChaosBackend[];
  readonly #exchanges: Exchanges;
  readonly #seed: number;
  readonly #random: Random;
  readonly #sound = new Set<ChaosBackend>();
  /** The faults to come: a pack that is dealt out whole before it begins again, so that even a short run shows every kind. */
  readonly #pack: readonly Fault[];
  #dealt = 0;

  constructor(backends: readonly ChaosBackend[], exchanges: Exchanges, seed: number) {
    this.#backends = backends;
    this.#exchanges = exchanges;
    this.#seed = seed;
    this.#random = Random.forPart(seed, "scheduler");
    this.#pack = this.#random.shuffled(FAULTS);
    this.#sound.add(this.#random.pick(backends));
  }

  /** Breaks and mends until `untilMs`; every backend is well when it resolves. */
  async run(untilMs: number): Promise<void> {
    // A short run hurries, so that it gets through the whole pack.
    const ease = Math.min(1, (untilMs - performance.now()) / UNHURRIED_MS);
    const lanes = this.#backends.map((backend) => this.#keepBreaking(backend, ease, untilMs));
    await Promise.all([...lanes, this.#keepMovingOn(untilMs)]);
  }

  async #keepBreaking(backend: ChaosBackend, ease: number, untilMs: number): Promise<void> {
    const random = Random.forPart(this.#seed, backend.id);
    for (;;) {
      await sleep(random.between(100, 600));
      while (this.#sound.has(backend) && performance.now() < untilMs) await sleep(20);
      if (performance.now() >= untilMs) return;
      const fault = this.#pack[this.#dealt++ % this.#pack.length] as Fault;
      const [minMs, maxMs] = fault.holdMs;
      const holdMs = random.between(minMs, minMs + (maxMs - minMs) * ease);
      await backend.break(fault);
      await sleep(Math.min(holdMs, Math.max(0, untilMs - performance.now())));
      await backend.mend(fault, () => this.#exchanges.allBegunUntilNow());
    }
  }

  async #keepMovingOn(untilMs: number): Promise<void> {
    while (performance.now() < untilMs) {
      await sleep(this.#random.between(1_000, 4_000));
      const next = this.#random.pick(this.#backends.filter((backend) => !this.#sound.has(backend)));
      this.#sound.add(next);
      while (!next.isWell) await sleep(20);
      await this.#exchanges.allBegunUntilNow();
      for (const backend of this.#sound) if (backend !== next) this.#sound.delete(backend);
    }
  }
}
