import type { Config } from "../config.ts";
import { healthOf } from "../health/findings.ts";
import { checkAll, type Invocation, isAsleep, readWhenCold } from "../health/monitor.ts";
import { ownAnswer } from "../own-answer.ts";
import { prefersJson } from "./accept.ts";
import { coloOf } from "./metrics.ts";
import { statusPage } from "./page.ts";
import { snapshotOf } from "./snapshot.ts";

/** The page checks a backend only if its finding is older than this, so that it cannot be used to hammer the backends. */
const FINDING_AGE_MAX_MS = 5_000;

/** Long enough for two rounds of six connections to show whether anybody answers: 3 s, and the second that makes a suspect. */
const WAIT_MAX_MS = 4_500;

/** How often to look whether there is a first finding of every backend. */
const LOOK_EVERY_MS = 50;

/** How often the page asks for itself again. */
const REFRESH_SECONDS = 10;

/** Whether a request's path and query are those of the status page. */
export function isStatusPath(path: string, { statusPath }: Pick<Config, "statusPath">): boolean {
  if (statusPath === "" || !path.startsWith(statusPath)) return false;
  return path.length === statusPath.length || path[statusPath.length] === "?";
}

/** Answers a request for the status page: 200 while a backend is up, 503 when none is. */
export async function answerStatus(request: Request, path: string, invocation: Invocation): Promise<Response> {
  const { method } = request;
  if (method !== "GET" && method !== "HEAD") {
    return ownAnswer(405, "The status page can only be read.", { Allow: "GET, HEAD" });
  }
  await findOut(invocation);
  const snapshot = snapshotOf(invocation, coloOf(request), Date.now());

  const query = new URLSearchParams(path.slice(invocation.config.statusPath.length));
  const isJson = query.get("format") === "json" || prefersJson(request.headers.get("Accept") ?? "");
  const refreshSeconds = query.get("refresh") === "off" ? undefined : REFRESH_SECONDS;
  const nonce = crypto.randomUUID();
  const headers = new Headers({
    "Cache-Control": "no-store",
    "Content-Security-Policy": `default-src 'none'; style-src 'nonce-${nonce}'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`,
    "Content-Type": isJson ? "application/json" : "text/html; charset=utf-8",
    "Referrer-Policy": "no-referrer",
    Vary: "Accept",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
  });
  if (!isJson && refreshSeconds) headers.set("Refresh", String(refreshSeconds));
  const body = isJson ? `${JSON.stringify(snapshot)}\n` : statusPage(snapshot, { nonce, refreshSeconds });
  return new Response(method === "HEAD" ? null : body, { status: snapshot.answering > 0 ? 200 : 503, headers });
}

/**
 * Learns what others have found and checks the rest. Where something is known of every backend that is not asleep, nobody
 * waits for the checks of another visitor.
 */
async function findOut(invocation: Invocation): Promise<void> {
  const { config, health } = invocation;
  const deadlineMs = Date.now() + WAIT_MAX_MS;
  await readWhenCold(invocation, Date.now());
  for (;;) {
    await checkAll(invocation, FINDING_AGE_MAX_MS, deadlineMs - Date.now());
    // A backup wakes when a check finds the last primary down, and is then to be checked too.
    const isKnown = config.backends.every(
      (backend) => healthOf(health, backend.id).finding || isAsleep(backend, invocation),
    );
    if (isKnown || Date.now() >= deadlineMs) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
