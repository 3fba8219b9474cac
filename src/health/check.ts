import type { Backend, Config } from "../config.ts";
import { sleep } from "../time.ts";
import type { Ask, CheckResult } from "./health-state.ts";

/** How long a check may take, both asks and their bodies included. A health route answers in milliseconds. */
export const CHECK_TIMEOUT_MS = 3_000;

/**
 * Cloudflare's words for a backend that it has no connection to
 * (https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/).
 */
export const UNREACHABLE = [521, 522, 523, 525, 526, 530];

/** A check is one ask, or two; three where a broken connection and a bad answer come together. */
export const CHECK_SUBREQUESTS = 3;

/**
 * A bad answer or a broken connection is asked again after this time: one 503 of a health route is no outage, and by then the
 * runtime knows which of its pooled connections the backend has closed.
 */
const CONFIRM_AFTER_MS = 250;

/** How much of an answer is searched for what `HEALTH_CHECK_EXPECT` says. */
const SEARCHED_BYTES_MAX = 64 * 1024;

/**
 * Asks a backend's health route: once where that is good or silent, else until two asks have broken, or were answered badly. `onAnswer` hears of each ask that tells
 * something. It never throws: a backend that cannot be asked is a result too.
 */
export async function check(
  backend: Backend,
  config: Config,
  onAnswer: (ask: Ask) => void,
): Promise<{ readonly result: CheckResult; readonly asks: number }> {
  const startedMs = Date.now();
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), CHECK_TIMEOUT_MS);
  let before: CheckResult | undefined;
  for (let asks = 1; ; asks++) {
    const beganMs = Date.now();
    const answer = await ask(backend, config, abort.signal);
    const endedMs = Date.now();
    const isGood = answer.kind === "good";
    // If time runs out, the ask before stands.
    const { kind, status } = (answer.kind === "no answer" && before) || answer;
    const result = { kind, status, tookMs: endedMs - startedMs, atMs: endedMs };
    // Two of a kind are no coincidence.
    const isTwice = before !== undefined && (before.kind === "network error") === (kind === "network error");
    const isLast = isGood || kind === "no answer" || isTwice || asks === CHECK_SUBREQUESTS;
    // One broken connection alone tells nothing.
    if (isLast || kind !== "network error") onAnswer({ beganMs, endedMs, isGood });
    if (isLast) {
      clearTimeout(timer);
      return { result, asks };
    }
    before = result;
    await sleep(CONFIRM_AFTER_MS);
  }
}

async function ask(
  backend: Backend,
  config: Config,
  signal: AbortSignal,
): Promise<Pick<CheckResult, "kind" | "status">> {
  let status: number | null = null;
  try {
    const response = await fetch(backend.origin + config.healthCheckPath, {
      headers: headersOf(backend, config),
      redirect: "manual",
      cache: "no-store",
      signal,
    });
    status = response.status;
    if (!response.ok) {
      response.body?.cancel().catch(() => {});
      return { kind: UNREACHABLE.includes(status) ? "network error" : "bad status", status };
    }
    const isExpected = await hasText(response, config.healthCheckExpect);
    return { kind: isExpected ? "good" : "unexpected answer", status };
  } catch {
    return { kind: signal.aborted ? "no answer" : "network error", status };
  }
}

/** An application that forces HTTPS redirects what does not say that it came by HTTPS. */
function headersOf({ headers }: Backend, { primaryDomain }: Config): Headers {
  const all = new Headers({
    "User-Agent": "aiostreams-load-balancer (health check)",
    "X-Forwarded-Host": primaryDomain,
    "X-Forwarded-Proto": "https",
  });
  for (const [name, value] of headers) all.set(name, value);
  return all;
}

/** Whether the beginning of a response's body contains a text. What is not needed of the body is not read. */
async function hasText({ body }: Response, text: string): Promise<boolean> {
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let found = "";
  let bytes = 0;
  while (text !== "" && bytes < SEARCHED_BYTES_MAX && !found.includes(text)) {
    const { value, done } = (await reader?.read()) ?? { done: true };
    if (done) break;
    found += decoder.decode(value.subarray(0, SEARCHED_BYTES_MAX - bytes), { stream: true });
    bytes += value.length;
  }
  reader?.cancel().catch(() => {});
  return found.includes(text);
}
