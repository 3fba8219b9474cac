import { expect, it } from "vitest";
import * as text from "../../../src/status/text.ts";
import type { BackendSnapshot, Snapshot } from "../../../src/status/types.ts";
import { backend, downBackend, RESULT } from "./sample.ts";

const UP = backend();
const DOWN = downBackend();
const SUSPECT = backend({ state: "suspect" });
const STANDBY = backend({ backup: "standby", state: "unknown" });
const USED = downBackend({ worksAllTheSame: true });

it.each<[string, number, BackendSnapshot[]]>([
  ["The backend is up", 1, [UP]],
  ["All 2 backends are up", 2, [UP, UP, STANDBY]],
  ["2 of 3 backends are up", 2, [UP, UP, DOWN]],
  ["1 of 2 backends is up", 2, [UP, SUSPECT, STANDBY]],
  ["No backend is known to be up", 1, [DOWN, SUSPECT]],
  ["No backend passes its check, but users are served all the same", 1, [DOWN, USED]],
  ["No backend is up", 0, [DOWN, DOWN]],
])("the headline %j counts no backup on standby (%#)", (summary, answering, backends) => {
  expect(text.summaryOf({ backends, answering } as unknown as Snapshot)).toBe(summary);
});

it.each<[string, string, BackendSnapshot]>([
  ["Up", "for 90 s", UP],
  ["Being checked", "nothing is known yet", backend({ state: "unknown", result: null })],
  ["Suspect", "no answer to its check yet", SUSPECT],
  ["Down", "for 90 s, checked again within 18 s", DOWN],
  ["Down", "for 90 s, checked again when it is needed", downBackend({ nextCheckSeconds: 0 })],
  ["Down", "for 90 s, users are served all the same", USED],
  ["Backup, standby", "not used while another backend is up", STANDBY],
  ["Backup, in service", "no other backend is up", backend({ backup: "in service" })],
  ["Backup, suspect", "no answer to its check yet", backend({ backup: "in service", state: "suspect" })],
  ["Backup, down", "for 90 s, checked again within 18 s", downBackend({ backup: "in service" })],
])("a state has a word and a detail: %s, %s", (word, detail, known) => {
  expect([text.stateWord(known), text.stateDetail(known)]).toEqual([word, detail]);
});

it.each<[string, object, Partial<BackendSnapshot>?]>([
  ["answered 200 in 24 ms, 7 s ago", { ageSeconds: 7 }],
  ["answered 404 in 24 ms, just now", { kind: "bad status", status: 404 }],
  ["answered 200 in 24 ms, but not what HEALTH_CHECK_EXPECT wants, just now", { kind: "unexpected answer" }],
  ["no answer after 3,000 ms, just now", { kind: "no answer", status: null, tookMs: 3_000 }],
  ["no answer after 24 ms, just now", { kind: "no answer", status: 200 }], // Its headers came, its body did not.
  ["network error after 24 ms, just now", { kind: "network error", status: null }],
  ["answered 200 in 24 ms, just now, by another isolate", { isShared: true }],
  ["answered 200 in 24 ms, just now; being checked again", {}, { isBeingChecked: true }],
  ["none", {}, { result: null }],
  ["being checked", {}, { result: null, isBeingChecked: true }],
])("the last check reads %j", (told, result, parts) => {
  expect(text.checkText(backend({ result: { ...RESULT, ...result }, ...parts }))).toBe(told);
});

it("one backend is told in a line", () => {
  expect(text.backendText(UP)).toBe("cf: Up, for 90 s. Last check: answered 200 in 24 ms, just now.");
});

it("an ejection that no check explains is explained", () => {
  expect(text.ejectionText("check: bad status")).toBe("check: bad status");
  expect(text.ejectionText("consecutive failures")).toMatch(/^consecutive failures, of this backend alone$/);
});

it.each([
  ["none seen", null],
  ["unavailable (503), just now", { reason: "unavailable", status: 503, ageSeconds: 0 } as const],
  ["network error, 61 s ago", { reason: "network error", status: null, ageSeconds: 61 } as const],
])("the last failure reads %j", (told, lastFailure) => {
  expect(text.lastFailureText(backend({ lastFailure }))).toBe(told);
});

it("a chart is told in words", () => {
  const charts = [[], [{ requests: 1, failures: 0 }], Array(2).fill({ requests: 750, failures: 1 })];
  expect(charts.map(text.hourText)).toEqual(["0 requests", "1 request", "1,500 requests, 2 failed"]);
});

it("a time span is in the largest unit of which there are two", () => {
  const seconds = [0, 119, 120, 7_199, 7_200, 172_799, 172_800];
  expect(seconds.map(text.duration)).toEqual(["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
});
