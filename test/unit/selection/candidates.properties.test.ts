import fc from "fast-check";
import { expect, it } from "vitest";
import type { Backend, Config } from "../../../src/config.ts";
import { hashText } from "../../../src/hash.ts";
import { beginCheck, type Health, healthOf, newHealth, takeFinding } from "../../../src/health/findings.ts";
import { type AskedBackends, nextCandidate } from "../../../src/selection/candidates.ts";
import { clientKey, score } from "../../../src/selection/rendezvous.ts";
import { found } from "../health/given.ts";
import { configWith } from "../sample.ts";

const NOW_MS = 100_000;
const NONE = { BACKEND_A: "", BACKEND_B: "", BACKEND_C: "" };

const STATES = ["up", "suspect", "down"] as const;

interface Setting {
  readonly isBackup: boolean;
  readonly weight: number;
  readonly state: (typeof STATES)[number];
  /** What it does when it is asked: whether its connection breaks, and whether that one breaks too. */
  readonly breaks: boolean;
}

const settings: fc.Arbitrary<Setting[]> = fc.array(
  fc.record({
    isBackup: fc.boolean(),
    weight: fc.integer({ min: 1, max: 100 }),
    state: fc.constantFrom(...STATES),
    breaks: fc.boolean(),
  }),
  { minLength: 1, maxLength: 8 },
);

function world(given: readonly Setting[]): {
  config: Config;
  health: Health;
  settingOf: (backend: Backend) => Setting;
} {
  const vars = given.map(({ isBackup, weight }, n) => [
    `BACKEND_N${n}`,
    // One at least is no backup.
    `n${n}.example.net weight=${weight}${isBackup && n > 0 ? " backup" : ""}`,
  ]);
  const config = configWith({ ...NONE, ...Object.fromEntries(vars) });
  const health = newHealth(0);
  const settingOf = ({ id }: Backend) => given[Number(id.slice(1))] as Setting;
  for (const backend of config.backends) {
    const known = healthOf(health, backend.id);
    const { state } = settingOf(backend);
    if (state === "down") takeFinding(known, found("bad status", 1_000), 1_000, false);
    if (state === "suspect") beginCheck(known, NOW_MS - 1_500, 4_000);
  }
  return { config, health, settingOf };
}

it("candidates come by rank, within it the cookie's first, then by the client's own order, and no more often than they may", () => {
  const requests = fc.record({
    ip: fc.oneof(fc.ipV4(), fc.ipV6(), fc.constant("")),
    boundTo: fc.option(fc.nat()),
    isIdempotent: fc.boolean(),
    hasAnswer: fc.boolean(),
  });
  fc.assert(
    fc.property(settings, requests, (given, { ip, boundTo, isIdempotent, hasAnswer }) => {
      const { config, health, settingOf } = world(given);
      const { backends } = config;
      const bound = boundTo === null ? undefined : backends[boundTo % backends.length];

      const asked: AskedBackends = new Map();
      const order: Backend[] = [];
      for (;;) {
        const backend = nextCandidate(config, health, { bound, ip }, asked, { hasAnswer, isIdempotent }, NOW_MS);
        if (!backend || order.length > 20) break;
        order.push(backend);
        asked.set(backend, settingOf(backend).breaks && !asked.has(backend) ? "may be asked again" : "done");
      }

      // The same by sorting, in the words of the rules.
      const keyHash = hashText(clientKey(ip));
      const preference = (backend: Backend) => (backend === bound ? Number.POSITIVE_INFINITY : score(keyHash, backend));
      const inOrder = (some: readonly Backend[]) => [...some].sort((x, y) => (preference(y) > preference(x) ? 1 : -1));
      const up = backends.filter((backend) => settingOf(backend).state === "up");
      const suspects = backends.filter((backend) => settingOf(backend).state === "suspect");
      const expected = [
        ...inOrder(up.filter(({ isBackup }) => !isBackup)),
        ...inOrder(up.filter(({ isBackup }) => isBackup)),
        ...inOrder(up.filter((backend) => isIdempotent && settingOf(backend).breaks)),
        ...inOrder(hasAnswer ? [] : suspects),
      ];
      expect(order.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    }),
    { numRuns: 500 },
  );
});

it("a failure moves only the clients of the backend that failed", () => {
  fc.assert(
    fc.property(settings, fc.ipV4(), fc.nat(), (given, ip, pick) => {
      const { config, health } = world(given);
      const first = () =>
        nextCandidate(
          config,
          health,
          { bound: undefined, ip },
          new Map(),
          { hasAnswer: false, isIdempotent: true },
          NOW_MS,
        );
      const before = first();
      const failed = config.backends[pick % config.backends.length] as Backend;
      takeFinding(healthOf(health, failed.id), found("network error", 2_000), 2_000, false);
      return before === failed || first() === before;
    }),
  );
});
