import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { withTimeout } from "../../src/time.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("a promise that is waited for within some time", () => {
  it("gives what it resolves to, and leaves no timer behind that could fire later", async () => {
    expect(await withTimeout(1_000, Promise.resolve("film"))).toBe("film");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("gives nothing after that time", async () => {
    let result: unknown = "waiting";
    withTimeout(1_000, new Promise(() => {})).then((value) => {
      result = value;
    });
    await vi.advanceTimersByTimeAsync(999);
    expect(result).toBe("waiting");
    await vi.advanceTimersByTimeAsync(1);
    expect(result).toBeUndefined();
  });
});
