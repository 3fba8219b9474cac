import type { Backend, Config } from "../../../src/config.ts";
import { NEVER } from "../../../src/health/health-state.ts";
import type { BackendView } from "../../../src/health/view.ts";
import type { Allowed, Outcome } from "../../../src/proxy/outcome.ts";
import { type Plan, plan } from "../../../src/proxy/plan.ts";
import type { Attempt, RequestState } from "../../../src/proxy/request-state.ts";
import { inClientOrder } from "../../../src/selection/candidates.ts";
import { backendOf, configWith } from "../sample.ts";

/** What is known of a request at one moment. Its own order of the backends is a, b, c, d. */
export interface Given {
  readonly attempts?: readonly Sent[];
  /** By id; a backend that is not named is up, and nothing else is known of it. */
  readonly views?: Readonly<Record<string, Partial<BackendView>>>;
  readonly sticky?: string;
  readonly lastResortMs?: number | undefined;
  readonly allowed?: Partial<Allowed>;
  readonly canCheck?: boolean;
  /** As many as attempts are open, unless it says otherwise. */
  readonly unsettled?: number;
  readonly vars?: Readonly<Record<string, unknown>>;
}

/** An attempt at the backend of this id. */
export type Sent = Omit<Attempt, "backend"> & { readonly id: string };

const UP: BackendView = {
  state: "up",
  worksAllTheSame: false,
  isBadByCheck: false,
  isUnreachable: false,
  hasServedLately: false,
  isHanging: false,
  lastLifeMs: NEVER,
  isCheckPending: false,
  isUnanswered: false,
  isKnownSilent: false,
  lastAsk: undefined,
  vouchedMs: NEVER,
};

const worlds = new Map<string, { readonly config: Config; readonly key: string }>();

/** A configuration, and an address whose own order of the backends is that of their names. */
function worldOf(vars: Given["vars"]) {
  const name = JSON.stringify(vars);
  let world = worlds.get(name);
  for (let n = 0; !world; n++) {
    const config = configWith(vars);
    const key = `192.0.2.${n}`;
    const order = inClientOrder(config.backends, { key, stickyBackend: undefined });
    if (order.every((backend, i) => backend === config.backends[i])) world = { config, key };
  }
  worlds.set(name, world);
  return world;
}

function stateOf(given: Given): RequestState {
  const { attempts = [], allowed, sticky, lastResortMs, canCheck = true } = given;
  const { config, key } = worldOf(given.vars);
  return {
    attempts: attempts.map(({ id, ...attempt }) => ({ ...attempt, backend: backendOf(config, id) })),
    client: { key, stickyBackend: sticky === undefined ? undefined : backendOf(config, sticky) },
    lastResortMs,
    allowed: { repeat: "always", onceMore: true, hedgeOnSuspicion: true, ...allowed },
    canCheck,
    unsettled: given.unsettled ?? attempts.filter(({ outcome }) => !outcome).length,
    config,
  };
}

export function planOf(given: Given, nowMs: number): Plan {
  const views = new Map<Backend, BackendView>();
  const viewOf = (backend: Backend) => {
    const view = views.get(backend) ?? Object.freeze({ ...UP, ...given.views?.[backend.id] });
    views.set(backend, view);
    return view;
  };
  return plan(frozen(stateOf(given)), viewOf, nowMs);
}

/** A plan in a few words. */
export function words(next: Plan): string {
  switch (next.do) {
    case "ask":
      return `ask ${next.backend.id}${next.isOnceMore ? " once more" : ""}`;
    case "vouch":
      return `vouch ${next.attempt.backend.id}`;
    case "fail":
      return `fail ${next.attempt.backend.id}: ${next.reason}`;
    case "check":
      return `${next.isLastResort ? "last resort" : "check"} ${next.backends.map(({ id }) => id).join(" ")}`;
    case "wait":
      return `${next.isPolled ? "poll" : "wait"} ${next.untilMs}`;
    case "finish":
      return `finish ${typeof next.with === "number" ? next.with : next.with.backend.id}`;
  }
}

function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const part of Object.values(value)) frozen(part);
  return value;
}

/** Attempts at the backend of an id, sent at 0 unless it says otherwise. */
export const open = (id: string, sentMs = 0): Sent => ({ id, sentMs, isOnceMore: false });
const ended = (id: string, outcome: Outcome, sentMs: number): Sent => ({ ...open(id, sentMs), outcome });
export const succeeded = (id: string, sentMs = 0): Sent => ended(id, { kind: "success" }, sentMs);
export const doubtful = (id: string, atMs: number, sentMs = 0): Sent =>
  ended(id, { kind: "doubtful", atMs, status: 404 }, sentMs);
/** A failed attempt with an answer. */
export const said = (id: string, status: number, atMs = 0, sentMs = 0): Sent =>
  ended(id, { kind: "failed", atMs, reason: "unavailable", status, isRelayable: status < 520 }, sentMs);
/** A failed attempt without one. */
export const broke = (id: string, atMs = 0, sentMs = 0): Sent =>
  ended(id, { kind: "failed", atMs, reason: "network error", isRelayable: false }, sentMs);
export const gaveUp = (id: string, reason: "silent" | "timeout", atMs = 0): Sent =>
  ended(id, { kind: "failed", atMs, reason, isRelayable: false }, 0);
export const onceMore = (sent: Sent): Sent => ({ ...sent, isOnceMore: true });
