import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { type Counters, countAttempt, countFailure, MINUTES_KEPT, minutesOf, newCounters } from "../../src/counters.ts";

const MINUTE_MS = 60_000;
/** An arbitrary moment, at the beginning of a minute. */
const START_MS = 29_000_000 * MINUTE_MS;

let counters: Counters;
const minutesAt = (nowMs: number) => minutesOf(counters.backends.get("cf"), nowMs);
const requestsAt = (nowMs: number) => minutesAt(nowMs).map(({ requests }) => requests);
const total = (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0);

beforeEach(() => {
  counters = newCounters(START_MS);
});

describe("a backend's counters", () => {
  it("count attempts and failures, apart from those of other backends", () => {
    countAttempt(counters, "cf", START_MS);
    countAttempt(counters, "cf", START_MS);
    countFailure(counters, "cf", "unavailable", 503, START_MS);
    countAttempt(counters, "duck", START_MS);
    expect(minutesAt(START_MS).at(-1)).toEqual({ requests: 2, failures: 1 });
    expect(minutesOf(counters.backends.get("duck"), START_MS).at(-1)).toEqual({ requests: 1, failures: 0 });
  });

  it("keep the last failure, however many answers follow it", () => {
    countFailure(counters, "cf", "unavailable", 503, START_MS);
    countFailure(counters, "cf", "network error", undefined, START_MS + 5);
    countAttempt(counters, "cf", START_MS + 9);
    expect(counters.backends.get("cf")).toMatchObject({
      lastFailure: { reason: "network error", status: null, atMs: START_MS + 5 },
    });
  });
});

describe("the last hour", () => {
  it("ends with the running minute", () => {
    countAttempt(counters, "cf", START_MS - 1);
    countAttempt(counters, "cf", START_MS);
    countAttempt(counters, "cf", START_MS + MINUTE_MS - 1);
    expect(requestsAt(START_MS + MINUTE_MS - 1).slice(-3)).toEqual([0, 1, 2]);
  });

  it("forgets what is an hour old, by itself and when it counts on in the same place", () => {
    countAttempt(counters, "cf", START_MS);
    countFailure(counters, "cf", "silent", undefined, START_MS);
    expect(minutesAt(START_MS + 59 * MINUTE_MS)[0]).toEqual({ requests: 1, failures: 1 });
    expect(total(requestsAt(START_MS + 60 * MINUTE_MS))).toBe(0);
    countAttempt(counters, "cf", START_MS + 60 * MINUTE_MS);
    expect(minutesAt(START_MS + 60 * MINUTE_MS).at(-1)).toEqual({ requests: 1, failures: 0 });
    expect(total(requestsAt(START_MS + 60 * MINUTE_MS))).toBe(1);
  });

  it("counts each attempt in its own minute where the clock steps back", () => {
    countAttempt(counters, "cf", START_MS);
    countAttempt(counters, "cf", START_MS - MINUTE_MS);
    expect(requestsAt(START_MS).slice(-2)).toEqual([1, 1]);
  });

  it("takes no more memory than an hour needs", () => {
    for (let minute = 0; minute < 300; minute++) countAttempt(counters, "cf", START_MS + minute * MINUTE_MS);
    expect(counters.backends.get("cf")?.minutes.size).toBe(MINUTES_KEPT);
  });

  it("holds every attempt of the last 60 minutes, each in its minute, and no other", () => {
    const times = fc.array(fc.integer({ min: 0, max: 300 * MINUTE_MS }), { maxLength: 80 });
    fc.assert(
      fc.property(times, fc.integer({ min: 0, max: 90 * MINUTE_MS }), (offsets, pauseMs) => {
        counters = newCounters(START_MS);
        const atMs = offsets.sort((a, b) => a - b).map((offset) => START_MS + offset);
        for (const ms of atMs) countAttempt(counters, "cf", ms);
        const nowMs = (atMs.at(-1) ?? START_MS) + pauseMs;
        const expected = Array<number>(MINUTES_KEPT).fill(0);
        for (const ms of atMs) {
          const age = Math.floor(nowMs / MINUTE_MS) - Math.floor(ms / MINUTE_MS);
          if (age < MINUTES_KEPT) expected[MINUTES_KEPT - 1 - age] = (expected[MINUTES_KEPT - 1 - age] ?? 0) + 1;
        }
        expect(requestsAt(nowMs)).toEqual(expected);
      }),
    );
  });
});
