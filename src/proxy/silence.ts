import { type BackendHealth, stateOf } from "../health/findings.ts";

/** How long a check may stay unanswered before a silent attempt is no longer relied on. */
const CHECK_PATIENCE_MS = 1_000;

/** What an attempt that waits for headers knows of its backend's silence. */
export interface Silence {
  /** No sign of life since then is silence. */
  sinceMs: number;
  /** When to look for one. */
  lookMs: number;
  /** The time to that look; it doubles while there is life, so that a long wait costs a handful of checks. */
  lookAfterMs: number;
  /** When a look found no sign of life and made a check due. */
  questionedMs: number | undefined;
}

/** `unquestioned`: a check is due, which is said once; `questioned`: it has yet to answer; `silent`: the attempt is not relied on. */
export type Verdict = "waiting" | "unquestioned" | "questioned" | "silent";

/**
 * Looks whether an attempt may be waited for. Silence alone proves nothing, since an honest answer may take a minute, but
 * silence of the check as well is reason enough to ask another backend too. A request that must not be carried out twice on
 * suspicion (`isCautious`) waits until the backend is found down.
 */
export function listen(silence: Silence, known: BackendHealth, nowMs: number, isCautious: boolean): Verdict {
  if (nowMs < silence.lookMs) return "waiting";
  if (known.lastLifeMs > silence.sinceMs) {
    silence.sinceMs = nowMs;
    silence.lookAfterMs *= 2;
    silence.lookMs = nowMs + silence.lookAfterMs;
    silence.questionedMs = undefined;
    return "waiting";
  }
  const isNew = silence.questionedMs === undefined;
  silence.questionedMs ??= nowMs;
  const state = stateOf(known, nowMs);
  if (state === "down") return "silent";
  if (!isCautious && (state === "suspect" || nowMs - silence.questionedMs >= CHECK_PATIENCE_MS)) return "silent";
  return isNew ? "unquestioned" : "questioned";
}
