import { isAnswer, type Question, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Desk } from "./desk.ts";

/** The longest that one question is put off by answers of 429. */
const PATIENCE_MS = 60_000;
/** AIOStreams counts its users' calls in windows of 5 s; it says so in `Retry-After`, which a proxy may have taken out. */
const RETRY_AFTER_MS_DEFAULT = 5_000;

/**
 * Asks, and when the answer is 429, asks again after the time that it names; a minute of that is enough. `signal` ends
 * the waiting; what is being asked at that moment goes on to its end, unless the question has a signal of its own.
 * (undici's RetryAgent would need a retry callback of its own for the minute, the terminal and the signal: all of this.)
 */
export async function askPatiently(
  question: Question,
  { id }: DeployedBackend,
  desk: Desk,
  signal?: AbortSignal,
): Promise<Reply> {
  return desk.during(id, async (rename) => {
    for (let waitedMs = 0; ; ) {
      const reply = await desk.ask(question);
      if (!isAnswer(reply) || reply.status !== 429) return reply;
      const waitMs = retryAfterMs(reply.headers.get("Retry-After"), Date.now());
      waitedMs += waitMs;
      if (waitedMs > PATIENCE_MS) return reply;
      rename(`${id} (429, too many questions: it is asked again after ${Math.ceil(waitMs / 1_000)} s)`);
      const isCutShort = await desk.sleep(waitMs, signal).then(
        () => false,
        () => true,
      );
      if (isCutShort) return { code: "INTERRUPTED" };
    }
  });
}

/** A `Retry-After` header (RFC 9110, section 10.2.3) in ms from now: seconds or a date, and never less than a second. */
export function retryAfterMs(header: string | null, nowMs: number): number {
  const text = header?.trim() ?? "";
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.max(1_000, ms) : RETRY_AFTER_MS_DEFAULT;
}
