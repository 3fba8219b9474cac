import { setTimeout as sleep } from "node:timers/promises";
import { bounded, CodedError, codeOf } from "./bounded.ts";

/** AIOStreams' longest answer has some 280 KB; what is larger than this is something else, and is not read to its end. */
export const MAX_BYTES = 4 * 1024 * 1024;
/** The longest that one question is put off by answers of 429. */
const PATIENCE_MS = 60_000;
/** AIOStreams counts its users' calls in windows of 5 s; it says so in `Retry-After`, which a proxy may have taken out. */
const RETRY_AFTER_MS_DEFAULT = 5_000;

export interface Question {
  readonly url: string;
  readonly method?: "GET" | "POST" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Nothing but status and headers is wanted: the body is not waited for. */
  readonly isHeadersOnly?: boolean;
  /** Ends the question early. */
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body, if it is a JSON object; else it has no fields. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Until the headers came. */
  readonly tookMs: number;
}

/** No answer: an error code of Node's, or one of `TIMEOUT`, `TOO_LARGE`, `INTERRUPTED` and `UNKNOWN`. */
export interface Failure {
  readonly code: string;
}

export type Reply = Answer | Failure;

export function isAnswer(reply: Reply): reply is Answer {
  return "status" in reply;
}

/** Asks once, follows no redirect, and never throws. */
export async function ask({ url, method = "GET", headers, body, isHeadersOnly, signal }: Question): Promise<Reply> {
  try {
    return await bounded(signal, async (limit) => {
      const startedMs = performance.now();
      const response = await fetch(url, {
        method,
        // A connection that is used again may be one that the other side is just closing.
        headers: { "User-Agent": "aiostreams-load-balancer (doctor)", Connection: "close", ...headers },
        ...(body !== undefined && { body }),
        redirect: "manual",
        signal: limit,
      });
      const tookMs = Math.round(performance.now() - startedMs);
      const text = isHeadersOnly ? "" : await readText(response);
      return { status: response.status, headers: response.headers, text, json: parseObject(text), tookMs };
    });
  } catch (error) {
    return { code: codeOf(error) };
  }
}

export interface Patience {
  /** Ends the waiting; what is being asked at that moment goes on to its end, unless the question has a signal of its own. */
  readonly signal?: AbortSignal | undefined;
  /** Is told of each wait before it begins. */
  readonly onWait?: (ms: number) => void;
}

/** Asks, and when the answer is 429, asks again after the time that it names; a minute of that is enough. */
export async function askPatiently(question: Question, { signal, onWait }: Patience): Promise<Reply> {
  for (let waitedMs = 0; ; ) {
    const reply = await ask(question);
    if (!isAnswer(reply) || reply.status !== 429) return reply;
    const waitMs = retryAfterMs(reply.headers.get("Retry-After"), Date.now());
    waitedMs += waitMs;
    if (waitedMs > PATIENCE_MS) return reply;
    onWait?.(waitMs);
    const isCutShort = await sleep(waitMs, false, { signal }).catch(() => true);
    if (isCutShort) return { code: "INTERRUPTED" };
  }
}

/** A `Retry-After` header (RFC 9110, section 10.2.3) in ms from now: seconds or a date, and never less than a second. */
export function retryAfterMs(header: string | null, nowMs: number): number {
  const text = header?.trim() ?? "";
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.max(1_000, ms) : RETRY_AFTER_MS_DEFAULT;
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new CodedError("TOO_LARGE");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    return objectOf(JSON.parse(text));
  } catch {
    return {};
  }
}

/** The value if it is a JSON object, else one without fields: what other versions answer is never taken on trust. */
export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
