import fc from "fast-check";
import { type Backend, type Config, ConfigError, type ConfigIssue, parseConfig } from "../../src/config.ts";
import { newCounters } from "../../src/counters.ts";
import { newHealth } from "../../src/health/health-state.ts";
import type { Invocation } from "../../src/health/monitor.ts";
import { Subrequests } from "../../src/health/subrequests.ts";

/** What the tests configure where it does not matter: three backends of equal weight. */
export const VARS = {
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_A: "a.example.net",
  BACKEND_B: "b.example.net",
  BACKEND_C: "c.example.net",
};

export function configWith(vars: Readonly<Record<string, unknown>> = {}): Config {
  return parseConfig({ ...VARS, ...vars });
}

export function backendOf(config: Config, id: string): Backend {
  const backend = config.backends.find((candidate) => candidate.id === id);
  if (!backend) throw new Error(`no backend ${id}`);
  return backend;
}

/** What is wrong with the variables; nothing where they are accepted. */
export function issuesOf(vars: Readonly<Record<string, unknown>>): readonly ConfigIssue[] {
  try {
    parseConfig(vars);
  } catch (error) {
    if (error instanceof ConfigError) return error.issues;
    throw error;
  }
  return [];
}

export interface SampleInvocation extends Invocation {
  /** What was given to `waitUntil`. */
  readonly pending: Promise<unknown>[];
}

/** One invocation of the Worker; `parts` take the place of what it would bring along. */
export function invocationOf(config: Config, parts: Partial<Invocation> = {}): SampleInvocation {
  const pending: Promise<unknown>[] = [];
  return {
    config,
    health: newHealth(Date.now(), 0),
    counters: newCounters(Date.now()),
    ctx: { waitUntil: (promise) => void pending.push(promise) },
    ray: "ray",
    subrequests: new Subrequests(4),
    cacheUse: { isBusy: false, isWriteDue: false },
    wake: () => {},
    ...parts,
    pending,
  };
}

/** Any text, half a surrogate pair included; far cheaper to begin with than the text that fast-check has of its own. */
export const anyText: fc.Arbitrary<string> = fc
  .array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff)), { maxLength: 40 })
  .map((units) => String.fromCharCode(...units));
