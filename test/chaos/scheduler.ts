import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../support/random.ts";
import type { Exchanges } from "./exchanges.ts";
import { type ChaosBackend, FAULTS, type Fault } from "./faults.ts";

/** From so long a run on the faults take all the time that they may take. */
const UNHURRIED_MS = 60_000;

/**
 * Keeps breaking one or two of three backends until `untilMs`, in an order that depends on the seed alone; every backend is
 * well when it resolves.
 *
 * One backend is sound, the other two have one fault after the other. From time to time another one becomes the sound one,
 * and this is the rule that makes a failure the Worker's: the new one is mended first, and the old one may break only when
 * every exchange that began before that has ended. So each exchange has a backend that is well from its beginning to its end.
 */
export async function keepBreaking(
  backends: readonly ChaosBackend[],
  exchanges: Exchanges,
  seed: number,
  untilMs: number,
): Promise<void> {
  const random = Random.forPart(seed, "scheduler");
  // A pack that is dealt out whole before it begins again, so that even a short run shows every kind; a short run hurries.
  const pack = random.shuffled(FAULTS);
  const ease = Math.min(1, (untilMs - performance.now()) / UNHURRIED_MS);
  const sound = new Set([random.pick(backends)]);
  let dealt = 0;

  const breakOne = async (backend: ChaosBackend) => {
    const random = Random.forPart(seed, backend.id);
    for (;;) {
      await sleep(random.between(100, 600));
      while (sound.has(backend) && performance.now() < untilMs) await sleep(20);
      if (performance.now() >= untilMs) return;
      const fault = pack[dealt++ % pack.length] as Fault;
      const [minMs, maxMs] = fault.holdMs;
      const holdMs = random.between(minMs, minMs + (maxMs - minMs) * ease);
      await backend.break(fault);
      await sleep(Math.min(holdMs, Math.max(0, untilMs - performance.now())));
      await backend.mend(fault, () => exchanges.allBegunUntilNow());
    }
  };
  const moveOn = async () => {
    while (performance.now() < untilMs) {
      await sleep(random.between(1_000, 4_000));
      const next = random.pick(backends.filter((backend) => !sound.has(backend)));
      sound.add(next);
      while (!next.isWell) await sleep(20);
      await exchanges.allBegunUntilNow();
      for (const backend of sound) if (backend !== next) sound.delete(backend);
    }
  };
  await Promise.all([...backends.map(breakOne), moveOn()]);
}
