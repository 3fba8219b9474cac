import { beforeEach, describe, expect, it } from "vitest";
import { answered, type BackendHealth, beginCheck, endCheck, takeFinding } from "../../../src/health/findings.ts";
import { listen, type Silence, type Verdict } from "../../../src/proxy/silence.ts";
import { found, unknownBackend } from "../health/given.ts";

const PROBE_AFTER_MS = 1_000;
const SENT_MS = 10_000;

let known: BackendHealth;
let silence: Silence;
const take = (...args: Parameters<typeof found>) => takeFinding(known, found(...args), args[1], false);
const at = (ms: number, isCautious = false): Verdict => listen(silence, known, SENT_MS + ms, isCautious);

const newSilence = (sinceMs: number, lookAfterMs: number): Silence => {
  return { sinceMs, lookMs: sinceMs + lookAfterMs, lookAfterMs, questionedMs: undefined };
};

beforeEach(() => {
  known = unknownBackend();
  silence = newSilence(SENT_MS, PROBE_AFTER_MS);
});

describe("an attempt without headers", () => {
  it("is waited for until PROBE_AFTER, whatever is known of its backend", () => {
    take("no answer", SENT_MS + 1);
    expect([at(0), at(999)]).toEqual(["waiting", "waiting"]);
  });

  it("calls for a check then, once", () => {
    expect([at(1_000), at(1_000), at(1_025), at(1_999)]).toEqual([
      "unquestioned",
      "questioned",
      "questioned",
      "questioned",
    ]);
  });

  it("calls for none when its backend has given a sign of life since it was sent", () => {
    answered(known, "someone", SENT_MS + 1);
    expect(at(1_000)).toBe("waiting");
  });

  it("calls for one when the last sign of life is older than the attempt", () => {
    answered(known, "someone", SENT_MS);
    expect(at(1_000)).toBe("unquestioned");
  });

  it("is not relied on when no sign of life follows within a second", () => {
    at(1_000);
    expect([at(1_999), at(2_000), at(60_000)]).toEqual(["questioned", "silent", "silent"]);
  });

  it("is not relied on as soon as its backend is found down", () => {
    at(1_000);
    take("network error", SENT_MS + 1_100);
    expect(at(1_100)).toBe("silent");
  });

  it("is not relied on at once when its backend is down or suspect already", () => {
    beginCheck(known, SENT_MS, 4_000);
    expect(at(1_000)).toBe("silent");
    endCheck(known);
    silence = newSilence(SENT_MS, PROBE_AFTER_MS);
    take("bad status", SENT_MS + 500);
    expect(at(1_000)).toBe("silent");
  });

  it("is waited for again when its backend shows life after all", () => {
    at(1_000);
    expect(at(2_500)).toBe("silent");
    take("good", SENT_MS + 2_600);
    expect(at(2_600)).toBe("waiting");
  });

  it("is looked at again after twice the time, and so on: 100 s cost a handful of checks", () => {
    const looksMs: number[] = [];
    for (let ms = 0; ms < 100_000; ms += 10) {
      if (at(ms) !== "unquestioned") continue;
      looksMs.push(ms);
      take("good", SENT_MS + ms + 5);
    }
    expect(looksMs.length).toBeLessThanOrEqual(7);
    expect(looksMs.slice(0, 4)).toEqual([1_000, 3_010, 7_020, 15_030]);
  });

  it("is looked at by PROBE_AFTER, not by the second", () => {
    silence = newSilence(SENT_MS, 250);
    expect([at(249), at(250)]).toEqual(["waiting", "unquestioned"]);
  });
});

describe("an attempt that must not be carried out twice on suspicion", () => {
  const cautious = (ms: number) => at(ms, true);

  it("calls for a check like any other", () => {
    expect([cautious(999), cautious(1_000), cautious(1_025)]).toEqual(["waiting", "unquestioned", "questioned"]);
  });

  it("is relied on while its backend is only suspect", () => {
    cautious(1_000);
    beginCheck(known, SENT_MS + 1_000, 4_000);
    expect([cautious(2_000), cautious(3_999)]).toEqual(["questioned", "questioned"]);
  });

  it("is not relied on once its backend is found down", () => {
    cautious(1_000);
    take("no answer", SENT_MS + 4_000, 3_000);
    expect(cautious(4_000)).toBe("silent");
  });

  it("is relied on for as long as its check has found nothing", () => {
    cautious(1_000);
    expect([cautious(2_000), cautious(5_999), cautious(60_000)]).toEqual(["questioned", "questioned", "questioned"]);
  });

  it("stays given up when its backend stays down", () => {
    cautious(1_000);
    take("no answer", SENT_MS + 4_000, 3_000);
    expect([cautious(6_000), cautious(60_000)]).toEqual(["silent", "silent"]);
  });
});
