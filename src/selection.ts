import type { Backend } from "./config.ts";
import { type Health, isUp } from "./health.ts";
import { clientKey, hashText, weight } from "./rendezvous.ts";

/** What is known of the client when its backend is chosen. */
export interface Client {
  /** The backend that its session cookie names, if it names one. */
  readonly bound: Backend | undefined;
  /** Its address as Cloudflare saw it; empty where nobody says. */
  readonly ip: string;
}

/**
 * Which backends this request has asked: how often one threw a network error (it may be asked again, once all others
 * have been: its pooled connection may have been stale), or `NEVER_AGAIN` for one that answered or stayed silent.
 */
export type Asked = Map<Backend, number>;
export const NEVER_AGAIN = Number.POSITIVE_INFINITY;

/**
 * The backend to try next, or `undefined` when none is left. In this order: those that are up, those that are not
 * (a last resort, better than to turn the client away), those that threw a network error. Among equals comes the one
 * that the session cookie names, then the client's own order by rendezvous hashing.
 */
export function nextBackend(
  backends: readonly Backend[],
  client: Client,
  asked: Asked,
  health: Health,
): Backend | undefined {
  if (asked.size === 0 && client.bound && isUp(health, client.bound.id)) return client.bound;
  const keyHash = hashText(clientKey(client.ip));
  let best: Backend | undefined;
  let bestTier = NEVER_AGAIN;
  let bestWeight = -1;
  for (const backend of backends) {
    const errors = asked.get(backend);
    const tier = errors !== undefined ? 1 + errors : isUp(health, backend.id) ? 0 : 1;
    if (tier > bestTier || tier === NEVER_AGAIN) continue;
    const backendWeight = backend === client.bound ? NEVER_AGAIN : weight(keyHash, backend.seed);
    if (tier < bestTier || backendWeight > bestWeight) {
      best = backend;
      bestTier = tier;
      bestWeight = backendWeight;
    }
  }
  return best;
}
