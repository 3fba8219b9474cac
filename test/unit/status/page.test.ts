import { describe, expect, it } from "vitest";
import type { BackendSnapshot, Snapshot } from "../../../src/status/facts.ts";
import { statusPage } from "../../../src/status/page.ts";
import { backend } from "./sample.ts";

const DOWN = backend({ id: "koyeb", state: "down", ejectedFor: "check: no answer", nextCheckSeconds: 18 });
const ASLEEP = backend({ id: "home", state: "unknown", backup: "asleep", finding: null });

function snapshotWith(backends: readonly BackendSnapshot[], isolate: Partial<Snapshot["isolate"]> = {}): Snapshot {
  const answering = backends.filter(({ state, backup }) => state === "up" && backup !== "asleep").length;
  const numbers = { ageSeconds: 90, requests: 12_840, failovers: 31, ejections: 6, webSockets: 214 };
  return { answering, backends, isolate: { dataCentre: "FRA", sharesFindings: true, ...numbers, ...isolate } };
}

const pageOf = (snapshot: Snapshot, refreshSeconds: number | undefined = 10) =>
  statusPage(snapshot, { nonce: "n", refreshSeconds });
const pageWith = (...backends: BackendSnapshot[]) => pageOf(snapshotWith(backends));

describe("the page", () => {
  it("escapes everything that is put into it", () => {
    const hostile = `<script>alert("1")</script>'&`;
    const reason = hostile as "check: no answer";
    const lastFailure = { reason: hostile as "silent", status: null, ageSeconds: 0 };
    const hostileBackend = backend({ id: hostile, ejectedFor: reason, lastFailure });
    const text = pageOf(snapshotWith([hostileBackend], { dataCentre: hostile }));
    expect(text).not.toContain("<script");
    expect(text.match(/&#60;script&#62;alert\(&#34;1&#34;\)&#60;\/script&#62;&#39;&#38;/g)).toHaveLength(4);
  });

  it("has no script, no inline style and no file of its own", () => {
    expect(pageWith(backend(), DOWN, ASLEEP)).not.toMatch(
      /<script|\sstyle=|\son\w+=|<link(?! rel="icon" href="data:)|src=|@import|url\(/,
    );
  });

  it("tells each state by a word and a sign, not by colour alone", () => {
    const text = pageWith(backend(), backend({ state: "suspect" }), DOWN, ASLEEP);
    const states = [...text.matchAll(/<b class="\w+"><i aria-hidden="true">(.)<\/i>(.*?)<\/b>/g)];
    expect(states.map(([, , word]) => word)).toEqual(["Up", "Suspect", "Down", "Backup, asleep"]);
    expect(new Set(states.map(([, sign]) => sign)).size).toBe(4);
  });

  it.each([
    ["up", [backend(), ASLEEP]],
    ["waiting", [backend(), DOWN]],
    ["waiting", [backend(), backend({ state: "suspect" })]],
    ["down", [DOWN, backend({ state: "suspect" })]],
  ])("is %s by the worst of its backends that is awake", (mood, backends) => {
    expect(pageWith(...backends)).toContain(`<h1 class="${mood}">`);
  });

  it("shows weights only where they differ", () => {
    expect(pageWith(backend({ weight: 5 }), backend({ weight: 5 }))).not.toContain("Weight");
    expect(pageWith(backend({ weight: 2 }), backend()).match(/<dt>Weight<\/dt><dd>[12]<\/dd>/g)).toHaveLength(2);
  });

  it("says why a backend is down, and of no other", () => {
    const text = pageWith(backend(), DOWN);
    expect([...text.matchAll(/<dt>Why<\/dt><dd>(.*?)<\/dd>/g)].map(([, why]) => why)).toEqual(["check: no answer"]);
  });

  it("tells the last hour in words beside every chart", () => {
    const minutes = Array.from({ length: 60 }, (_, i) => ({ requests: i === 58 ? 5 : 0, failures: i === 58 ? 1 : 0 }));
    const labels = [...pageWith(backend({ minutes }), DOWN).matchAll(/role="img" aria-label="([^"]*)"/g)];
    expect(labels.map(([, label]) => label)).toEqual(["Last hour: 5 requests, 1 failed", "Last hour: 0 requests"]);
  });

  it.each([
    [true, "Findings are shared within a data centre."],
    [false, "Findings are not shared: SHARE_HEALTH is off."],
  ])("says what isolates share (%j)", (sharesFindings, text) => {
    expect(pageOf(snapshotWith([backend()], { sharesFindings }))).toContain(text);
  });

  it("says what it does not know of the data centre", () => {
    expect(pageOf(snapshotWith([backend()], { dataCentre: "" }))).toContain("<dd>unknown</dd>");
  });
});
