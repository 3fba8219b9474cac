import { describe, expect, it } from "vitest";
import type { BackendSnapshot, Snapshot } from "../../../src/status/facts.ts";
import {
  checkText,
  duration,
  ejectionText,
  hourText,
  lastFailureText,
  stateDetail,
  stateWord,
  summaryOf,
} from "../../../src/status/words.ts";
import { backend, FINDING } from "./sample.ts";

const down = (facts: Partial<BackendSnapshot> = {}) =>
  backend({ state: "down", ejectedFor: "check: no answer", nextCheckSeconds: 18, ...facts });

describe("the headline", () => {
  const ASLEEP = backend({ backup: "asleep" });
  const UP = backend();

  it.each([
    [[UP], 1, "The backend is up"],
    [[UP, UP, ASLEEP], 2, "All 2 backends are up"],
    [[UP, UP, UP], 3, "All 3 backends are up"],
    [[UP, UP, down()], 2, "2 of 3 backends are up"],
    [[UP, down()], 1, "1 of 2 backends is up"],
    [[down(), down()], 0, "No backend is up"],
    [[UP, ASLEEP], 1, "The backend is up"],
    [[UP, down(), ASLEEP], 1, "1 of 2 backends is up"],
  ])("of %# says how many backends are up, and counts none that is asleep", (backends, answering, text) => {
    expect(summaryOf({ backends, answering } as unknown as Snapshot)).toBe(text);
  });
});

describe("a state", () => {
  it.each([
    [backend(), "Up", "for 90 s"],
    [backend({ state: "unknown", finding: null }), "Being checked", "nothing is known yet"],
    [backend({ state: "suspect" }), "Suspect", "no answer to its check yet"],
    [down(), "Down", "for 90 s, checked again within 18 s"],
    [down({ nextCheckSeconds: 0 }), "Down", "for 90 s, checked again when it is needed"],
    [backend({ backup: "asleep" }), "Backup, asleep", "left alone while another backend is up"],
    [backend({ backup: "asleep", state: "unknown" }), "Backup, asleep", "left alone while another backend is up"],
    [backend({ backup: "in service" }), "Backup, in service", "no other backend is up"],
    [backend({ backup: "in service", state: "suspect" }), "Backup, suspect", "no answer to its check yet"],
    [down({ backup: "in service" }), "Backup, down", "for 90 s, checked again within 18 s"],
    [down({ backup: "asleep", nextCheckSeconds: null }), "Backup, down", "for 90 s, checked again when it is needed"],
  ])("of %# has a word and a detail", (known, word, detail) => {
    expect([stateWord(known), stateDetail(known)]).toEqual([word, detail]);
  });
});

describe("the last check", () => {
  it.each([
    [backend(), "answered 200 in 24 ms, just now"],
    [backend({ finding: { ...FINDING, ageSeconds: 7 } }), "answered 200 in 24 ms, 7 s ago"],
    [backend({ finding: { ...FINDING, result: "bad status", status: 404 } }), "answered 404 in 24 ms, just now"],
    [
      backend({ finding: { ...FINDING, result: "no answer", status: null, milliseconds: 3_000 } }),
      "no answer after 3,000 ms, just now",
    ],
    [
      backend({ finding: { ...FINDING, result: "network error", status: null } }),
      "network error after 24 ms, just now",
    ],
    [
      backend({ finding: { ...FINDING, isShared: true }, isBeingChecked: true }),
      "answered 200 in 24 ms, just now, by another isolate; being checked again",
    ],
    [backend({ finding: null }), "being checked"],
    [backend({ finding: null, backup: "asleep" }), "none"],
    [backend({ finding: null, backup: "asleep", isBeingChecked: true }), "being checked"],
  ])("of %# reads well", (known, text) => {
    expect(checkText(known)).toBe(text);
  });
});

it("an ejection is told in the log's words, and explained where a check does not", () => {
  expect(ejectionText("check: bad status")).toBe("check: bad status");
  expect(ejectionText("failures in a row")).toBe("failures in a row, at requests that another backend answered");
});

it.each([
  [null, "none seen"],
  [{ reason: "unavailable", status: 503, ageSeconds: 0 } as const, "unavailable (503), just now"],
  [{ reason: "network error", status: null, ageSeconds: 61 } as const, "network error, 61 s ago"],
])("the last failure %j reads %j", (lastFailure, text) => {
  expect(lastFailureText(backend({ lastFailure }))).toBe(text);
});

it.each([
  [[], "0 requests"],
  [[{ requests: 1, failures: 0 }], "1 request"],
  [
    [
      { requests: 1_000, failures: 2 },
      { requests: 500, failures: 1 },
    ],
    "1,500 requests, 3 failed",
  ],
])("the minutes %j read %j", (minutes, text) => {
  expect(hourText(minutes)).toBe(text);
});

it.each([
  [0, "0 s"],
  [59, "59 s"],
  [119, "119 s"],
  [120, "2 min"],
  [7_199, "119 min"],
  [7_200, "2 h"],
  [172_799, "47 h"],
  [172_800, "2 d"],
])("%d seconds read %j", (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});
