import { type Answer, ask, isAnswer, type Question } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import { type Line, ok, warning, wrong } from "./line.ts";
import { failureInWords, unanswered } from "./words.ts";

/** The Worker's own check waits no longer. */
const CHECK_MS = 3_000;

export interface Up {
  readonly line: Line;
  /** Whether it answers HTTP at all, so that there is a point in asking it more. */
  readonly isAnswering: boolean;
}

/** Asks a backend's health route as the Worker's check does. One that was slow is asked again: it may have been asleep. */
export async function askWhetherUp(backend: DeployedBackend, path: string, signal: AbortSignal): Promise<Up> {
  const question: Question = { url: backend.origin + path, isHeadersOnly: true, signal };
  const first = await ask(question);
  if (!isAnswer(first)) {
    const { found, todo } = failureInWords(first, backend);
    return { line: unanswered(backend.id, first, found, todo), isAnswering: false };
  }
  const second = isGood(first) && first.tookMs > CHECK_MS ? await ask(question) : first;
  return { line: healthInWords(backend, path, first, isAnswer(second) ? second : first), isAnswering: true };
}

/** What to say of two answers, which are the same one when the first was quick. */
export function healthInWords(backend: DeployedBackend, path: string, first: Answer, second: Answer): Line {
  const { id, variable, isBackup } = backend;
  if (!isGood(second))
    return wrong(id, `${path} answers ${second.status}, where 2xx is due`, adviceFor(second, id, variable));
  if (first.tookMs <= CHECK_MS) return ok(id, `${path} answers ${first.status} in ${first.tookMs} ms`);
  if (second.tookMs <= CHECK_MS) {
    const found = `${path} answered after ${first.tookMs} ms, and when asked again after ${second.tookMs} ms: it was asleep`;
    const todo = isBackup
      ? "As a backup it may sleep: it wakes up when it is needed, which takes that long."
      : `The Worker's check waits ${CHECK_MS} ms. Keep ${id} awake, or write the word backup behind its address in ${variable}.`;
    return warning(id, found, todo);
  }
  const found = `${path} answers only after ${first.tookMs} ms and ${second.tookMs} ms; the Worker's check waits ${CHECK_MS} ms`;
  return wrong(
    id,
    found,
    `Look why ${id} is slow: too little memory or CPU, or its database (DATABASE_URI) is far away.`,
  );
}

function isGood({ status }: Answer): boolean {
  return status >= 200 && status < 300;
}

/** What to do about a status that is not 2xx. */
function adviceFor({ status, headers }: Answer, id: string, variable: string): string {
  if (status >= 300 && status < 400) {
    return `It redirects${targetOf(headers)}. Write into ${variable} the address that answers itself, or correct HEALTH_CHECK_PATH.`;
  }
  if (status === 404)
    return `Start AIOStreams on ${id} (a platform answers 404 for a stopped one), or correct HEALTH_CHECK_PATH.`;
  if (status === 401 || status === 403) {
    return `Something in front of ${id} wants a login, or takes this for a bot: let requests to it pass.`;
  }
  if (status === 429) return `Exempt HEALTH_CHECK_PATH from the rate limit on ${id}.`;
  if (status === 500)
    return `AIOStreams answers so when it does not reach its database: check DATABASE_URI on ${id}, and PostgreSQL.`;
  if (status >= 520 && status <= 530)
    return `Cloudflare does not reach ${id}: start it, or correct its DNS record there.`;
  if (status >= 502 && status <= 504) return `The proxy in front of ${id} does not reach AIOStreams: start it there.`;
  return `Look into the log of ${id}, or correct HEALTH_CHECK_PATH.`;
}

/** Where a redirect leads; no more than the origin, since a path may be a secret. */
function targetOf(headers: Headers): string {
  const target = URL.parse(headers.get("Location") ?? "");
  return target ? ` to ${target.origin}` : "";
}
