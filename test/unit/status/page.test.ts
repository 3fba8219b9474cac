import { expect, it } from "vitest";
import { statusPage } from "../../../src/status/page.ts";
import type { BackendSnapshot } from "../../../src/status/types.ts";
import { backend, downBackend, NOW_MS } from "./sample.ts";

const DOWN = downBackend({ id: "koyeb" });
const USED = downBackend({ worksAllTheSame: true, isServing: true });
const STANDBY = backend({ id: "home", state: "unknown", role: "standby", result: undefined });
const SUSPECT = backend({ state: "suspect" });

function pageWith(backends: readonly BackendSnapshot[], dataCentre = "FRA", isPaused = false): string {
  const counts = { requests: 12_840, failovers: 31, ejections: 6, webSockets: 214 };
  const isolate = { dataCentre, startedMs: NOW_MS - 90_000, ...counts };
  return statusPage({ nowMs: NOW_MS, backends, isolate }, "n", isPaused);
}

it("the page escapes everything that is put into it", () => {
  const hostile = `<script>alert("1")</script>'&`;
  const reason = hostile as "check: no answer";
  const lastFailure = { reason: hostile as "silent", status: undefined, atMs: NOW_MS };
  const text = pageWith([backend({ id: hostile, ejectedFor: reason, lastFailure })], hostile);
  expect(text).not.toContain("<script");
  expect(text.match(/&#60;script&#62;alert\(&#34;1&#34;\)&#60;\/script&#62;&#39;&#38;/g)).toHaveLength(4);
});

it("the page has no script, no inline style and no file of its own", () => {
  const forbidden = /<script|\sstyle=|\son\w+=|<link(?! rel="icon" href="data:)|src=|@import|url\(/;
  expect(pageWith([backend(), DOWN, STANDBY])).not.toMatch(forbidden);
});

it("each state has a word and a sign, so that it is never told by colour alone", () => {
  const text = pageWith([backend(), SUSPECT, DOWN, STANDBY, USED]);
  const states = [...text.matchAll(/<h2 class="(\w+)">(.) \w+: (.*?) for/g)].map(([, ...state]) => state);
  const told = ["up ✓ up", "suspect ! suspect", "down × down", "unknown ? standby, unknown", "suspect ! down"];
  expect(states.map((state) => state.join(" "))).toEqual(told);
});

it("the headline has the sign of the worst that holds, and is the title", () => {
  const text = pageWith([backend(), DOWN]);
  expect(text).toContain('<h1 class="suspect">! 1 of 2 backends up</h1>');
  expect(text).toContain("<title>1 of 2 backends up</title>");
});

it("facts are shown where there is something to tell, of each backend and of the isolate", () => {
  const hour = "last hour: 0 requests, 0 failed";
  const down = "why: check: no answer; next check: within 18 s; last check: good, HTTP 200, 0 s ago, took 24 ms";
  const isolate =
    "running for: 90 s; data centre: unknown; requests: 12840; failovers: 31; ejections: 6; webSockets: 214";
  const facts = [...pageWith([STANDBY, DOWN], "").matchAll(/<dt>(.*?)<\/dt><dd>(.*?)<\/dd>/g)];
  expect(facts.map(([, name, fact]) => `${name}: ${fact}`).join("; ")).toBe([hour, down, hour, isolate].join("; "));
});

it("the page offers to pause, and to go on while it is paused", () => {
  const links = [false, true].map((isPaused) => /<a href="(.*?)">.*? refreshing/.exec(pageWith([], "", isPaused))?.[1]);
  expect(links).toEqual(["?refresh=off", "?"]);
});
