/**
 * Why and until when a backend gets no user traffic. Plain data: it outlives the request that made it, so it holds
 * nothing that the runtime binds to one request.
 */
export interface Ejection {
  readonly reason: string;
  readonly sinceMs: number;
  readonly untilMs: number;
  /** Whether an answer of its health route may bring it back before `untilMs`. */
  readonly acquittable: boolean;
  /** Until when a probe is under way; past that it counts as lost, since the runtime cancels it with its request. */
  probeLeaseUntilMs: number;
}

/** What this isolate knows of its backends: who is not up, by id. Whoever is absent is up. */
export type Health = Map<string, Ejection>;

export type State = "up" | "down" | "waiting for a probe";

export function isUp(health: Health, id: string): boolean {
  return !health.has(id);
}

/** A state resolves by the time that is passed in, without timers: down until its time has passed, then waiting. */
export function stateOf(ejection: Ejection | undefined, nowMs: number): State {
  if (!ejection) return "up";
  return nowMs < ejection.untilMs ? "down" : "waiting for a probe";
}

/**
 * Takes a backend out for `downTimeMs`. Returns the ejection if the backend was up, so that the caller reports each
 * change once. On a backend that is out already an acquittable reason changes nothing: the graver one stands.
 */
export function eject(
  health: Health,
  id: string,
  cause: { reason: string; acquittable: boolean },
  nowMs: number,
  downTimeMs: number,
): Ejection | undefined {
  const previous = health.get(id);
  if (previous && cause.acquittable) return undefined;
  const ejection: Ejection = {
    ...cause,
    sinceMs: previous?.sinceMs ?? nowMs,
    untilMs: nowMs + downTimeMs,
    probeLeaseUntilMs: 0,
  };
  health.set(id, ejection);
  return previous ? undefined : ejection;
}

/** Brings a backend back. Returns whether that changed anything. */
export function reinstate(health: Health, id: string): boolean {
  return health.delete(id);
}

/**
 * Takes the right to probe a backend whose down time has passed, for `leaseMs`. Returns its ejection, or `undefined`
 * where nothing is to be probed or somebody else is at it. One holder at a time, and none that could block the next.
 */
export function leaseProbe(health: Health, id: string, nowMs: number, leaseMs: number): Ejection | undefined {
  const ejection = health.get(id);
  if (stateOf(ejection, nowMs) !== "waiting for a probe") return undefined;
  if (!ejection || nowMs < ejection.probeLeaseUntilMs) return undefined;
  ejection.probeLeaseUntilMs = nowMs + leaseMs;
  return ejection;
}

/**
 * Takes in whether an ejected backend was found to work, by a probe or as a last resort. It counts only against the
 * ejection that it was asked under: what has happened to the backend since is newer. Returns whether the backend came back.
 */
export function settle(
  health: Health,
  id: string,
  ejection: Ejection,
  good: boolean,
  nowMs: number,
  downTimeMs: number,
): boolean {
  if (health.get(id) !== ejection) return false;
  if (good) return reinstate(health, id);
  health.set(id, { ...ejection, untilMs: nowMs + downTimeMs, probeLeaseUntilMs: 0 });
  return false;
}
