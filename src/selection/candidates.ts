import type { Backend } from "../config.ts";
import { hashText } from "../hash.ts";
import { score } from "./rendezvous.ts";
import type { Client } from "./session.ts";

/**
 * The backend of the lowest rank, or `undefined` when none has one. Within a rank comes the sticky backend, then the client's
 * own order by rendezvous hashing.
 */
export function bestCandidate(
  backends: readonly Backend[],
  client: Client,
  rankOf: (backend: Backend) => number | undefined,
): Backend | undefined {
  let best: Backend | undefined;
  let bestRank = Number.POSITIVE_INFINITY;
  let bestScore = 0;
  let keyHash: number | undefined;
  for (const backend of backends) {
    const rank = rankOf(backend);
    if (rank === undefined || rank > bestRank) continue;
    keyHash ??= hashText(client.key);
    const backendScore = scoreOf(backend, client, keyHash);
    if (rank < bestRank || backendScore > bestScore) {
      best = backend;
      bestRank = rank;
      bestScore = backendScore;
    }
  }
  return best;
}

/** These backends in the client's own order, primaries before backups. */
export function inClientOrder(backends: readonly Backend[], client: Client): Backend[] {
  const keyHash = hashText(client.key);
  return backends.toSorted(
    (a, b) => Number(a.isBackup) - Number(b.isBackup) || scoreOf(b, client, keyHash) - scoreOf(a, client, keyHash),
  );
}

function scoreOf(backend: Backend, { stickyBackend }: Client, keyHash: number): number {
  return backend === stickyBackend ? Number.POSITIVE_INFINITY : score(keyHash, backend);
}
