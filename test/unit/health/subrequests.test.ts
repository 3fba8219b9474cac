import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Subrequests } from "../../../src/health/subrequests.ts";

const settled = async () => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

/** Subrequests that end when they are told to, of an invocation with so many attempts that are open. */
class Origin {
  readonly subrequests = new Subrequests(8);
  readonly begun: number[] = [];
  readonly #ends = new Map<number, (error?: Error) => void>();

  constructor(attempts = 0) {
    this.subrequests.attempts = attempts;
  }

  ask(n: number): Promise<number> {
    this.begun.push(n);
    return new Promise((resolve, reject) => this.#ends.set(n, (error) => (error ? reject(error) : resolve(n))));
  }

  askAll(count: number) {
    return Array.from({ length: count }, (_, n) => this.subrequests.withConnection(() => this.ask(n)));
  }

  async end(n: number, error?: Error): Promise<void> {
    this.#ends.get(n)?.(error);
    this.#ends.delete(n);
    await settled();
  }

  get open(): number[] {
    return [...this.#ends.keys()];
  }
}

describe("an invocation's subrequests", () => {
  it("are 50 in all, with those that are reserved for attempts", () => {
    for (const attempts of [0, 8, 22]) expect(new Subrequests(attempts).left).toBe(50 - attempts);
  });

  it("are reserved whole or not at all, and given back", () => {
    const subrequests = new Subrequests(47);
    expect([2, 2, 1, 1].map((count) => subrequests.tryReserve(count))).toEqual([true, false, true, false]);
    subrequests.refund(2);
    expect([subrequests.left, subrequests.tryReserve(2), subrequests.left]).toEqual([2, true, 0]);
  });
});

describe("an invocation's connections", () => {
  it.each([
    [0, 5],
    [1, 4],
    [2, 3],
    [3, 2],
    [4, 2],
  ])("leave one of six for the next attempt, and two for checks and cache: with %i attempts %i", (attempts, open) => {
    const origin = new Origin(attempts);
    origin.askAll(10);
    expect(origin.open).toHaveLength(open);
  });

  it("go to those that wait in their order, as attempts and others end", async () => {
    const origin = new Origin(4);
    origin.askAll(7);
    expect(origin.begun).toEqual([0, 1]);
    origin.subrequests.attempts = 2;
    await settled();
    expect(origin.begun).toEqual([0, 1, 2]);
    await origin.end(1);
    expect(origin.begun).toEqual([0, 1, 2, 3]);
    origin.subrequests.attempts = 0;
    await settled();
    expect(origin.begun).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("that checks and cache hold beyond their two count as taken from the attempts", () => {
    const origin = new Origin(1);
    origin.askAll(2);
    expect(origin.subrequests.unsettled).toBe(1);
    origin.askAll(2);
    expect(origin.subrequests.unsettled).toBe(3);
  });

  it("give back what the subrequest gave, or its error, and are free again", async () => {
    const origin = new Origin(4);
    const [first, second] = origin.askAll(4);
    const failed = expect(second).rejects.toThrow("broken");
    await origin.end(0);
    await origin.end(1, new Error("broken"));
    expect(await first).toBe(0);
    await failed;
    expect(origin.begun).toEqual([0, 1, 2, 3]);
  });

  it("never are more than six, and none is lost, in whatever order attempts and others begin and end", async () => {
    const step = fc.record({ asks: fc.nat(4), ends: fc.nat(4), pick: fc.nat(), attempt: fc.constantFrom(-1, 0, 1, 1) });
    await fc.assert(
      fc.asyncProperty(fc.array(step), async (steps) => {
        const origin = new Origin();
        const { subrequests } = origin;
        let attempts = 0;
        let asked = 0;
        for (const { asks, ends, pick, attempt } of steps) {
          // A request begins an attempt only while fewer than four connections are unsettled.
          if (attempt < 0 || subrequests.unsettled < 4) attempts = Math.max(0, attempts + attempt);
          subrequests.attempts = attempts;
          for (let i = 0; i < asks; i++) {
            const n = asked++;
            subrequests.withConnection(() => origin.ask(n)).catch(() => {});
          }
          for (let i = 0; i < ends && origin.open.length > 0; i++) {
            await origin.end(origin.open[pick % origin.open.length] ?? 0, i % 2 ? new Error("broken") : undefined);
          }
          await settled();
          expect(origin.open.length + attempts).toBeLessThanOrEqual(6);
          const isWaiting = asked > origin.begun.length;
          if (isWaiting) expect(origin.open.length).toBeGreaterThanOrEqual(Math.max(2, 5 - attempts));
        }
        expect(origin.begun).toEqual(origin.begun.map((_, n) => n));
      }),
    );
  });
});
