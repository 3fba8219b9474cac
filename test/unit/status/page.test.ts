import { expect, it } from "vitest";
import { statusPage } from "../../../src/status/page.ts";
import type { BackendSnapshot, Snapshot } from "../../../src/status/types.ts";
import { backend, downBackend } from "./sample.ts";

const DOWN = downBackend({ id: "koyeb" });
const USED = downBackend({ worksAllTheSame: true });
const STANDBY = backend({ id: "home", state: "unknown", backup: "standby", result: null });
const SUSPECT = backend({ state: "suspect" });

function pageWith(backends: readonly BackendSnapshot[], isolate: Partial<Snapshot["isolate"]> = {}): string {
  const answering = backends.filter(({ state, worksAllTheSame }) => state !== "down" || worksAllTheSame).length;
  const counts = { ageSeconds: 90, requests: 12_840, failovers: 31, ejections: 6, webSockets: 214 };
  const whole = { dataCentre: "FRA", sharesResults: true, ...counts, ...isolate };
  return statusPage({ answering, backends, isolate: whole }, { nonce: "n", refreshSeconds: 10 });
}

it("the page escapes everything that is put into it", () => {
  const hostile = `<script>alert("1")</script>'&`;
  const reason = hostile as "check: no answer";
  const lastFailure = { reason: hostile as "silent", status: null, ageSeconds: 0 };
  const text = pageWith([backend({ id: hostile, ejectedFor: reason, lastFailure })], { dataCentre: hostile });
  expect(text).not.toContain("<script");
  expect(text.match(/&#60;script&#62;alert\(&#34;1&#34;\)&#60;\/script&#62;&#39;&#38;/g)).toHaveLength(4);
});

it("the page has no script, no inline style and no file of its own", () => {
  const forbidden = /<script|\sstyle=|\son\w+=|<link(?! rel="icon" href="data:)|src=|@import|url\(/;
  expect(pageWith([backend(), DOWN, STANDBY])).not.toMatch(forbidden);
});

it("each state has a word and a sign, so that it is never told by colour alone", () => {
  const text = pageWith([backend(), SUSPECT, DOWN, STANDBY]);
  const states = [...text.matchAll(/<b class="\w+"><i aria-hidden="true">(.)<\/i>(.*?)<\/b>/g)];
  expect(states.map(([, , word]) => word)).toEqual(["Up", "Suspect", "Down", "Backup, standby"]);
  expect(new Set(states.map(([, sign]) => sign)).size).toBe(4);
});

it.each([
  ["up", [backend(), STANDBY]],
  ["waiting", [backend(), DOWN]],
  ["waiting", [DOWN, USED]],
  ["down", [DOWN, DOWN]],
])("the headline is %s by the worst backend, and down where no user is served (%#)", (tone, backends) => {
  expect(pageWith(backends)).toContain(`<h1 class="${tone}">`);
});

it("facts are shown where they say something: a weight that is not 1, why a backend is down, a data centre, what is shared", () => {
  const values = (name: string, text: string) =>
    [...text.matchAll(new RegExp(`<dt>${name}</dt><dd>(.*?)</dd>`, "g"))].map(([, value]) => value);
  const same = pageWith([backend(), downBackend()], { dataCentre: "" });
  expect(values("Weight", same)).toEqual([]);
  expect(values("Weight", pageWith([backend({ weight: 2 }), backend()]))).toEqual(["2"]);
  expect(values("Why", same)).toEqual(["check: no answer"]);
  expect(values("Data centre", same)).toEqual(["unknown"]);
  expect(same).toContain("Results are shared within a data centre.");
  expect(pageWith([], { sharesResults: false })).toContain("Results are not shared: SHARE_HEALTH is off.");
});

it("every chart is told in words too", () => {
  const minutes = Array(60).fill({ requests: 5, failures: 1 });
  const labels = [...pageWith([backend({ minutes }), DOWN]).matchAll(/role="img" aria-label="([^"]*)"/g)];
  expect(labels.map(([, label]) => label)).toEqual(["Last hour: 300 requests, 60 failed", "Last hour: 0 requests"]);
});
