import fc from "fast-check";
import { expect, it } from "vitest";
import type { BackendView } from "../../../src/health/view.ts";
import type { Outcome } from "../../../src/proxy/outcome.ts";
import { ATTEMPTS_PER_CANDIDATE, type Plan, UNSETTLED_MAX } from "../../../src/proxy/plan.ts";
import { type Given, planOf, type Sent, words } from "./given.ts";

const IDS = ["a", "b", "c", "d"];
const vars = { BACKEND_D: "d.example.net backup", BACKEND_TIMEOUT: 5_000 };
const NOW_MS = 10_000;

const ms = fc.integer({ min: 0, max: NOW_MS });
const moment = fc.oneof(ms, fc.constantFrom(Number.NEGATIVE_INFINITY, 8_999, 9_000, 9_001, NOW_MS));

const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.constant<Outcome>({ kind: "success" }),
  fc.record({ kind: fc.constant("doubtful" as const), atMs: ms, status: fc.constant(404) }),
  fc.constantFrom(500, 503, 521, 522).chain((status) =>
    fc.record({
      kind: fc.constant("failed" as const),
      atMs: ms,
      reason: fc.constant("unavailable" as const),
      status: fc.constant(status),
      isRelayable: fc.constant(status < 520),
    }),
  ),
  fc.record({
    kind: fc.constant("failed" as const),
    atMs: ms,
    reason: fc.constantFrom("network error" as const, "silent" as const, "timeout" as const),
    isRelayable: fc.constant(false),
  }),
);

const view: fc.Arbitrary<BackendView> = fc.record({
  state: fc.constantFrom("up" as const, "suspect" as const, "down" as const),
  worksAllTheSame: fc.boolean(),
  isBadByCheck: fc.boolean(),
  isUnreachable: fc.boolean(),
  hasServedLately: fc.boolean(),
  isHanging: fc.boolean(),
  lastLifeMs: moment,
  isCheckPending: fc.boolean(),
  isUnanswered: fc.boolean(),
  isKnownSilent: fc.boolean(),
  lastAsk: fc.option(fc.record({ beganMs: ms, endedMs: ms, isGood: fc.boolean() }), { nil: undefined }),
  vouchedMs: ms,
});
const views = fc.record(Object.fromEntries(IDS.map((id) => [id, view])));

const allowed = fc.record({
  repeat: fc.constantFrom("always" as const, "if unseen" as const, "never" as const),
  onceMore: fc.boolean(),
  hedgeOnSuspicion: fc.boolean(),
});
const retries = fc.nat(4);

/** Any state of a request that has asked each of some backends once. */
const given: fc.Arbitrary<Given> = fc
  .tuple(
    fc.shuffledSubarray(IDS),
    fc.array(fc.tuple(ms, fc.option(outcome)), { minLength: 4, maxLength: 4 }),
    fc.record({
      views,
      allowed,
      lastResortMs: fc.option(ms, { nil: undefined }),
      canCheck: fc.boolean(),
      unsettled: fc.nat(6),
      vars: retries.map((MAX_RETRIES) => ({ ...vars, MAX_RETRIES })),
    }),
  )
  .map(([ids, ends, rest]) => ({
    ...rest,
    attempts: ids.map((id, i): Sent => {
      const [sentMs, end] = ends[i] ?? [0, null];
      return { id, sentMs, isOnceMore: false, ...(end && { outcome: end }) };
    }),
  }));

const retriesOf = (some: Given) => Number(some.vars?.MAX_RETRIES);
const stateOf = (some: Given, id: string) => some.views?.[id]?.state;

function check(holds: (some: Given, next: Plan) => boolean): void {
  fc.assert(
    fc.property(given, (some) => holds(some, planOf(some, NOW_MS))),
    { numRuns: 1_000 },
  );
}

it("is the same each time, and changes nothing", () => {
  // What it is given is frozen.
  check((some, next) => words(planOf(some, NOW_MS)) === words(next));
});

it("asks only what may be asked", () => {
  check((some, next) => {
    if (next.do !== "ask") return true;
    const { attempts = [], allowed: may } = some;
    const { id } = next.backend;
    const isFree = Number(some.unsettled) < UNSETTLED_MAX;
    const areUnseen = attempts.every(({ outcome: end }) => end?.kind === "failed" && end.status === 521);
    const isFirst = attempts.length === 0;
    const isRepeatable = isFirst || may?.repeat === "always" || (may?.repeat === "if unseen" && areUnseen);
    const asked = attempts.find((attempt) => attempt.id === id);
    const isBroken = asked?.outcome?.kind === "failed" && asked.outcome.reason === "network error";
    const isReliable = stateOf(some, id) === "up" || some.lastResortMs !== undefined;
    const isStale = next.isOnceMore && isBroken && may?.onceMore === true && isReliable;
    const isUsable = stateOf(some, id) !== "down" || some.lastResortMs !== undefined;
    const isNew = !next.isOnceMore && isUsable && attempts.length <= retriesOf(some);
    return isFree && isRepeatable && (asked ? isStale : isNew);
  });
});

it("waits a second at most, and for no moment that has passed", () => {
  check((_, next) => next.do !== "wait" || (next.untilMs > NOW_MS && next.untilMs <= NOW_MS + 1_000));
});

it("does not wait while one that is up is unasked, all that is open is silent and a connection is free", () => {
  check((some, next) => {
    const { attempts = [] } = some;
    const isFree = Number(some.unsettled) < UNSETTLED_MAX && attempts.length <= retriesOf(some);
    const isRepeatable = attempts.length === 0 || some.allowed?.repeat === "always";
    const isUpUnasked = IDS.some((id) => stateOf(some, id) === "up" && !attempts.some((attempt) => attempt.id === id));
    const areSilent = attempts.every(({ id, sentMs, outcome: end }) => {
      if (end) return end.kind !== "doubtful";
      const lastAsk = some.views?.[id]?.lastAsk;
      // One that last resort has found good is no more silent than one that is up.
      const isGood = some.lastResortMs !== undefined && lastAsk?.isGood && lastAsk.endedMs >= some.lastResortMs;
      // One that is down by no check is no more than suspected.
      const isSuspected = !some.views?.[id]?.isUnreachable && !some.allowed?.hedgeOnSuspicion;
      return stateOf(some, id) === "down" && !isGood && !isSuspected && NOW_MS - sentMs >= 1_000;
    });
    // In a last resort the client's own order holds for a second.
    const isOrdered = some.lastResortMs !== undefined && NOW_MS - some.lastResortMs < 1_000;
    return next.do !== "wait" || !(isFree && isRepeatable && isUpUnasked && areSilent && !isOrdered);
  });
});

/** What happens next to the backends and to the attempts: any of it. */
const step = fc.record({ views, settles: fc.array(fc.option(outcome), { maxLength: 4 }) });

it("ends within its bounds, whatever happens to the backends meanwhile", () => {
  const steps = fc.array(step, { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(steps, retries, fc.constantFrom("always" as const, "if unseen" as const), (all, maxRetries, repeat) => {
      const attempts: Sent[] = [];
      const requested = new Set<string>();
      let lastResortMs: number | undefined;
      let nowMs = 0;
      for (let n = 0; ; n++) {
        expect(n).toBeLessThan(1_000);
        const { views: current, settles } = all[n % all.length] ?? { views: {}, settles: [] };
        const pending = [...requested].map((id) => [id, { ...current[id], isCheckPending: true }] as const);
        const next = planOf(
          {
            attempts,
            views: { ...current, ...Object.fromEntries(pending) },
            ...(lastResortMs !== undefined && { lastResortMs }),
            allowed: { repeat, onceMore: repeat === "always", hedgeOnSuspicion: repeat === "always" },
            vars: { ...vars, MAX_RETRIES: maxRetries },
          },
          nowMs,
        );
        if (next.do === "finish") break;
        if (next.do === "ask") attempts.push({ id: next.backend.id, sentMs: nowMs, isOnceMore: next.isOnceMore });
        if (next.do === "vouch" || next.do === "fail") {
          const found = attempts.findIndex(({ id, sentMs, isOnceMore }) => {
            const { attempt } = next;
            return id === attempt.backend.id && sentMs === attempt.sentMs && isOnceMore === attempt.isOnceMore;
          });
          const end: Outcome =
            next.do === "vouch"
              ? { kind: "success" }
              : { kind: "failed", atMs: nowMs, reason: next.reason, isRelayable: false };
          attempts[found] = { ...(attempts[found] as Sent), outcome: end };
        }
        if (next.do === "check") {
          for (const { id } of next.backends) requested.add(id);
          if (next.isLastResort) lastResortMs = nowMs;
        }
        if (next.do !== "wait") continue;
        nowMs = next.isPolled ? Math.min(next.untilMs, nowMs + 250) : next.untilMs;
        requested.clear();
        for (const [i, end] of settles.entries()) {
          const attempt = attempts[i];
          // An answer that would end it at once tells nothing.
          if (!attempt || attempt.outcome || !end || end.kind === "success") continue;
          attempts[i] = { ...attempt, outcome: { ...end, atMs: nowMs } };
        }
      }
      const firsts = attempts.filter(({ isOnceMore }) => !isOnceMore);
      expect(firsts.length).toBeLessThanOrEqual(1 + maxRetries);
      expect(attempts.length).toBeLessThanOrEqual(ATTEMPTS_PER_CANDIDATE * (1 + maxRetries));
      // Each attempt ends by its timeout, its doubt a second later; a last resort takes a second.
      expect(nowMs).toBeLessThanOrEqual(attempts.length * 6_000 + 1_000);
    }),
    { numRuns: 300 },
  );
});
