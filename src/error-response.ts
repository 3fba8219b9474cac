import { prefersHtml, prefersJson } from "./accept.ts";
import { html, pageOf } from "./markup.ts";

/** How long a client should wait before it asks again, in seconds: about as long as it takes to find a dead backend. */
const RETRY_AFTER_SECONDS = "5";

/** What an answer of the Worker's own says, and the type of that. */
type Body = readonly [type: string, text: string];

export const inJson = (value: unknown): Body => ["application/json", `${JSON.stringify(value)}\n`];
const inText = (text: string): Body => ["text/plain; charset=utf-8", `${text}\n`];
export const inHtml = (page: string): Body => ["text/html; charset=utf-8", page];

/** An answer of the Worker's own: it is never cached, and its format depends on what the client accepts. */
export function ownResponse(status: number, [type, text]: Body, extra: Record<string, string>): Response {
  const headers = { "Content-Type": type, "Cache-Control": "no-store", Vary: "Accept", ...extra };
  return new Response(text, { status, headers });
}

/**
 * Says why there is no other answer, in the client's format: JSON where its `Accept` header prefers that, a page where a
 * browser asks, else plain text. It names no backend, and a web player on another site can read it.
 */
export function errorResponse(
  request: Pick<Request, "headers">,
  status: number,
  text: string,
  extra?: Readonly<Record<string, string>>,
): Response {
  // The former is for programs, the latter for browsers.
  const outage = { "Retry-After": RETRY_AFTER_SECONDS, Refresh: RETRY_AFTER_SECONDS };
  const accept = request.headers.get("Accept");
  const body = prefersJson(accept)
    ? inJson({ error: text })
    : prefersHtml(accept)
      ? inHtml(pageOf("Load balancer", html`<main>${text}</main>`, html`main{white-space:pre-line}`))
      : inText(text);
  return ownResponse(status, body, {
    "Access-Control-Allow-Origin": "*",
    ...((status === 502 || status === 504) && outage),
    ...extra,
  });
}
