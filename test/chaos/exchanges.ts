import type { Kind } from "./faults.ts";

/** What may become of an exchange, and what that means. */
export const VERDICTS = {
  right: "every byte, and the session",
  failed: "no answer, an error, or an answer that is not the app's",
  wrong: "an answer, but not the right one",
  moved: "the right answer, but of another backend although the client's own was up all the time",
  cut: "headers had come when the backend died: nothing can save it",
  "given up": "the client had no patience",
  "vouched for": "a platform's answer within a second after a good check: the check could not know",
  deceived: "a platform's page that only a check can tell from the app's answer, before that check",
  stale: "a POST that a stale connection broke while no other backend worked: it must not be repeated",
} as const;

export type Verdict = keyof typeof VERDICTS;

/** Those for which only the Worker is to blame. */
export const FAULTY: readonly Verdict[] = ["failed", "wrong", "moved"];

export interface Result {
  readonly verdict: Verdict;
  readonly kind: Kind;
  readonly path: string;
  readonly startMs: number;
  readonly endMs: number;
  /** For the Worker's log: its `ray`. */
  readonly ray: string;
  readonly why: string | undefined;
}

/** Every exchange of a run: those under way, and what became of the others. */
export class Exchanges {
  readonly counts = Object.fromEntries(Object.keys(VERDICTS).map((verdict) => [verdict, 0])) as Record<Verdict, number>;
  /** Those that are the Worker's fault, for the report. */
  readonly faulty: Result[] = [];
  readonly durationsMs: number[] = [];
  readonly #underWay = new Set<Promise<Result>>();

  async run(exchange: Promise<Result>): Promise<void> {
    this.#underWay.add(exchange);
    const result = await exchange;
    this.#underWay.delete(exchange);
    this.counts[result.verdict]++;
    this.durationsMs.push(result.endMs - result.startMs);
    if (FAULTY.includes(result.verdict)) this.faulty.push(result);
  }

  /** Resolves when everything that has begun by now has ended. */
  async allBegunUntilNow(): Promise<void> {
    await Promise.all(this.#underWay);
  }
}
