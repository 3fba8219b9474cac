import { describe, expect, it } from "vitest";
import { type BackendHealth, ejectionReasonOf, stateOf } from "../../../src/health/health-state.ts";
import {
  hasServedLately,
  isHanging,
  recordAttempt,
  recordConsecutiveFailure,
  recordFailure,
  recordSuccess,
  recordVouch,
} from "../../../src/health/traffic.ts";
import { backendAfter, DOWN_TIME_MS, take } from "./given.ts";

/** A request of the client failed there, and another backend succeeded with it at `nowMs`. */
const fail = (known: BackendHealth, client: string, failedMs: number, nowMs = failedMs) =>
  recordConsecutiveFailure(known, client, failedMs, nowMs, DOWN_TIME_MS);

/** `a0` is a failure of the client a at 0 s, `+a0` a success: in this order. Returns what each failure changed. */
function play(known: BackendHealth, history: string) {
  return history.split(" ").map((step) => {
    const [, plus, client = "", seconds] = /^(\+?)([a-z])(.+)$/.exec(step) ?? [];
    if (!plus) return fail(known, client, Number(seconds) * 1_000);
    recordSuccess(known, client, Number(seconds) * 1_000);
    return undefined;
  });
}

describe("outlier ejection", () => {
  it.each([
    ["five consecutive failures, of five clients, in ten seconds", "a0 b2 c4 d6 e10", true],
    ["four", "a0 b2 c4 d10", false],
    ["five in less than ten seconds", "a0 b2 c4 d6 e9.999", false],
    ["six, the first five in a burst", "a0 b0 c0 d0 e0 f10", true],
    ["five with a success in between", "a0 b2 c4 +f5 d6 e10", false],
    ["five after that success", "a0 +f1 a2 b4 c6 d8 e12", true],
    ["five of five clients, although others are served", "+x0 a1 b2 c3 d4 e11", true],
    ["five of one client, and no other was served", "a0 a2 a4 a6 a10", true],
    ["five of one client, and only this one was served", "+a0 a1 a2 a4 a6 a11", true],
    ["five of one client, another one served within a minute", "+x0 a49 a51 a53 a55 a59.999", false],
    ["five of one client, another one served a minute ago", "+x0 a50 a52 a54 a56 a60", true],
    ["five of two clients, both served before", "+a0 +b0 a1 b2 a3 b4 a11", true],
    ["five of two clients, both served, a single failure of one", "+a0 +b0 a1 a2 a3 b4 a11", false],
    ["seven of four clients, a fifth served before them", "+x0 +a1 +b1 +c1 +d1 a2 a3 b4 b5 c6 c7 d8 d13", false],
    ["six of one client, another one served again", "+x0 +b1 +c1 +d1 +e1 +x70 +f70 f71 f72 f73 f74 f75 f81", false],
  ])("is %s: %s", (_, history, isEjected) => {
    const changes = play(backendAfter(), history);
    expect(changes.filter(Boolean)).toEqual(isEjected ? ["ejected"] : []);
    expect(changes.at(-1)).toBe(isEjected ? "ejected" : undefined);
  });

  it("takes the backend out for one BACKEND_DOWN_TIME from then on", () => {
    const known = backendAfter();
    play(known, "a0 b2 c4 d6");
    fail(known, "e", 10_000, 11_000);
    expect(stateOf(known, 11_000)).toBe("down");
    expect([ejectionReasonOf(known), known.ejection?.untilMs]).toEqual(["consecutive failures", 11_000 + DOWN_TIME_MS]);
  });

  it("counts a failure at the moment it failed, not when another backend succeeded: a success after it forgives it", () => {
    const known = backendAfter();
    play(known, "a0 b2 c4 d6 +x11");
    for (const failedMs of [10_000, 11_000]) fail(known, "e", failedMs, 12_000);
    expect(known.traffic.failures.size).toBe(0);
  });

  it("counts no failure of a backend that is down, and starts anew when it has recovered", () => {
    const known = backendAfter();
    play(known, "a0 b2 c4 d6 e10");
    expect(play(known, "a11 b12 c13 d14 e25 f26").some(Boolean)).toBe(false);
    expect(take(known, "good", 50_000)).toBe("recovered");
    expect(play(known, "a51 b52 c53 d62 e63").at(-1)).toBe("ejected");
    expect(known.ejection?.untilMs).toBe(63_000 + 2 * DOWN_TIME_MS);
  });

  it("holds no memory for thousands of clients", () => {
    const known = backendAfter();
    for (let i = 0; i < 2_000; i++) fail(known, `f${i}`, 1);
    expect(known.traffic.failures.size).toBe(64);
    fail(known, "f0", 1);
    expect(known.traffic.failures.get("f0")).toBe(2);
    for (let i = 0; i < 2_000; i++) {
      recordSuccess(known, `s${i}`, 2);
      recordVouch(known, `s${i}`, 2);
    }
    for (let i = 0; i < 2_000; i++) recordAttempt(known, 3);
    const { servedMs, unansweredMs } = known.traffic;
    expect([servedMs.size, known.vouchedMs.size, unansweredMs.length]).toEqual([5, 64, 64]);
  });
});

it("the minutes count attempts and failures, and the last failure is kept, however many attempts follow it", () => {
  const known = backendAfter("sent@1 failed@2 sent@3 sent@60000");
  recordFailure(known, { reason: "network error", atMs: 60_001 });
  recordAttempt(known, 60_002);
  expect(known.traffic).toMatchObject({
    lastFailure: { reason: "network error", status: undefined, atMs: 60_001 },
    minutes: [
      { startMs: 0, requests: 2, failures: 1 },
      { startMs: 60_000, requests: 2, failures: 1 },
    ],
  });
});

describe("a success", () => {
  it("of a backend that is down requests a check", () => {
    expect(["", "bad@0"].map((history) => recordSuccess(backendAfter(history), "a", 1))).toEqual([false, true]);
  });

  it.each([
    ["ends that of an outlier ejection", "outlier@0", 10_000, 10_000],
    ["never puts it off", "outlier@0", 50_000, DOWN_TIME_MS],
    ["does not end that of an ejection by a check", "bad@0 good@1 bad@10000", 15_000, 40_000],
  ])("and the term: it %s", (_, history, atMs, untilMs) => {
    const known = backendAfter(`${history} served@${atMs}`);
    expect([stateOf(known, atMs), known.ejection?.untilMs]).toEqual(["down", untilMs]);
  });
});

describe("a backend hangs", () => {
  it.each([
    ["ten seconds after the first of two attempts that wait was sent", "sent@1000 sent@9000", 11_000, true],
    ["not before", "sent@1000 sent@9000", 10_999, false],
    [
      "however many have waited for longer than two minutes",
      `${"sent@0 ".repeat(70)}sent@130000 sent@130001`,
      140_000,
      true,
    ],
    ["until two minutes after it was sent: its client may have left", "sent@1000 sent@9000", 120_999, true],
    ["not later", "sent@1000 sent@9000", 121_000, false],
    ["not because of one attempt", "sent@0", 60_000, false],
    ["when one of three was answered or broke", "sent@0 sent@1 sent@2 ended@1", 20_000, true],
    ["not when two of them were", "sent@0 sent@1 sent@2 ended@1 ended@2", 20_000, false],
    ["in spite of a good check", "sent@0 sent@1 good@15000", 20_000, true],
    ["not after a success", "sent@0 sent@1 served@15000", 20_000, false],
    ["not within ten seconds of the first one after that", "sent@0 sent@1 served@20 sent@30 sent@40", 10_029, false],
    ["ten seconds after it", "sent@0 sent@1 served@20 sent@30 sent@40", 10_030, true],
    ["when an attempt ends that was sent before the success", "sent@0 served@1 sent@2 sent@3 ended@0", 20_000, true],
    ["when one ends that no other follows", "sent@0 served@1 ended@0 sent@2 sent@3", 20_000, true],
  ])("%s", (_, history, nowMs, is) => {
    expect(isHanging(backendAfter(history), nowMs)).toBe(is);
  });
});

describe("a backend has served lately", () => {
  it.each([
    ["not while it has had no success", "", 0, false],
    ["for a minute after a success", "served@0", 59_999, true],
    ["not longer", "served@0", 60_001, false],
    ["for a minute after it came, however long it took", "late@50000", 110_000, true],
    ["not when a check has begun since that may say otherwise", "served@0 check@1", 2, false],
    ["until a failure, of the same moment too", "served@1 failed@1", 2, false],
    ["from the next success on", "served@1 failed@1 served@3", 3, true],
    ["whatever was sent before it, and ended after it", "check@3 served@5 late@6", 7, true],
    ["not by what was sent before the check began, and ended after it", "sent@0 check@1 late@2", 2, false],
  ])("%s", (_, history, nowMs, has) => {
    expect(hasServedLately(backendAfter(history), nowMs)).toBe(has);
  });
});
