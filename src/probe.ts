import type { Backend, Config } from "./config.ts";

/** How long a probe waits for headers. A health route answers in milliseconds, so this is already generous. */
export const PROBE_TIMEOUT_MS = 3_000;

/** How long a lease on a probe lasts: the probe itself and what the runtime adds to it. */
export const PROBE_LEASE_MS = PROBE_TIMEOUT_MS + 1_000;

/** What a probe found: the status of the health route, or `undefined` when no headers came in time or no connection stood. */
export type ProbeResult = number | undefined;

/** Whether the backend is there at all. A backend without the health route (404) is. */
export function isAlive(result: ProbeResult): boolean {
  return result !== undefined && result < 500;
}

/** Whether the backend says that it is well. */
export function isWell(result: ProbeResult): boolean {
  return result !== undefined && result >= 200 && result < 300;
}

/** Asks a backend's health route. It never throws: a backend that cannot be asked is a finding. */
export async function probe(backend: Backend, config: Config): Promise<ProbeResult> {
  try {
    const response = await fetch(backend.origin + config.healthCheckPath, {
      headers: { "User-Agent": "aiostreams-load-balancer (health probe)" },
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    await response.body?.cancel();
    return response.status;
  } catch {
    return undefined;
  }
}
