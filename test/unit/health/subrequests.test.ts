import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Subrequests } from "../../../src/health/subrequests.ts";

/** Subrequests that end when they are told to. */
class Origin {
  readonly begun: number[] = [];
  readonly #ends = new Map<number, (error?: Error) => void>();

  ask(n: number): Promise<number> {
    this.begun.push(n);
    return new Promise((resolve, reject) => this.#ends.set(n, (error) => (error ? reject(error) : resolve(n))));
  }

  async end(n: number, error?: Error): Promise<void> {
    this.#ends.get(n)?.(error);
    this.#ends.delete(n);
    await settle();
  }

  get open(): number {
    return this.#ends.size;
  }
}

const settle = async () => {
  for (let n = 0; n < 5; n++) await Promise.resolve();
};

describe("an invocation's subrequests", () => {
  it("are 50 in all, with those that are reserved for attempts", () => {
    for (const attempts of [0, 1, 4, 11]) {
      const subrequests = new Subrequests(attempts, 3);
      let spent = attempts;
      while (subrequests.spend(1)) spent++;
      expect(spent).toBe(50);
    }
  });

  it("are spent whole or not at all", () => {
    const subrequests = new Subrequests(47, 3);
    expect([subrequests.spend(2), subrequests.spend(2), subrequests.spend(1), subrequests.spend(1)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });

  it("never are more than 50, in whatever portions they are spent", () => {
    fc.assert(
      fc.property(fc.nat(11), fc.array(fc.integer({ min: 1, max: 7 })), (attempts, portions) => {
        const subrequests = new Subrequests(attempts, 3);
        let spent = attempts;
        for (const count of portions) {
          const fits = spent + count <= 50;
          expect(subrequests.spend(count)).toBe(fits);
          if (fits) spent += count;
        }
      }),
    );
  });
});

describe("an invocation's connections", () => {
  const askAll = (subrequests: Subrequests, origin: Origin, count: number) =>
    Array.from({ length: count }, (_, n) => subrequests.connected(() => origin.ask(n)));

  it.each([0, 1, 3])("are six that wait, with %d that are reserved for attempts", async (reserved) => {
    const origin = new Origin();
    askAll(new Subrequests(4, reserved), origin, 10);
    await settle();
    expect(origin.open).toBe(6 - reserved);
  });

  it("are taken at once where one is free", () => {
    const origin = new Origin();
    askAll(new Subrequests(4, 3), origin, 3);
    expect(origin.begun).toEqual([0, 1, 2]);
  });

  it("are taken in the order in which they were asked for", async () => {
    const origin = new Origin();
    askAll(new Subrequests(4, 3), origin, 7);
    await origin.end(1);
    await origin.end(0);
    await origin.end(3);
    expect(origin.begun).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("give back what the subrequest gave", async () => {
    const origin = new Origin();
    const [asked] = askAll(new Subrequests(4, 3), origin, 1);
    await origin.end(0);
    expect(await asked).toBe(0);
  });

  it("are free again after an error, which its owner gets", async () => {
    const origin = new Origin();
    const [first] = askAll(new Subrequests(4, 5), origin, 2);
    const failed = expect(first).rejects.toThrow("broken");
    await origin.end(0, new Error("broken"));
    await failed;
    expect(origin.begun).toEqual([0, 1]);
  });

  it("are free again after an error that is thrown at once", async () => {
    const origin = new Origin();
    const subrequests = new Subrequests(4, 5);
    const broken = subrequests.connected(() => {
      throw new Error("broken");
    });
    await expect(broken).rejects.toThrow("broken");
    askAll(subrequests, origin, 1);
    expect(origin.open).toBe(1);
  });

  it("never are more than six, and none is lost, in whatever order the subrequests come and end", async () => {
    const steps = fc.array(fc.record({ asks: fc.nat(4), ends: fc.nat(4), pick: fc.nat(), fails: fc.boolean() }));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 3 }), steps, async (reserved, order) => {
        const origin = new Origin();
        const subrequests = new Subrequests(4, reserved);
        const running = new Set<number>();
        let asked = 0;
        let ended = 0;
        for (const { asks, ends, pick, fails } of order) {
          for (let count = 0; count < asks; count++) {
            const n = asked++;
            const ask = () => {
              running.add(n);
              return origin.ask(n);
            };
            subrequests.connected(ask).catch(() => {});
          }
          for (let count = 0; count < ends && running.size > 0; count++, ended++) {
            const n = [...running][pick % running.size] ?? 0;
            running.delete(n);
            await origin.end(n, fails ? new Error("broken") : undefined);
          }
          expect(running.size).toBe(Math.min(6 - reserved, asked - ended));
        }
        expect(origin.begun).toEqual(origin.begun.map((_, n) => n));
      }),
    );
  });
});
