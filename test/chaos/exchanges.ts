import { percentile } from "../support/statistics.ts";

/** What may become of an exchange, and what that means. */
export const VERDICTS = {
  right: "every byte, and the session",
  failed: "no answer, an error, or one of the Worker's own answers",
  wrong: "an answer, but not the right one",
  moved: "the right answer, but of another backend although the client's own was up all the time",
  cut: "headers had come when the backend died: nothing can save it",
  "given up": "the client had no patience",
  deceived: "a platform's 404 from before a check by age could find it out",
  stale: "a POST that a stale connection broke while no other backend worked: it must not be repeated",
} as const;

export type Verdict = keyof typeof VERDICTS;

/** Those for which nobody but the Worker is to blame. */
export const FAULTY: readonly Verdict[] = ["failed", "wrong", "moved"];

/** All that is more than this is waiting. */
const NORMAL_MS = 100;

export interface Result {
  readonly verdict: Verdict;
  readonly what: string;
  readonly startMs: number;
  /** When the headers came; where none came, when the exchange ended. */
  readonly answeredMs: number;
  readonly endMs: number;
  /** Whether its backend was one that takes its time. */
  readonly wasDelayed: boolean;
  /** For the Worker's log: its `ray`. */
  readonly ray: string;
  readonly why?: string;
}

/** The time that exchanges waited for headers, beyond a normal answer. */
export interface Waited {
  totalMs: number;
  longestMs: number;
}

/** Every exchange of a run: those under way, and what became of the others. */
export class Exchanges {
  readonly counts = Object.fromEntries(Object.keys(VERDICTS).map((verdict) => [verdict, 0])) as Record<Verdict, number>;
  readonly kinds = new Map<string, number>();
  /** Those that are the Worker's fault, for the report. */
  readonly faulty: Result[] = [];
  readonly waited: Waited = { totalMs: 0, longestMs: 0 };
  /** The same of exchanges whose backend took its time over an honest answer. */
  readonly waitedForSlow: Waited = { totalMs: 0, longestMs: 0 };
  readonly #durationsMs: number[] = [];
  readonly #underWay = new Set<Promise<Result>>();

  async run(kind: string, exchange: Promise<Result>): Promise<Result> {
    this.#underWay.add(exchange);
    const result = await exchange;
    this.#underWay.delete(exchange);
    this.counts[result.verdict]++;
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    this.#durationsMs.push(result.endMs - result.startMs);
    if (FAULTY.includes(result.verdict)) this.faulty.push(result);
    const waited = result.wasDelayed ? this.waitedForSlow : this.waited;
    const waitedMs = Math.max(0, result.answeredMs - result.startMs - NORMAL_MS);
    waited.totalMs += waitedMs;
    waited.longestMs = Math.max(waited.longestMs, waitedMs);
    return result;
  }

  get total(): number {
    return this.#durationsMs.length;
  }

  /** Resolves when everything that has begun by now has ended. */
  async allBegunUntilNow(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** The time, in milliseconds, within which this share of all exchanges ended. */
  percentileMs(share: number): number {
    return percentile(this.#durationsMs, share * 100);
  }
}
