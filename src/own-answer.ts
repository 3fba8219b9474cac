/** How long a client should wait before it asks again, in seconds: about as long as it takes to find a dead backend. */
const RETRY_AFTER_SECONDS = "5";

/** An answer of the Worker's own. It names no backend, is never cached, and a web player on another site can read it. */
export function ownAnswer(status: number, text: string, extra: Record<string, string> = {}): Response {
  return new Response(`${text}\n`, {
    status,
    headers: {
      "Content-Type": "text/plain; charset=utf-8",
      "Cache-Control": "no-store",
      "Access-Control-Allow-Origin": "*",
      ...(status === 502 || status === 504 ? { "Retry-After": RETRY_AFTER_SECONDS } : {}),
      ...extra,
    },
  });
}
