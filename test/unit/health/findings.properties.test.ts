import fc from "fast-check";
import { afterEach, expect, it, vi } from "vitest";
import {
  answered,
  type BackendHealth,
  beginCheck,
  CHECK_RESULTS,
  compareFindings,
  endCheck,
  type Finding,
  isCheckDue,
  isDown,
  mayCheck,
  outdone,
  sent,
  stateOf,
  takeFinding,
} from "../../../src/health/findings.ts";
import { unknownBackend } from "./given.ts";

const TIMES = { healthCheckIntervalMs: 30_000, downTimeMs: 30_000, probeAfterMs: 1_000 };

/** Few moments, so that many findings are of the same one. */
const findings: fc.Arbitrary<Finding> = fc.record({
  result: fc.constantFrom(...CHECK_RESULTS),
  status: fc.constantFrom(null, 200, 404, 503),
  tookMs: fc.integer({ min: 0, max: 4 }),
  atMs: fc.integer({ min: 10, max: 16 }),
});

function merged(order: readonly Finding[]): BackendHealth {
  const known = unknownBackend();
  for (const finding of order) takeFinding(known, finding, 100, true);
  return known;
}

afterEach(() => {
  vi.restoreAllMocks();
});

it("findings merged in any order give the same result", () => {
  const orders = fc
    .array(findings, { maxLength: 8 })
    .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
  fc.assert(
    fc.property(orders, ([one, other]) => {
      expect(merged(one).finding).toEqual(merged(other).finding);
    }),
    { numRuns: 1_000 },
  );
});

it("findings merged in two halves, as two isolates do, give the same as one after the other", () => {
  const some = fc.array(findings, { maxLength: 6 });
  fc.assert(
    fc.property(some, some, (mine, theirs) => {
      const halves = [merged(mine), merged(theirs)].flatMap(({ finding }) => finding ?? []);
      expect(merged(halves).finding).toEqual(merged([...mine, ...theirs]).finding);
    }),
    { numRuns: 1_000 },
  );
});

it("two findings compare the same from either side, and as equal only when they are", () => {
  fc.assert(
    fc.property(findings, findings, (a, b) => {
      expect(Math.sign(compareFindings(a, b))).toBe(0 - Math.sign(compareFindings(b, a)));
      if (compareFindings(a, b) === 0) expect(a).toEqual(b);
    }),
    { numRuns: 2_000 },
  );
});

type Step = (known: BackendHealth, nowMs: number) => unknown;

const STEPS: Record<string, Step> = {
  sent,
  answered: (known, ms) => answered(known, "someone", ms),
  "another answered": (known, ms) => answered(known, "somebody else", ms),
  outdone: (known, ms) => outdone(known, "someone", ms, ms, TIMES.downTimeMs),
  "check begins": (known, ms) => beginCheck(known, ms, 4_000),
  "check ends": endCheck,
  good: (known, ms) => takeFinding(known, { result: "good", status: 200, tookMs: 5, atMs: ms }, ms, false),
  bad: (known, ms) => takeFinding(known, { result: "no answer", status: null, tookMs: 3_000, atMs: ms }, ms, true),
};
const history = fc.array(fc.tuple(fc.constantFrom(...Object.values(STEPS)), fc.integer({ min: 0, max: 20_000 })));

it("a state depends on what happened and the time that is passed in, on no clock", () => {
  vi.spyOn(Date, "now").mockImplementation(() => {
    throw new Error("the clock was read");
  });
  vi.spyOn(performance, "now").mockImplementation(() => {
    throw new Error("the clock was read");
  });
  const live = (steps: [Step, number][], startMs: number) => {
    const known = unknownBackend(startMs);
    let ms = startMs;
    return steps.map(([step, pauseMs]) => {
      ms += pauseMs;
      step(known, ms);
      return [stateOf(known, ms), mayCheck(known, ms), isCheckDue(known, ms, TIMES, false)];
    });
  };
  fc.assert(
    fc.property(history, fc.integer({ min: 0, max: 2 ** 40 }), (steps, startMs) => {
      expect(live(steps, startMs)).toEqual(live(steps, 1_000_000));
    }),
  );
});

it("one client's failures never take a backend out that answers others", () => {
  const others = fc.constantFrom("b", "c", "d");
  const attack = fc.array(
    fc.record({ client: others, answersOfOwn: fc.nat(3), failures: fc.nat(20), pauseMs: fc.nat(59_000) }),
  );
  fc.assert(
    fc.property(attack, (rounds) => {
      const known = unknownBackend();
      let ms = 0;
      answered(known, "b", ms);
      for (const { client, answersOfOwn, failures, pauseMs } of rounds) {
        for (let n = 0; n < failures; n++) expect(outdone(known, "attacker", ms, ms, TIMES.downTimeMs)).toBeUndefined();
        for (let n = 0; n < answersOfOwn; n++) answered(known, "attacker", ms);
        ms += pauseMs;
        for (let n = 0; n < failures; n++) expect(outdone(known, "attacker", ms, ms, TIMES.downTimeMs)).toBeUndefined();
        answered(known, client, ms);
      }
      expect(isDown(known)).toBe(false);
    }),
  );
});
