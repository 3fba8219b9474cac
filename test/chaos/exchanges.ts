import { percentile } from "../support/statistics.ts";

/** What became of one exchange. */
export type Verdict =
  | "right"
  /** No answer, an error, or one of the Worker's own answers. */
  | "failed"
  /** An answer, but not the right one. */
  | "wrong"
  /** The answer had begun when its backend died: nothing can save it. */
  | "cut";

export interface Result {
  readonly verdict: Verdict;
  readonly what: string;
  readonly startMs: number;
  readonly endMs: number;
  /** For the Worker's log: its `ray`. */
  readonly ray: string;
  readonly why?: string;
}

/** Every exchange of a run: those under way, and what became of the others. */
export class Exchanges {
  readonly counts: Record<Verdict, number> = { right: 0, failed: 0, wrong: 0, cut: 0 };
  readonly kinds = new Map<string, number>();
  /** Those that are not right, for the report. */
  readonly notable: Result[] = [];
  readonly #durationsMs: number[] = [];
  readonly #underWay = new Set<Promise<Result>>();

  async run(kind: string, exchange: Promise<Result>): Promise<Result> {
    this.#underWay.add(exchange);
    const result = await exchange;
    this.#underWay.delete(exchange);
    this.counts[result.verdict]++;
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    this.#durationsMs.push(result.endMs - result.startMs);
    if (result.verdict !== "right") this.notable.push(result);
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
