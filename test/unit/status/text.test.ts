import { expect, it } from "vitest";
import * as text from "../../../src/status/text.ts";
import type { BackendSnapshot, Snapshot } from "../../../src/status/types.ts";
import { backend, DEAD, downBackend, NOW_MS, RESULT } from "./sample.ts";

const UP = backend();
const DOWN = downBackend();
const SUSPECT = backend({ state: "suspect" });
const STANDBY = backend({ role: "standby", state: "unknown", isServing: false });
const USED = downBackend({ worksAllTheSame: true, isServing: true });

const LACKING = { result: { ...RESULT, kind: "unexpected answer" } } as const;
const REFUSED = { lastFailure: { reason: "unavailable", status: 503, atMs: NOW_MS - 61_000 } } as const;
const SILENT = { lastFailure: { reason: "silent", status: undefined, atMs: NOW_MS } } as const;

it.each<[string, string, BackendSnapshot[]]>([
  ["up", "1 of 1 backends up", [UP]],
  ["up", "2 of 2 backends up", [UP, UP, STANDBY]],
  ["suspect", "2 of 3 backends up", [UP, UP, DOWN]],
  ["suspect", "1 of 2 backends up", [UP, SUSPECT, STANDBY]],
  ["suspect", "0 of 2 backends up", [DOWN, SUSPECT]],
  ["suspect", "No backend passes its check, but users are served all the same", [DOWN, USED]],
  ["suspect", "1 of 2 backends up", [UP, USED]],
  ["down", "0 of 2 backends up", [DOWN, DOWN]],
])("the headline is %s, and counts no backup on standby: %j (%#)", (tone, summary, backends) => {
  const snapshot = { backends } as unknown as Snapshot;
  expect([text.toneOf(snapshot), text.summaryOf(snapshot)]).toEqual([tone, summary]);
});

it.each<[string, BackendSnapshot]>([
  ["up for 90 s", UP],
  ["unknown for 90 s", backend({ state: "unknown", result: undefined })],
  ["suspect for 90 s", SUSPECT],
  ["down for 90 s", DOWN],
  ["down for 90 s, but in use", USED],
  ["standby, unknown for 90 s", STANDBY],
  ["backup, up for 90 s", backend({ role: "backup" })],
])("a backend's state reads %j", (told, known) => {
  expect(text.stateText(known, NOW_MS)).toBe(told);
});

it.each<[string, string | number, Partial<BackendSnapshot>]>([
  ["why", "check: bad status", { ejectedFor: "check: bad status" }],
  ["next check", "within 18 s", { nextCheckMs: NOW_MS + 18_000 }],
  ["next check", "within 0 s", { nextCheckMs: NOW_MS - 18_000 }],
  ["last check", "good, HTTP 200, 7 s ago, took 24 ms", { result: { ...RESULT, atMs: NOW_MS - 7_000 } }],
  ["last check", "good, HTTP 200, 0 s ago, took 24 ms, by another isolate", { isShared: true }],
  ["last check", "unexpected answer, HTTP 200, 0 s ago, not what HEALTH_CHECK_EXPECT wants, took 24 ms", LACKING],
  ["last check", "no answer, 0 s ago, took 3000 ms", { result: { ...DEAD, atMs: NOW_MS + 4_000 } }], // Of a clock that is ahead.
  ["last failure", "unavailable, HTTP 503, 61 s ago", REFUSED],
  ["last failure", "silent, 0 s ago", SILENT],
  ["last hour", "0 requests, 0 failed", {}],
  ["last hour", "1500 requests, 2 failed", { minutes: Array(2).fill({ startMs: NOW_MS, requests: 750, failures: 1 }) }],
  ["weight", 2, { weight: 2 }],
])("a backend's %s reads %j (%#)", (name, told, known) => {
  expect(text.factsOf(backend(known), NOW_MS)[name]).toBe(told);
});

it("a time span is in the largest unit of which there are two", () => {
  const seconds = [0, 119, 120, 7_199, 7_200, 172_800];
  expect(seconds.map((s) => text.duration(s * 1_000))).toEqual(["0 s", "119 s", "2 min", "119 min", "2 h", "48 h"]);
});
