import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BodyHolder, HELD_BYTES_MAX, type HeldBodies, newHeldBodies, readBody } from "../../../src/proxy/body.ts";

let held: HeldBodies;
const holding = (bytes: number) => {
  const holder = new BodyHolder(held);
  expect(holder.take(bytes)).toBe(true);
  return holder;
};

beforeEach(() => {
  vi.useFakeTimers();
  held = newHeldBodies();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("what an isolate holds of bodies", () => {
  it("is what its requests have taken and not released", () => {
    const first = holding(1_000);
    const second = holding(200);
    expect(second.take(30)).toBe(true);
    expect(held.bytes).toBe(1_230);
    first.release();
    expect(held.bytes).toBe(230);
    second.release();
    expect(held).toEqual(newHeldBodies());
  });

  it("is released once, however often", () => {
    holding(1_000);
    const twice = holding(200);
    twice.release();
    twice.release();
    expect(held.bytes).toBe(1_000);
  });

  it("stays under 32 MiB: what would be more is refused, and takes nothing", () => {
    holding(HELD_BYTES_MAX - 10);
    const next = new BodyHolder(held);
    expect([next.take(11), held.bytes]).toEqual([false, HELD_BYTES_MAX - 10]);
    expect([next.take(10), held.bytes]).toEqual([true, HELD_BYTES_MAX]);
  });

  it("does not grow with those that were refused", () => {
    holding(HELD_BYTES_MAX);
    const refused = new BodyHolder(held);
    refused.take(1);
    refused.release();
    expect([held.bytes, held.holdings.size]).toEqual([HELD_BYTES_MAX, 1]);
  });

  it("counts a request that was lost for three seconds, not for ever", () => {
    holding(HELD_BYTES_MAX);
    vi.clearAllTimers(); // The runtime cancels an invocation's timers with it.
    vi.advanceTimersByTime(2_999);
    expect(new BodyHolder(held).take(1)).toBe(false);
    vi.advanceTimersByTime(1);
    expect(new BodyHolder(held).take(1)).toBe(true);
    expect(held.bytes).toBe(1);
  });

  it("counts a lost request no more when it is released after all", () => {
    const lost = holding(HELD_BYTES_MAX);
    vi.clearAllTimers();
    vi.advanceTimersByTime(3_000);
    holding(5);
    lost.release();
    expect(held.bytes).toBe(5);
  });

  it("counts what is held for as long as it takes, and what takes more meanwhile", () => {
    const slow = holding(HELD_BYTES_MAX - 10);
    const growing = holding(1);
    for (let n = 0; n < 9; n++) {
      vi.advanceTimersByTime(20_000);
      expect(growing.take(1)).toBe(true);
    }
    expect(new BodyHolder(held).take(1)).toBe(false);
    slow.release();
    growing.release();
    expect([held.bytes, vi.getTimerCount()]).toEqual([0, 0]);
  });

  it("counts a request again that was given up for lost, as soon as it shows that it is not", () => {
    const late = holding(1_000);
    vi.setSystemTime(Date.now() + 3_000); // It stood still: no timer came.
    holding(HELD_BYTES_MAX - 100);
    expect(held.bytes).toBe(HELD_BYTES_MAX - 100);
    vi.advanceTimersByTime(1_000);
    expect(held.bytes).toBe(HELD_BYTES_MAX + 900);
    late.release();
    expect(held.bytes).toBe(HELD_BYTES_MAX - 100);
  });

  it("is the sum of what is held and never more than 32 MiB, whatever is taken and released", () => {
    const step = fc.record({ who: fc.nat(5), bytes: fc.nat(Math.floor(HELD_BYTES_MAX / 3)), releases: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const all = newHeldBodies();
        const holders = Array.from({ length: 6 }, () => ({ holder: new BodyHolder(all), bytes: 0 }));
        return steps.every(({ who, bytes, releases }) => {
          const own = holders[who] as (typeof holders)[number];
          if (releases) {
            own.holder.release();
            holders[who] = { holder: new BodyHolder(all), bytes: 0 };
          } else {
            const before = all.bytes;
            const isTaken = own.holder.take(bytes);
            if (isTaken !== before + bytes <= HELD_BYTES_MAX) return false;
            if (isTaken) own.bytes += bytes;
          }
          return all.bytes === holders.reduce((sum, holder) => sum + holder.bytes, 0) && all.bytes <= HELD_BYTES_MAX;
        });
      }),
    );
  });
});

describe("a body that comes slowly", () => {
  const KIB = 1024;

  /** A request that sends what it is told to. */
  function slowUpload(says?: number) {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    const headers: Record<string, string> = says === undefined ? {} : { "Content-Length": `${says}` };
    const request = new Request("https://aiostreams.example.com/", { method: "POST", body: readable, headers });
    const holder = new BodyHolder(held);
    return {
      body: readBody(request, holder),
      send: (bytes: number) => writer.write(new Uint8Array(bytes)),
      end: () => writer.close(),
      holder,
    };
  }

  it.each([undefined, 1024 * KIB])("costs what has come of it, not what may come (it says %s)", async (says) => {
    const { body, send, end, holder } = slowUpload(says);
    expect(held.bytes).toBeLessThanOrEqual(4 * KIB);
    await send(1);
    expect(held.bytes).toBeLessThanOrEqual(4 * KIB);
    await send(100 * KIB);
    await send(1);
    expect(held.bytes).toBeLessThanOrEqual(256 * KIB);
    await end();
    expect((await body) instanceof ArrayBuffer).toBe(true);
    holder.release();
    expect([held.bytes, vi.getTimerCount()]).toEqual([0, 0]);
  });

  it("is held however long it takes", async () => {
    const { body, send, end, holder } = slowUpload();
    await send(1);
    vi.advanceTimersByTime(600_000);
    expect(new BodyHolder(held).take(HELD_BYTES_MAX)).toBe(false);
    await end();
    await body;
    holder.release();
    expect(new BodyHolder(held).take(HELD_BYTES_MAX)).toBe(true);
  });
});
