import type { Backend } from "../config.ts";
import type { Body } from "./body.ts";
import { closeWebSocket } from "./websocket.ts";

/** What every attempt of a request sends. */
export interface Sending {
  readonly request: Request;
  /** Path and query, verbatim. */
  readonly path: string;
  readonly headers: Headers;
  body: Body;
  /** Whether Cloudflare's cache might answer, or change what is asked. */
  readonly isCacheable: boolean;
}

/**
 * Sends a request to a backend; rejects when there is no connection, or when it breaks. The first attempt has no signal, unless
 * a body streams, since every request would pay for it.
 */
export function send(
  { request, path, headers, body, isCacheable }: Sending,
  backend: Backend,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const url = backend.origin + path;
  const init: RequestInit = { headers: headersFor(backend, headers), redirect: "manual" };
  if (signal) init.signal = signal;
  if (isCacheable) init.cache = "no-store";
  // The request's own stream keeps its length. It brings the method along, since none may be named beside a GET's body.
  const isOwnStream = body !== null && body === request.body;
  if (!isOwnStream) init.method = request.method;
  if (body !== null && !isOwnStream) init.body = body;
  try {
    return fetch(isOwnStream ? new Request(url, request) : url, init);
  } catch (error) {
    return Promise.reject(error);
  }
}

function headersFor(backend: Backend, headers: Headers): Headers {
  if (backend.headers.length === 0) return headers;
  const own = new Headers(headers);
  for (const [name, value] of backend.headers) own.set(name, value);
  return own;
}

/** Throws an answer away, if there is one, so that its connection is free: only six may wait at a time. */
export function discard(response: Response | undefined): void {
  if (!response) return;
  closeWebSocket(response);
  response.body?.cancel().catch(() => {});
}
