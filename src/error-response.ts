import { prefersHtml, prefersJson } from "./accept.ts";

/** How long a client should wait before it asks again, in seconds: about as long as it takes to find a dead backend. */
const RETRY_AFTER_SECONDS = "5";

/**
 * An answer of the Worker's own, in the client's format: JSON where `accept`, its `Accept` header, prefers that, a page where a
 * browser asks, else plain text. It names no backend, is never cached, and a web player on another site can read it.
 */
export function errorResponse(
  status: number,
  text: string,
  accept: string | null,
  extra: Record<string, string> = {},
): Response {
  const isOutage = status === 502 || status === 504;
  const [type, body] = bodyOf(text, accept ?? "", isOutage);
  return new Response(body, {
    status,
    headers: {
      "Content-Type": type,
      "Cache-Control": "no-store",
      "Access-Control-Allow-Origin": "*",
      Vary: "Accept",
      ...(isOutage && { "Retry-After": RETRY_AFTER_SECONDS }),
      ...extra,
    },
  });
}

function bodyOf(text: string, accept: string, isOutage: boolean): [type: string, body: string] {
  if (prefersJson(accept)) return ["application/json", `${JSON.stringify({ error: text })}\n`];
  if (!prefersHtml(accept)) return ["text/plain; charset=utf-8", `${text}\n`];
  const escaped = text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
  const reload = isOutage ? `<meta http-equiv="refresh" content="${RETRY_AFTER_SECONDS}">` : "";
  const page = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">${reload}<title>Load balancer</title>
<body style="color-scheme:light dark;font:1.2em/1.5 system-ui;max-width:30em;margin:4em auto;padding:0 1em;white-space:pre-line">${escaped}
`;
  return ["text/html; charset=utf-8", page];
}
