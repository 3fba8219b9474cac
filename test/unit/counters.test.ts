import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import {
  type Counters,
  countAttempt,
  countFailure,
  lastHourOf,
  MINUTES_KEPT,
  newCounters,
} from "../../src/counters.ts";

const MINUTE_MS = 60_000;
/** An arbitrary moment, at the beginning of a minute. */
const START_MS = 29_000_000 * MINUTE_MS;

let counters: Counters;
const minutesAt = (nowMs: number, id = "cf") => lastHourOf(counters.backends.get(id), nowMs);
/** A minute, told by how many lie between the start and its own. */
function minute(number: number, requests: number, failures = 0) {
  return { startMs: START_MS + number * MINUTE_MS, requests, failures };
}

beforeEach(() => {
  counters = newCounters(START_MS);
});

describe("a backend's counters", () => {
  it("count attempts and failures, apart from those of other backends", () => {
    countAttempt(counters, "cf", START_MS);
    countAttempt(counters, "cf", START_MS);
    countFailure(counters, "cf", "unavailable", 503, START_MS);
    countAttempt(counters, "duck", START_MS);
    expect(minutesAt(START_MS)).toEqual([minute(0, 2, 1)]);
    expect(minutesAt(START_MS, "duck")).toEqual([minute(0, 1)]);
  });

  it("keep the last failure, however many answers follow it", () => {
    countFailure(counters, "cf", "unavailable", 503, START_MS);
    countFailure(counters, "cf", "network error", undefined, START_MS + 5);
    countAttempt(counters, "cf", START_MS + 9);
    const lastFailure = { reason: "network error", status: undefined, atMs: START_MS + 5 };
    expect(counters.backends.get("cf")).toMatchObject({ lastFailure });
  });
});

describe("the last hour", () => {
  it("ends with the running minute", () => {
    countAttempt(counters, "cf", START_MS - 1);
    countAttempt(counters, "cf", START_MS);
    countAttempt(counters, "cf", START_MS + MINUTE_MS - 1);
    expect(minutesAt(START_MS + MINUTE_MS - 1)).toEqual([minute(-1, 1), minute(0, 2)]);
  });

  it("forgets what is an hour old, by itself and when it counts on", () => {
    countAttempt(counters, "cf", START_MS);
    countFailure(counters, "cf", "silent", undefined, START_MS);
    expect(minutesAt(START_MS + 60 * MINUTE_MS - 1)).toEqual([minute(0, 1, 1)]);
    expect(minutesAt(START_MS + 60 * MINUTE_MS)).toEqual([]);
    countAttempt(counters, "cf", START_MS + 60 * MINUTE_MS);
    expect(minutesAt(START_MS + 60 * MINUTE_MS)).toEqual([minute(60, 1)]);
  });

  it("counts each attempt in its own minute where the clock steps back", () => {
    countAttempt(counters, "cf", START_MS);
    countAttempt(counters, "cf", START_MS - MINUTE_MS);
    countAttempt(counters, "cf", START_MS);
    expect(minutesAt(START_MS)).toEqual([minute(0, 2), minute(-1, 1)]);
  });

  it("takes no more memory than an hour needs", () => {
    for (let minute = 0; minute < 300; minute++) countAttempt(counters, "cf", START_MS + minute * MINUTE_MS);
    expect(counters.backends.get("cf")?.minutes.length).toBe(MINUTES_KEPT);
  });

  it("holds every attempt of the last 60 minutes, each in its minute, and no other", () => {
    const times = fc.array(fc.integer({ min: 0, max: 300 * MINUTE_MS }), { maxLength: 80 });
    fc.assert(
      fc.property(times, fc.integer({ min: 0, max: 90 * MINUTE_MS }), (offsets, pauseMs) => {
        counters = newCounters(START_MS);
        const atMs = offsets.sort((a, b) => a - b).map((offset) => START_MS + offset);
        for (const ms of atMs) countAttempt(counters, "cf", ms);
        const nowMs = (atMs.at(-1) ?? START_MS) + pauseMs;
        const numbers = atMs.map((ms) => Math.floor((ms - START_MS) / MINUTE_MS));
        const running = Math.floor((nowMs - START_MS) / MINUTE_MS);
        const expected = [...new Set(numbers)].filter((number) => number > running - MINUTES_KEPT);
        const requestsOf = (number: number) => numbers.filter((other) => other === number).length;
        expect(minutesAt(nowMs)).toEqual(expected.map((number) => minute(number, requestsOf(number))));
      }),
    );
  });
});
