import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type HeldBodies, holderIn, withBody } from "../../../src/proxy/body.ts";

const HELD_BYTES_MAX = 32 * 1024 * 1024;

let held: HeldBodies;
const heldBytes = (all = held) => [...all].reduce((sum, { bytes }) => sum + bytes, 0);
const holding = (bytes: number) => {
  const holder = holderIn(held);
  expect(holder.reserve(bytes)).toBe(true);
  return holder;
};

beforeEach(() => {
  vi.useFakeTimers();
  held = new Set();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("what an isolate holds of bodies", () => {
  it("is what its requests have taken and not released", () => {
    const first = holding(1_000);
    const second = holding(200);
    expect(second.reserve(30)).toBe(true);
    expect(heldBytes()).toBe(1_230);
    first.release();
    expect(heldBytes()).toBe(230);
    second.release();
    expect(held.size).toBe(0);
  });

  it("stays under 32 MiB: what would be more is refused, and takes nothing", () => {
    holding(HELD_BYTES_MAX - 10);
    const next = holderIn(held);
    expect([next.reserve(11), heldBytes()]).toEqual([false, HELD_BYTES_MAX - 10]);
    expect([next.reserve(10), heldBytes()]).toEqual([true, HELD_BYTES_MAX]);
  });

  it("counts a request that was lost for three seconds, not for ever", () => {
    holding(HELD_BYTES_MAX);
    vi.clearAllTimers(); // The runtime cancels an invocation's timers with it.
    vi.advanceTimersByTime(2_999);
    expect(holderIn(held).reserve(1)).toBe(false);
    vi.advanceTimersByTime(1);
    expect(holderIn(held).reserve(1)).toBe(true);
    expect(heldBytes()).toBe(1);
  });

  it("keeps nothing of requests that were lost", () => {
    for (let n = 0; n < 10_000; n++) {
      vi.clearAllTimers();
      vi.setSystemTime(n * 100);
      holding(1);
    }
    expect(held.size).toBeLessThan(100);
  });

  it("counts a lost request no more when it is released after all", () => {
    const lost = holding(HELD_BYTES_MAX);
    vi.clearAllTimers();
    vi.advanceTimersByTime(3_000);
    holding(5);
    lost.release();
    expect(heldBytes()).toBe(5);
  });

  it("counts what is held for as long as it takes, and what takes more meanwhile", () => {
    const slow = holding(HELD_BYTES_MAX - 10);
    const growing = holding(1);
    for (let n = 0; n < 9; n++) {
      vi.advanceTimersByTime(20_000);
      expect(growing.reserve(1)).toBe(true);
    }
    const next = holderIn(held);
    expect(next.reserve(1)).toBe(false);
    for (const holder of [slow, growing, next]) holder.release();
    expect([heldBytes(), vi.getTimerCount()]).toEqual([0, 0]);
  });

  it("counts a request again that was given up for lost, as soon as it shows that it is not", () => {
    const late = holding(1_000);
    vi.setSystemTime(Date.now() + 3_000); // It stood still: no timer came.
    holding(HELD_BYTES_MAX - 100);
    expect(heldBytes()).toBe(HELD_BYTES_MAX - 100);
    vi.advanceTimersByTime(1_000);
    expect(heldBytes()).toBe(HELD_BYTES_MAX + 900);
    late.release();
    expect(heldBytes()).toBe(HELD_BYTES_MAX - 100);
  });

  it("is the sum of what is held and never more than 32 MiB, whatever is taken and released", () => {
    const step = fc.record({ n: fc.nat(5), bytes: fc.nat(Math.floor(HELD_BYTES_MAX / 3)), releases: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const all: HeldBodies = new Set();
        const holders = Array.from({ length: 6 }, () => ({ holder: holderIn(all), bytes: 0 }));
        return steps.every(({ n, bytes, releases }) => {
          const own = holders[n] as (typeof holders)[number];
          if (releases) {
            own.holder.release();
            holders[n] = { holder: holderIn(all), bytes: 0 };
          } else {
            const before = heldBytes(all);
            const isReserved = own.holder.reserve(bytes);
            if (isReserved !== before + bytes <= HELD_BYTES_MAX) return false;
            if (isReserved) own.bytes += bytes;
          }
          return heldBytes(all) === holders.reduce((sum, holder) => sum + holder.bytes, 0);
        });
      }),
    );
  });
});

it.each([undefined, 1024 * 1024])(
  "a slow body costs what has come of it, not what may come (it says %s)",
  async (says) => {
    const KIB = 1024;
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    const headers: Record<string, string> = says === undefined ? {} : { "Content-Length": `${says}` };
    const request = new Request("https://aiostreams.example.com/", { method: "POST", body: readable, headers });
    const served = withBody(request, held, async (body) => [body instanceof ArrayBuffer, heldBytes() > 100 * KIB]);
    await writer.write(new Uint8Array(1));
    expect(heldBytes()).toBeLessThanOrEqual(4 * KIB);
    await writer.write(new Uint8Array(100 * KIB));
    await writer.write(new Uint8Array(1));
    expect(heldBytes()).toBeLessThanOrEqual(256 * KIB);
    await writer.close();
    expect(await served).toEqual([true, true]);
    expect([heldBytes(), vi.getTimerCount()]).toEqual([0, 0]);
  },
);

it("a body is held until it is served, and no longer, however that ends", async () => {
  const request = () => new Request("https://aiostreams.example.com/", { method: "POST", body: "abc" });
  const serving = async () => heldBytes() > 0;
  expect(await withBody(request(), held, serving)).toBe(true);
  const failing = withBody(request(), held, async () => {
    throw new Error("failed");
  });
  await expect(failing).rejects.toThrow("failed");
  const body = new ReadableStream({ type: "bytes", pull: (controller) => controller.error(new Error("gone")) });
  const broken = new Request("https://aiostreams.example.com/", { method: "POST", body });
  expect(await withBody(broken, held, serving)).toBe(400);
  expect(heldBytes()).toBe(0);
});
