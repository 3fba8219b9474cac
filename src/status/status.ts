import { prefersJson } from "../accept.ts";
import type { Config } from "../config.ts";
import { errorResponse, inHtml, inJson, ownResponse } from "../error-response.ts";
import { checkAll, type Invocation, readWhenCold } from "../health/monitor.ts";
import { coloOf } from "./metrics.ts";
import { statusPage } from "./page.ts";
import { snapshotOf } from "./snapshot.ts";
import { isUpFor, toneOf } from "./text.ts";

/** The page checks a backend only if its result is older than this, so that it cannot be used to hammer the backends. */
const RESULT_AGE_MAX_MS = 5_000;

/** Long enough for two rounds of six connections, each of which may wait for a check that takes 3 s. */
const WAIT_MAX_MS = 6_500;

/** How often the page asks for itself again. */
const REFRESH_SECONDS = "10";

/** Whether a request's path and query are those of the status page. */
export function isStatusPath(path: string, { statusPath }: Pick<Config, "statusPath">): boolean {
  return statusPath !== "" && (path === statusPath || path.startsWith(`${statusPath}?`));
}

/**
 * Answers a request for the status page: 200 while a new user would be answered, else 503. With `?backend=<id>` it speaks of
 * that backend alone, for a monitor: 200 while it is up, or a backup on standby; 404 where none has that name.
 */
export async function answerStatus(request: Request, path: string, invocation: Invocation): Promise<Response> {
  const { method } = request;
  const { config } = invocation;
  if (method !== "GET" && method !== "HEAD") {
    return errorResponse(request, 405, "The status page can only be read.", { Allow: "GET, HEAD" });
  }
  const query = new URLSearchParams(path.slice(config.statusPath.length));
  const id = query.get("backend");
  const ids = config.backends.map((backend) => backend.id);
  if (id !== null && !ids.includes(id)) {
    return errorResponse(request, 404, `No backend has this name. There are: ${ids.join(", ")}.`);
  }

  await readWhenCold(invocation, Date.now());
  await checkAll(invocation, RESULT_AGE_MAX_MS, WAIT_MAX_MS);
  const snapshot = snapshotOf(invocation, coloOf(request), Date.now());
  const backend = snapshot.backends.find((one) => one.id === id);
  const isUp = backend ? isUpFor(backend) : toneOf(snapshot) !== "down";

  const nonce = crypto.randomUUID();
  const isPage = !backend && query.get("format") !== "json" && !prefersJson(request.headers.get("Accept"));
  const isPaused = query.get("refresh") === "off";
  const body = isPage ? inHtml(statusPage(snapshot, nonce, isPaused)) : inJson(backend ?? snapshot);
  return ownResponse(isUp ? 200 : 503, body, {
    "Content-Security-Policy": `default-src 'none'; style-src 'nonce-${nonce}'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    ...(isPage && !isPaused && { Refresh: REFRESH_SECONDS }),
  });
}
