import { describe, expect, it } from "vitest";
import { healthOf, newHealth, takeResult } from "../../../src/health/health-state.ts";
import { recordVouch } from "../../../src/health/traffic.ts";
import { isAvailable, isStandby, viewOf, worksAllTheSame } from "../../../src/health/view.ts";
import { backendAfter, DOWN_TIME_MS, found } from "./given.ts";

/** The moment at which the views are taken. */
const NOW_MS = 100_000;

const [A, B, C] = [
  { id: "a", isBackup: false } as const,
  { id: "b", isBackup: false } as const,
  { id: "c", isBackup: true } as const,
];

/** Backends with these histories: a, b and c. */
function given(...histories: string[]) {
  const health = newHealth(0, 0);
  for (const [i, { id }] of [A, B, C].entries()) backendAfter(histories[i], healthOf(health, id));
  return health;
}

const SERVES = "bad@90000 served@99000";

describe("a backend works all the same while none is up", () => {
  it.each([
    ["it is down, but a user had a success of it", "silent@90000 served@99000", "silent@90000", true],
    ["that success is nearly a minute old", "silent@40000 served@40001", "silent@90000", true],
    ["not when it is more than a minute old", "silent@39000 served@39999", "silent@90000", false],
    ["not when it failed a user after it", "silent@90000 served@98000 failed@99000", "silent@90000", false],
    ["it was ejected for consecutive failures, and serves again", "outlier@90000 served@99000", "silent@90000", true],
    ["not when another one is up", "silent@90000 served@99000", "", false],
    ["another one has come up since its check", "silent@90000 served@99000", "bad@90000 good@98000", true],
    ["not when it was checked again since", "silent@98500 served@99000", "bad@90000 good@98000", false],
    [
      "not a suspect whose check began after that",
      "good@80000 check@98500 served@99000",
      "bad@90000 good@97000",
      false,
    ],
    ["not because one serves that has come up since", "bad@90000", `${SERVES} good@99000 served@99500`, false],
    [
      "not when a request there waits as long as a check",
      "silent@90000 sent@97000",
      "silent@90000 served@99000",
      false,
    ],
    ["a request there waits less long", "silent@90000 sent@97001", "silent@90000 served@99000", true],
    ["another one is suspect, and that is not up", "silent@90000 served@99000", "check@98500", true],
    ["not when none serves", "bad@90000", "bad@90000", false],
    ["another one serves, and its own check was answered with a bad status", "bad@90000", SERVES, true],
    ["not when its check was answered with something else, as by a platform", "page@90000", SERVES, false],
    ["so was the check of the one that serves", "page@90000", "page@90000 served@99000", true],
    ["not when its check had no answer", "silent@90000", SERVES, false],
    ["not when its check broke", "broken@90000", SERVES, false],
    ["not when the check under way has had no answer for a second", "bad@90000 check@98500", SERVES, false],
    ["the check under way is younger", "bad@90000 check@99500", SERVES, true],
    ["not when it has failed a user since its check", "bad@90000 failed@90000", SERVES, false],
    ["it failed a user before that check", "bad@90000 failed@89999", SERVES, true],
    ["the check of the one that serves had no answer either", "silent@90000", "silent@90000 served@99000", true],
    ["nor has the first check of both", "check@98500", "check@98500 served@99000", true],
    ["it failed a user before that began", "failed@98400 check@98500", "check@98500 served@99000", true],
    ["not when it failed a user since that began", "check@98500 failed@99000", "check@98500 served@99000", false],
    ["not when the one that served has failed a user since", "bad@90000", `${SERVES} failed@99500`, false],
  ])("%s", (_, a, b, works) => {
    expect(worksAllTheSame(A, [A, B], given(a, b), NOW_MS)).toBe(works);
  });

  it("for a result of a check that began before another one came up, if the isolate knows both", () => {
    const works = (startedMs: number, tookMs: number) => {
      const health = newHealth(startedMs, 0);
      takeResult(healthOf(health, "a"), found("bad status", 98_000, tookMs), 98_000, DOWN_TIME_MS);
      backendAfter("served@99000", healthOf(health, "a"));
      backendAfter("bad@90000 good@97000", healthOf(health, "b"));
      return worksAllTheSame(A, [A, B], health, NOW_MS);
    };
    expect([works(0, 1_001), works(0, 1_000), works(97_000, 1_001)]).toEqual([true, false, false]);
  });

  it("and counts as up for requests, and says so; one that is up is just up", () => {
    const stateOfA = (a: string) => {
      const { state, worksAllTheSame } = viewOf(A, [A, B], given(a, "broken@90000"), "x", NOW_MS);
      return [state, worksAllTheSame];
    };
    expect(["bad@90000 served@99000", "bad@90000", "good@90000 served@99000"].map(stateOfA)).toEqual([
      ["up", true],
      ["down", false],
      ["up", false],
    ]);
  });
});

describe("a view", () => {
  it.each([
    ["found no connection", "broken@90000", true],
    ["had no answer", "silent@90000", true],
    ["had a bad status", "bad@90000", false],
    ["was good", "silent@80000 good@90000", false],
  ])("says whether a backend is unreachable: its last check %s", (_, history, isUnreachable) => {
    expect(viewOf(A, [A], given(history), "x", NOW_MS).isUnreachable).toBe(isUnreachable);
  });

  it.each([
    ["the last success", "good@90000 served@95000", 95_000],
    ["the last good check", "served@80000 good@90000", 90_000],
    ["no bad check", "served@80000 bad@90000", 80_000],
  ])("has the latest life: %s", (_, history, lastLifeMs) => {
    expect(viewOf(A, [A], given(history), "x", NOW_MS).lastLifeMs).toBe(lastLifeMs);
  });

  it.each([
    ["nothing", "", false, false, false],
    ["a check that had no answer", "silent@90000", false, true, false],
    ["a bad answer", "bad@90000", false, false, false],
    ["a check that is requested", "requested", false, false, true],
    ["a check younger than a second", "check@99001", false, false, true],
    ["a check that has gone unanswered for a second", "check@99000", true, true, true],
    ["a check that is lost", "check@96000", false, false, false],
  ])("says what is known of the check: %s", (_, history, isUnanswered, isKnownSilent, isCheckPending) => {
    const view = viewOf(A, [A], given(history), "x", NOW_MS);
    expect(view).toMatchObject({ isUnanswered, isKnownSilent, isCheckPending });
  });

  it("says whether it hangs, what its last ask gave, and when one vouched for the client", () => {
    const health = given("served@50000 sent@60000 sent@61000");
    const lastAsk = { beganMs: 98_900, endedMs: 99_000, isGood: true };
    healthOf(health, "a").lastAsk = lastAsk;
    recordVouch(healthOf(health, "a"), "x", 99_500);
    const expected = { isHanging: true, lastAsk, vouchedMs: 99_500 };
    expect(viewOf(A, [A], health, "x", NOW_MS)).toMatchObject(expected);
  });
});

describe("available, standby", () => {
  it.each([
    ["every primary is up", "", "", true],
    ["one primary is up", "silent@90000", "", true],
    ["every primary is down", "silent@90000", "silent@90000", false],
    ["every primary is suspect or down", "check@98500", "silent@90000", false],
    ["the primaries work all the same", SERVES, SERVES, false],
  ])("a backup is on standby, and not available, while a primary is up: %s", (_, a, b, isOnStandby) => {
    const health = given(a, b);
    expect(isStandby(C, [A, B, C], health, NOW_MS)).toBe(isOnStandby);
    expect(isAvailable(C, [A, B, C], health, NOW_MS)).toBe(!isOnStandby);
  });

  it("a backup that is up keeps no other one on standby", () => {
    expect(isStandby(C, [{ id: "a", isBackup: true }, C], given(), NOW_MS)).toBe(false);
  });

  it.each([
    ["up", "", true],
    ["suspect", "check@98500", true],
    ["down", "silent@90000", false],
    ["down, but works all the same", "silent@90000 served@99000", false],
  ])("a primary is never on standby, and available while it is not down: %s", (_, a, is) => {
    const health = given(a, "silent@90000", "silent@90000");
    expect([isStandby(A, [A, B, C], health, NOW_MS), isAvailable(A, [A, B, C], health, NOW_MS)]).toEqual([false, is]);
  });
});
