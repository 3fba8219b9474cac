/** A stream of random numbers that depends on nothing but its seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** From 0 up to, but not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.between(0, items.length - 1)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, order: this.next() }))
      .sort((a, b) => a.order - b.order)
      .map(({ item }) => item);
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i += 4) {
      const value = this.between(0, 2 ** 32 - 1);
      // The last value may be longer than what is left to fill.
      if (i + 4 <= length) bytes.writeUInt32LE(value, i);
      else bytes.fill(value & 255, i);
    }
    return bytes;
  }

  /** A stream of its own for each part of a run, so that the timing of one part does not change the numbers of another. */
  static forPart(seed: number, part: string): Random {
    let hash = seed;
    for (const character of part) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193) + 0x9e3779b9;
    return new Random(hash);
  }
}
