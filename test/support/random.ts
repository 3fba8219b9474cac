import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** A stream of random numbers that depends on nothing but its seed. */
export class Random {
  readonly #generator;

  constructor(seed: number) {
    this.#generator = xoroshiro128plus(seed);
  }

  /** From 0 up to, but not including, 1. */
  next(): number {
    return uniformFloat64(this.#generator);
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return uniformInt(this.#generator, min, max);
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("nothing to pick from");
    return items[this.between(0, items.length - 1)] as T;
  }

  shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, order: this.next() }))
      .sort((a, b) => a.order - b.order)
      .map(({ item }) => item);
  }

  bytes(length: number): Buffer {
    const words = Int32Array.from({ length: Math.ceil(length / 4) }, () => this.#generator.next());
    return Buffer.from(words.buffer, 0, length);
  }

  /** A stream of its own for each part of a run, so that the timing of one part does not change the numbers of another. */
  static forPart(seed: number, part: string): Random {
    let hash = seed;
    for (const character of part) hash = (Math.imul(hash ^ character.charCodeAt(0), 0x01000193) + 0x9e3779b9) | 0;
    return new Random(hash);
  }
}
