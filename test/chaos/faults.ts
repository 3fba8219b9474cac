import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../support/random.ts";
import type { Order } from "./backend-program.ts";
import type { ChaosBackend, Fault } from "./backends.ts";
import type { Exchanges } from "./exchanges.ts";

const HOLD_MS = [500, 4_000] as const;
/** Long enough for requests to give a silent backend up: `PROBE_AFTER`, and 3 s for the check. */
const FREEZE_MS = [2_500, 5_500] as const;

/** A fault that a backend is told to show. */
const told = (name: string, order: Order): Fault => ({
  name,
  cuts: false,
  holdMs: HOLD_MS,
  begin: (backend) => backend.tell(order),
  end: (backend) => backend.tell({ kind: "well" }),
});

export const FAULTS: readonly Fault[] = [
  {
    name: "killed, port closed",
    cuts: true,
    holdMs: HOLD_MS,
    begin: (backend) => backend.kill(),
    end: (backend) => backend.restart(),
  },
  {
    name: "killed and restarted at once",
    cuts: true,
    holdMs: [0, 0],
    begin: async (backend) => {
      await backend.kill();
      await backend.restart();
    },
    end: async () => {},
  },
  {
    name: "frozen",
    cuts: false,
    holdMs: FREEZE_MS,
    begin: async (backend) => backend.freeze(),
    end: async (backend) => backend.thaw(),
  },
  {
    name: "frozen, then killed",
    cuts: true,
    holdMs: FREEZE_MS,
    begin: async (backend) => backend.freeze(),
    end: async (backend) => {
      await backend.kill();
      await backend.restart();
    },
  },
  told("reset after accept", { kind: "reset-on-accept" }),
  told("reset after the body", { kind: "reset-after-body" }),
  told("500, health good", { kind: "status", status: 500, healthStatus: 200 }),
  told("500, health bad", { kind: "status", status: 500 }),
  told("503", { kind: "status", status: 503 }),
  told("521", { kind: "status", status: 521 }),
  told("slow by 5 s, health good", { kind: "slow", ms: 5_000 }),
  told("body stalls, then goes on", { kind: "hold" }),
  {
    name: "body stalls, then killed",
    cuts: true,
    holdMs: HOLD_MS,
    begin: (backend) => backend.tell({ kind: "hold" }),
    end: async (backend) => {
      await backend.kill();
      await backend.restart();
    },
  },
];

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
  readonly #random: Random;
  readonly #sound = new Set<ChaosBackend>();
  /** The faults to come: a pack that is dealt out whole before it begins again, so that even a short run shows every kind. */
  readonly #pack: readonly Fault[];
  #dealt = 0;

  constructor(backends: readonly ChaosBackend[], exchanges: Exchanges, seed: number) {
    this.#backends = backends;
    this.#exchanges = exchanges;
    this.#random = Random.forPart(seed, "scheduler");
    this.#pack = this.#random.shuffled(FAULTS);
    this.#sound.add(this.#random.pick(backends));
  }

  /** Breaks and mends until `untilMs`; every backend is well when it resolves. */
  async run(untilMs: number, seed: number): Promise<void> {
    const lanes = this.#backends.map((backend) =>
      this.#keepBreaking(backend, Random.forPart(seed, backend.id), untilMs),
    );
    await Promise.all([...lanes, this.#keepMovingOn(untilMs)]);
  }

  async #keepBreaking(backend: ChaosBackend, random: Random, untilMs: number): Promise<void> {
    for (;;) {
      await sleep(random.between(100, 600));
      while (this.#sound.has(backend) && performance.now() < untilMs) await sleep(20);
      if (performance.now() >= untilMs) return;
      const fault = this.#pack[this.#dealt++ % this.#pack.length] as Fault;
      await backend.break(fault);
      await sleep(Math.min(random.between(...fault.holdMs), Math.max(0, untilMs - performance.now())));
      await backend.mend(fault);
      const { length } = backend.illnesses;
      void this.#exchanges.allBegunUntilNow().then(() => {
        if (backend.illnesses.length === length) backend.settledMs = performance.now();
      });
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
