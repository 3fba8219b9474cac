import type { Backend, Config } from "../config.ts";
import type { CheckResult } from "./health-state.ts";

/** How long a check may take, both asks and their bodies included. A health route answers in milliseconds. */
export const CHECK_TIMEOUT_MS = 3_000;

/** A check is one ask, or two. */
export const CHECK_SUBREQUESTS = 2;

/**
 * A bad answer or a broken connection is asked again after this time: one 503 of a health route is no outage, and by then the
 * runtime knows which of its pooled connections the backend has closed.
 */
const CONFIRM_AFTER_MS = 250;

/** How much of an answer is searched for what `HEALTH_CHECK_EXPECT` says. */
const SEARCHED_BYTES_MAX = 64 * 1024;

/** What the driver of a check learns of each ask. */
export interface AskListener {
  readonly onAsk: () => void;
  readonly onAnswer: (isGood: boolean) => void;
}

/**
 * Asks a backend's health route: once where that is good or silent, else twice. It never throws: a backend that cannot be asked
 * is a result too.
 */
export async function check(
  backend: Backend,
  config: Config,
  { onAsk, onAnswer }: AskListener,
): Promise<{ readonly result: CheckResult; readonly asks: number }> {
  const startedMs = Date.now();
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), CHECK_TIMEOUT_MS);
  let first: CheckResult | undefined;
  for (let asks = 1; ; asks++) {
    onAsk();
    const { kind, status } = await ask(backend, config, abort.signal);
    const atMs = Date.now();
    const found: CheckResult = { kind, status, tookMs: atMs - startedMs, atMs };
    // If time runs out in the second ask, the first one stands.
    const result = kind === "no answer" && first ? { ...first, atMs, tookMs: found.tookMs } : found;
    const isLast = asks === CHECK_SUBREQUESTS || kind === "good" || kind === "no answer";
    if (isLast || kind !== "network error") onAnswer(kind === "good");
    if (isLast) {
      clearTimeout(timer);
      return { result, asks };
    }
    first = found;
    await new Promise((resolve) => setTimeout(resolve, CONFIRM_AFTER_MS));
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
      return { kind: "bad status", status };
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
  if (text === "") {
    body?.cancel().catch(() => {});
    return true;
  }
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let found = "";
  let bytes = 0;
  for (;;) {
    const { value, done } = (await reader?.read()) ?? { done: true };
    if (value) {
      found += decoder.decode(value.subarray(0, SEARCHED_BYTES_MAX - bytes), { stream: true });
      bytes += value.length;
    }
    const isFound = found.includes(text);
    if (!isFound && !done && bytes < SEARCHED_BYTES_MAX) continue;
    reader?.cancel().catch(() => {});
    return isFound;
  }
}
