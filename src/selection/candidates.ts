import type { Backend, Config } from "../config.ts";
import { hashText } from "../hash.ts";
import { type Health, healthOf, isCheckUnderWay, isDown, stateOf } from "../health/findings.ts";
import { clientKey, score } from "./rendezvous.ts";
import type { Client } from "./session.ts";

/** What a request has learnt of a backend that it asked. */
export type Asked =
  /** It threw a network error, once: its pooled connection may have been stale. */
  "may be asked again" | "done";

/** The backends that a request has asked. */
export type AskedBackends = Map<Backend, Asked>;

export interface Patience {
  /** Whether an answer is in hand that could be relayed: then no suspect is waited for. */
  readonly hasAnswer: boolean;
  /** Whether the request may be carried out twice by one backend. */
  readonly isIdempotent: boolean;
}

/** The ranks of candidates, the best first. */
const PRIMARY = 0;
const BACKUP = 1;
const AGAIN = 2;
const SUSPECT = 3;
const NONE = 4;

/**
 * The backend to try next, or `undefined` when only those that are down are left. In this order: up and primary; up and
 * `backup`; once more one that is up and threw a network error; suspect. Within a rank comes the one that the session cookie
 * names, then the client's own order by rendezvous hashing.
 */
export function nextCandidate(
  { backends }: Pick<Config, "backends">,
  health: Health,
  client: Client,
  asked: AskedBackends,
  { hasAnswer, isIdempotent }: Patience,
  nowMs: number,
): Backend | undefined {
  const rankOf = (backend: Backend): number => {
    const was = asked.get(backend);
    if (was === "done") return NONE;
    switch (stateOf(healthOf(health, backend.id), nowMs)) {
      case "up":
        if (was) return isIdempotent ? AGAIN : NONE;
        return backend.isBackup ? BACKUP : PRIMARY;
      case "suspect":
        return was || hasAnswer ? NONE : SUSPECT;
      case "down":
        return NONE;
    }
  };
  if (client.bound && rankOf(client.bound) === PRIMARY) return client.bound;

  let best: Backend | undefined;
  let bestRank = NONE;
  let bestScore = 0;
  const scoreOf = scoresFor(client);
  for (const backend of backends) {
    const rank = rankOf(backend);
    if (rank > bestRank || rank === NONE) continue;
    const backendScore = scoreOf(backend);
    if (rank < bestRank || backendScore > bestScore) {
      best = backend;
      bestRank = rank;
      bestScore = backendScore;
    }
  }
  return best;
}

/** The backends that are down and were not asked yet, in the order in which they are tried blindly: those that were silent last. */
export function downCandidates(
  { backends }: Pick<Config, "backends">,
  health: Health,
  client: Client,
  asked: AskedBackends,
  nowMs: number,
): Backend[] {
  const scoreOf = scoresFor(client);
  const isLast = (backend: Backend) => Number(isSilent(backend, health, nowMs));
  return backends
    .filter((backend) => !asked.has(backend) && isDown(healthOf(health, backend.id)))
    .sort((a, b) => isLast(a) - isLast(b) || scoreOf(b) - scoreOf(a));
}

/** Whether the last check of a backend had no answer, or the one under way has none yet. */
export function isSilent({ id }: Backend, health: Health, nowMs: number): boolean {
  const known = healthOf(health, id);
  return known.finding?.result === "no answer" || isCheckUnderWay(known, nowMs);
}

/** How much a client prefers a backend to the others of its rank. */
function scoresFor(client: Client): (backend: Backend) => number {
  const keyHash = hashText(clientKey(client.ip));
  return (backend) => (backend === client.bound ? Number.POSITIVE_INFINITY : score(keyHash, backend));
}
