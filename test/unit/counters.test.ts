import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { count, lastHourOf, MINUTES_KEPT, type Minute } from "../../src/counters.ts";

const MINUTE_MS = 60_000;
/** An arbitrary moment, at the beginning of a minute. */
const START_MS = 29_000_000 * MINUTE_MS;

let minutes: Minute[];
const countAttempt = (atMs: number) => count(minutes, "requests", atMs);
const minutesAt = (nowMs: number) => lastHourOf(minutes, nowMs);
/** A minute, told by how many lie between the start and its own. */
function minute(number: number, requests: number, failures = 0) {
  return { startMs: START_MS + number * MINUTE_MS, requests, failures };
}

beforeEach(() => {
  minutes = [];
});

describe("the last hour", () => {
  it("ends with the running minute", () => {
    countAttempt(START_MS - 1);
    countAttempt(START_MS);
    countAttempt(START_MS + MINUTE_MS - 1);
    expect(minutesAt(START_MS + MINUTE_MS - 1)).toEqual([minute(-1, 1), minute(0, 2)]);
  });

  it("forgets what is an hour old, by itself and when it counts on", () => {
    countAttempt(START_MS);
    count(minutes, "failures", START_MS);
    expect(minutesAt(START_MS + 60 * MINUTE_MS - 1)).toEqual([minute(0, 1, 1)]);
    expect(minutesAt(START_MS + 60 * MINUTE_MS)).toEqual([]);
    countAttempt(START_MS + 60 * MINUTE_MS);
    expect(minutesAt(START_MS + 60 * MINUTE_MS)).toEqual([minute(60, 1)]);
  });

  it("counts each attempt in its own minute where the clock steps back", () => {
    countAttempt(START_MS);
    countAttempt(START_MS - MINUTE_MS);
    countAttempt(START_MS);
    expect(minutesAt(START_MS)).toEqual([minute(0, 2), minute(-1, 1)]);
  });

  it("takes no more memory than an hour needs", () => {
    for (let minute = 0; minute < 300; minute++) countAttempt(START_MS + minute * MINUTE_MS);
    expect(minutes.length).toBe(MINUTES_KEPT);
  });

  it("holds every attempt of the last 60 minutes, each in its minute, and no other", () => {
    const times = fc.array(fc.integer({ min: 0, max: 300 * MINUTE_MS }), { maxLength: 80 });
    fc.assert(
      fc.property(times, fc.integer({ min: 0, max: 90 * MINUTE_MS }), (offsets, pauseMs) => {
        minutes = [];
        const atMs = offsets.sort((a, b) => a - b).map((offset) => START_MS + offset);
        for (const ms of atMs) countAttempt(ms);
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
