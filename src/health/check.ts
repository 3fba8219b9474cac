import type { Backend, Config } from "../config.ts";
import type { Finding } from "./findings.ts";

/** How long a check may take. A health route answers in milliseconds, so this is already generous. */
export const CHECK_TIMEOUT_MS = 3_000;

/** A check asks once more after a network error. */
export const CHECK_SUBREQUESTS = 2;

/** Asks a backend's health route. It never throws: a backend that cannot be asked is a finding too. */
export async function check(backend: Backend, config: Config): Promise<Finding> {
  const startedMs = Date.now();
  const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
  const found = (result: Finding["result"], status: number | null): Finding => {
    const atMs = Date.now();
    return { result, status, tookMs: atMs - startedMs, atMs };
  };
  for (let asked = 1; ; asked++) {
    try {
      const response = await fetch(backend.origin + config.healthCheckPath, {
        headers: { "User-Agent": "aiostreams-load-balancer (health check)" },
        redirect: "manual",
        cache: "no-store",
        signal,
      });
      response.body?.cancel().catch(() => {});
      return found(response.ok ? "good" : "bad status", response.status);
    } catch {
      if (signal.aborted) return found("no answer", null);
      // A pooled connection that the backend has just closed is no reason to eject it.
      if (asked === CHECK_SUBREQUESTS) return found("network error", null);
    }
  }
}
