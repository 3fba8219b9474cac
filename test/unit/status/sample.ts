import type { BackendSnapshot } from "../../../src/status/facts.ts";

export const FINDING = { result: "good", status: 200, milliseconds: 24, ageSeconds: 0, isShared: false } as const;

/** The facts of a backend that is up and idle, but for those that are given. */
export function backend(facts: Partial<BackendSnapshot> = {}): BackendSnapshot {
  return {
    id: "cf",
    state: "up",
    backup: null,
    weight: 1,
    sinceSeconds: 90,
    ejectedFor: null,
    nextCheckSeconds: null,
    finding: FINDING,
    isBeingChecked: false,
    lastFailure: null,
    requests: 0,
    failures: 0,
    minutes: Array(60).fill({ requests: 0, failures: 0 }),
    ...facts,
  };
}
