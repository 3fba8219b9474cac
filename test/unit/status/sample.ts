import { parseConfig } from "../../../src/config.ts";
import { newCounters } from "../../../src/counters.ts";
import { type CheckResult, healthOf, newHealth, takeResult } from "../../../src/health/health-state.ts";
import type { Invocation } from "../../../src/health/monitor.ts";
import type { BackendSnapshot } from "../../../src/status/types.ts";

export const NOW_MS = 1_800_000_000_000;
export const IDS = ["cf", "duck", "koyeb"];
export const BACKUP = { BACKEND_DUCK: "duck.example.net backup" };
export const DEAD = { kind: "no answer", status: null, tookMs: 3_000 } as const;
export const RESULT = { kind: "good", status: 200, tookMs: 24, atMs: NOW_MS } as const;

export type Isolate = Pick<Invocation, "config" | "health" | "counters">;

/** An isolate that has just begun, with three backends. */
export function isolateWith(vars: Readonly<Record<string, unknown>> = {}): Isolate {
  const backends = Object.fromEntries(IDS.map((id) => [`BACKEND_${id.toUpperCase()}`, `${id}.example.net`]));
  const config = parseConfig({ PRIMARY_DOMAIN: "aiostreams.example.com", ...backends, ...vars });
  return { config, health: newHealth(NOW_MS, 0), counters: newCounters(NOW_MS) };
}

/** Takes in the result of a check that was good and has just ended, but for what is given. */
export function take(
  { health, config }: Isolate,
  id: string,
  result: Partial<CheckResult> = {},
  isShared = false,
): void {
  const whole: CheckResult = { kind: "good", status: 200, tookMs: 5, atMs: NOW_MS, ...result };
  takeResult(healthOf(health, id), whole, whole.atMs, config.downTimeMs, isShared);
}

/** What is shown of a backend that is up and idle, but for the parts that are given. */
export function backend(parts: Partial<BackendSnapshot> = {}): BackendSnapshot {
  return {
    id: "cf",
    weight: 1,
    role: "primary",
    state: "up",
    worksAllTheSame: false,
    isServing: true,
    sinceMs: NOW_MS - 90_000,
    ejectedFor: undefined,
    nextCheckMs: undefined,
    result: RESULT,
    isShared: false,
    lastFailure: undefined,
    minutes: [],
    ...parts,
  };
}

export function downBackend(parts: Partial<BackendSnapshot> = {}): BackendSnapshot {
  const down = {
    state: "down",
    isServing: false,
    ejectedFor: "check: no answer",
    nextCheckMs: NOW_MS + 18_000,
  } as const;
  return backend({ ...down, ...parts });
}
