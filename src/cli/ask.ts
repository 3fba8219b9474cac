import type { Config } from "../config.ts";
import { bounded, CodedError, codeOf } from "./bounded.ts";
import type { DeployedBackend } from "./deployment.ts";

/** AIOStreams' longest answer has some 280 KB; what is larger than this is something else, and is not read to its end. */
const MAX_BYTES = 4 * 1024 * 1024;

export interface Question {
  readonly url: string;
  readonly method?: "GET" | "POST" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** No more than this is read of the body. Absent: all of it, and more than 4 MiB is a failure. */
  readonly enoughBytes?: number;
  /** Ends the question early. */
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body, if it is a JSON object; else it has no fields. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Until the body was read. */
  readonly tookMs: number;
}

/** No answer: an error code of Node's, or one of `TIMEOUT`, `TOO_LARGE`, `INTERRUPTED` and `UNKNOWN`. */
export interface Failure {
  readonly code: string;
}

export type Reply = Answer | Failure;

/** Asks once, follows no redirect, and never throws. */
export type Ask = (question: Question) => Promise<Reply>;

export function isAnswer(reply: Reply): reply is Answer {
  return "status" in reply;
}

/** Asks by way of the network; `patienceMs` is the longest wait for the whole answer. */
export async function ask(question: Question, patienceMs?: number): Promise<Reply> {
  const { url, method = "GET", headers, body, enoughBytes, signal } = question;
  try {
    const task = async (limit: AbortSignal) => {
      const startedMs = performance.now();
      const response = await fetch(url, {
        method,
        // A connection that is used again may be one that the other side is just closing.
        headers: { "User-Agent": "aiostreams-load-balancer (doctor)", Connection: "close", ...headers },
        ...(body !== undefined && { body }),
        redirect: "manual",
        signal: limit,
      });
      const text = await readText(response, enoughBytes);
      const tookMs = Math.round(performance.now() - startedMs);
      return { status: response.status, headers: response.headers, text, json: parseObject(text), tookMs };
    };
    return await bounded(signal, task, patienceMs);
  } catch (error) {
    return { code: codeOf(error) };
  }
}

/**
 * A question to a backend as the Worker would put it: with the forwarded headers, since an application that forces HTTPS
 * redirects a request without them, and with those of HEADERS_<NAME>.
 */
export function questionTo(
  { origin, headers }: DeployedBackend,
  path: string,
  { primaryDomain }: Pick<Config, "primaryDomain">,
  question: Omit<Question, "url"> = {},
): Question {
  const all = new Headers(question.headers);
  all.set("X-Forwarded-Proto", "https");
  all.set("X-Forwarded-Host", primaryDomain);
  for (const [name, value] of headers) all.set(name, value);
  return { ...question, url: origin + path, headers: Object.fromEntries(all) };
}

async function readText(response: Response, enoughBytes: number | undefined): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  if (enoughBytes !== 0) {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      chunks.push(chunk);
      if (enoughBytes !== undefined && bytes >= enoughBytes) break;
      if (bytes > MAX_BYTES) throw new CodedError("TOO_LARGE");
    }
  }
  return Buffer.concat(chunks).subarray(0, enoughBytes).toString();
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
