import { prefersHtml, prefersJson } from "./accept.ts";
import { html, pageOf } from "./markup.ts";

/** How long a client should wait before it asks again, in seconds: about as long as it takes to find a dead backend. */
const RETRY_AFTER_SECONDS = "5";

/**
 * An answer of the Worker's own, in the client's format: JSON where its `Accept` header prefers that, a page where a browser
 * asks, else plain text. It names no backend, is never cached, and a web player on another site can read it.
 */
export function errorResponse(
  request: Pick<Request, "headers">,
  status: number,
  text: string,
  extra: Record<string, string> = {},
): Response {
  const [type, body] = bodyOf(text, request.headers.get("Accept") ?? "");
  // The former is for programs, the latter for browsers.
  const outage = { "Retry-After": RETRY_AFTER_SECONDS, Refresh: RETRY_AFTER_SECONDS };
  return new Response(body, {
    status,
    headers: {
      "Content-Type": type,
      "Cache-Control": "no-store",
      "Access-Control-Allow-Origin": "*",
      Vary: "Accept",
      ...((status === 502 || status === 504) && outage),
      ...extra,
    },
  });
}

function bodyOf(text: string, accept: string): [type: string, body: string] {
  if (prefersJson(accept)) return ["application/json", `${JSON.stringify({ error: text })}\n`];
  if (!prefersHtml(accept)) return ["text/plain; charset=utf-8", `${text}\n`];
  return ["text/html; charset=utf-8", pageOf("Load balancer", html`<main style="white-space:pre-line">${text}</main>`)];
}
