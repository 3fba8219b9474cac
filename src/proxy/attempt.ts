import type { Backend } from "../config.ts";
import type { Failure } from "../events.ts";
import { within } from "../within.ts";
import type { Body } from "./body.ts";
import type { Silence } from "./silence.ts";
import { closeWebSocket, isWebSocketRequest } from "./websocket.ts";

export type Result = Response | Failure;

/** One attempt, while its headers are waited for. */
export interface Attempt extends Silence {
  readonly backend: Backend;
  /** 1 for a request's first attempt. */
  readonly number: number;
  readonly sentMs: number;
  /** Rejects when there is no connection, or when it breaks. */
  readonly response: Promise<Response>;
  /** Frees its connection. The first attempt has none: a signal would cost every request. */
  readonly abort: AbortController | undefined;
}

/** What is sent by every attempt of a request. */
export interface Sending {
  readonly request: Request;
  /** Path and query, verbatim. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: Body;
}

/** Sends a request to a backend. */
export function begin(
  sending: Sending,
  backend: Backend,
  number: number,
  probeAfterMs: number,
  nowMs: number,
): Attempt {
  const abort = number > 1 ? new AbortController() : undefined;
  return {
    backend,
    number,
    sentMs: nowMs,
    sinceMs: nowMs,
    lookMs: nowMs + probeAfterMs,
    lookAfterMs: probeAfterMs,
    questionedMs: undefined,
    response: send(sending, backend, abort?.signal),
    abort,
  };
}

function send(
  { request, path, headers, body }: Sending,
  backend: Backend,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const url = backend.origin + path;
  const init: RequestInit = { headers, redirect: "manual" };
  if (signal) init.signal = signal;
  // Cloudflare's cache would fetch a file such as .mkv whole, and drop the range.
  if (headers.has("Range")) init.cache = "no-store";
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

/** What a response is worth: a 101 that nobody asked for is none, and handing it on would throw. */
function resultOf(response: Response, request: Request): Result {
  if (response.status !== 101 || (response.webSocket && isWebSocketRequest(request))) return response;
  discard(response);
  return "unexpected upgrade";
}

/**
 * The result of an attempt, or `undefined` after `ms`: one promise and one timer, which ends with the attempt, so that nothing
 * is cut later.
 */
export function resultWithin(ms: number, { response }: Attempt, request: Request): Promise<Result | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, undefined);
    response.then(
      (answer) => {
        clearTimeout(timer);
        resolve(resultOf(answer, request));
      },
      () => {
        clearTimeout(timer);
        resolve("network error");
      },
    );
  });
}

export interface Settled {
  readonly attempt: Attempt;
  readonly result: Result;
}

/** The attempts of a request whose headers are waited for, and the results that have come. */
export class OpenAttempts {
  readonly #request: Request;
  readonly #open = new Set<Attempt>();
  readonly #settled: Settled[] = [];
  #wake = () => {};

  constructor(request: Request) {
    this.#request = request;
  }

  [Symbol.iterator](): Iterator<Attempt> {
    return this.#open.values();
  }

  get size(): number {
    return this.#open.size;
  }

  add(attempt: Attempt): void {
    this.#open.add(attempt);
    attempt.response.then(
      (response) => this.#onResult(attempt, resultOf(response, this.#request)),
      () => this.#onResult(attempt, "network error"),
    );
  }

  #onResult(attempt: Attempt, result: Result): void {
    if (this.#open.delete(attempt)) this.#settled.push({ attempt, result });
    else discard(result);
    this.#wake();
  }

  /** Lets go of an attempt: its connection is freed, and an answer that comes all the same is thrown away. */
  letGo(attempt: Attempt): void {
    this.#open.delete(attempt);
    attempt.abort?.abort();
  }

  /** The next result, or `undefined` when none has come within `ms`. */
  async next(ms: number): Promise<Settled | undefined> {
    if (this.#settled.length === 0) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await within(ms, woken);
    }
    return this.#settled.shift();
  }

  /** Lets go of everything. Returns the attempts that had no result yet. */
  end(): Attempt[] {
    const waiting = [...this.#open];
    for (const attempt of waiting) this.letGo(attempt);
    for (const { result } of this.#settled) discard(result);
    return waiting;
  }
}

/** Throws an answer away, so that its connection is free: only six may wait at a time. */
export function discard(result: Result): void {
  if (!(result instanceof Response)) return;
  closeWebSocket(result);
  result.body?.cancel().catch(() => {});
}
