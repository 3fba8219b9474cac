import { join } from "node:path";
import type { StartOptions, Worker } from "./worker.ts";

/**
 * Starts the Worker with the limits that Cloudflare sets to an invocation, and with its cache (see platform.js). A client leaves by a reset,
 * such as `resetAndDestroy` of a `rawConnection`: a connection that is merely ended counts as half-closed for workerd.
 */
export const PLATFORM: StartOptions = {
  wrappers: ["platform.js", "platform-cache.js"].map((name) => join(import.meta.dirname, name)),
  flags: ["nodejs_als", "enable_request_signal"],
};

/** What one invocation did. */
export interface Figures {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** Fetches and cache operations, those that were refused included. */
  readonly subrequests: number;
  /** Those beyond the 50 of the free plan. */
  readonly refused: number;
  /** How many waited for headers at a time, at most. */
  readonly connectionsMax: number;
  /** How many waited at a time for one of the six connections, at most. */
  readonly queuedMax: number;
  /** The longest that one has waited for a connection and got it, in ms. */
  readonly queuedMsMax: number;
  /** Whether the client went away before it had the whole answer. */
  readonly hasLeft: boolean;
  /** What did not end, or was not even begun, because the client had gone. */
  readonly cancelledSubrequests: number;
  readonly cancelledTimers: number;
}

/** The figures of the last thousand invocations, in the order of their beginning. */
export async function figuresOf(worker: Worker): Promise<readonly Figures[]> {
  return JSON.parse((await worker.fetch("/__platform")).text) as Figures[];
}
