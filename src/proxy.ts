import { type Body, readBody } from "./body.ts";
import type { Backend, Config } from "./config.ts";
import { type Counters, countAttempt, countFailure, countReturn } from "./counters.ts";
import { headersToBackend, ownAnswer } from "./headers.ts";
import { type Ejection, eject, type Health, leaseProbe, reinstate, settle } from "./health.ts";
import { log } from "./log.ts";
import { type Failure, isCloudflareErrorPage, JUDGEMENTS, mayRetry, type Outcome, outcomeOf } from "./outcome.ts";
import { isAlive, isWell, PROBE_LEASE_MS, probe } from "./probe.ts";
import { type Asked, type Client, NEVER_AGAIN, nextBackend } from "./selection.ts";

/** One user's request and all that it is decided by. */
export interface Exchange {
  readonly request: Request;
  /** Path and query, verbatim. */
  readonly path: string;
  readonly client: Client;
  readonly config: Config;
  readonly health: Health;
  readonly counters: Counters;
  readonly ctx: ExecutionContext;
}

/** What became of a request. */
export interface Served {
  readonly response: Response;
  /** The backend that gave the response; none where the answer is the Worker's own. */
  readonly backend: Backend | undefined;
  /** The backend that was asked first, if one was. */
  readonly first: Backend | undefined;
  readonly attempts: number;
}

/** A backend that failed while it is open whether the request or the backend is to blame. */
interface Suspect {
  readonly backend: Backend;
  readonly outcome: Outcome;
  readonly status: number | undefined;
  readonly attempt: number;
}

/** Sends a request to one backend after the other until one answers below 500 or the attempts run out. Never throws. */
export async function proxy(exchange: Exchange): Promise<Served> {
  const { request, client, config, health, counters } = exchange;
  const { backends } = config;
  counters.requests++;
  if (health.size > 0) tendHealth(exchange);

  let body: Body = null;
  if (request.body !== null) {
    try {
      body = await readBody(request);
    } catch {
      const response = ownAnswer(400, "Bad request: the request's body did not arrive whole. Send it again.");
      return { response, backend: undefined, first: undefined, attempts: 0 };
    }
  }
  const headers = headersToBackend(request, client.ip, config);
  const streamed = body instanceof ReadableStream;

  const asked: Asked = new Map();
  const suspects: Suspect[] = [];
  let kept: { response: Response; backend: Backend } | undefined;
  let first: Backend | undefined;
  let last: Suspect | undefined;

  for (let attempt = 1; attempt <= 1 + config.maxRetries; attempt++) {
    const backend = nextBackend(backends, client, asked, health);
    if (!backend) break;
    first ??= backend;
    if (last && last.backend !== backend) {
      counters.failovers++;
      report(exchange, "failover", last);
    }

    // Looked up now: an answer to this request says nothing of an ejection that comes while it is under way.
    const lastResort = health.get(backend.id);
    const errors = asked.get(backend) ?? 0;
    asked.set(backend, NEVER_AGAIN);
    // To give an attempt up is worth it only while there is something better to do than to wait.
    const mayGiveUp = () =>
      streamed ||
      kept !== undefined ||
      (attempt <= config.maxRetries &&
        mayRetry(request.method, streamed, undefined, config) &&
        nextBackend(backends, client, asked, health) !== undefined);
    countAttempt(counters, backend.id, Date.now());
    const result = await send(exchange, backend, headers, body, mayGiveUp);
    const status = result instanceof Response ? result.status : undefined;
    const outcome = result instanceof Response ? outcomeOf(result.status) : result;

    if (result instanceof Response && outcome === "answered") {
      if (suspects.length > 0) for (const suspect of suspects) ejectBackend(exchange, suspect);
      if (lastResort && settle(health, backend.id, lastResort, true, Date.now(), config.downTimeMs)) {
        reportBack(exchange, backend, "answered");
      }
      if (kept) discard(kept.response);
      if (status === 101) counters.webSockets++;
      return { response: result, backend, first, attempts: attempt };
    }

    last = { backend, outcome, status, attempt };
    countFailure(counters, backend.id, outcome, status, Date.now());
    const judgement = JUDGEMENTS[outcome];
    if (judgement.askAgain) asked.set(backend, errors + 1);
    if (streamed && outcome !== "unreachable" && outcome !== "silent") ejectUnlessAlive(exchange, last);
    else if (judgement.ejects === "at once") ejectBackend(exchange, last);
    else suspects.push(last);

    if (result instanceof Response) {
      if (isCloudflareErrorPage(result.status)) {
        discard(result);
      } else {
        if (kept) discard(kept.response);
        kept = { response: result, backend };
      }
    }
    if (!mayRetry(request.method, streamed, status, config)) break;
  }

  if (asked.size < backends.length) for (const suspect of suspects) ejectBackend(exchange, suspect);
  if (last) report(exchange, "exhausted", last);
  return { ...(kept ?? ownFailure(last?.outcome)), first, attempts: last?.attempt ?? 0 };
}

/** The Worker's own answer when no backend gave one that could be relayed. */
function ownFailure(outcome: Outcome | undefined): Pick<Served, "response" | "backend"> {
  const response =
    outcome === "silent" || outcome === "timeout"
      ? ownAnswer(504, "Gateway timeout: no server behind this address answered in time. Try again in a few seconds.")
      : ownAnswer(502, "Bad gateway: no server behind this address could be reached. Try again in a few seconds.");
  return { response, backend: undefined };
}

/** One attempt: the response, once its headers have come, or what ended it. */
async function send(
  exchange: Exchange,
  backend: Backend,
  headers: Headers,
  body: Body,
  mayGiveUp: () => boolean,
): Promise<Response | Failure> {
  const { request, path } = exchange;
  const url = backend.origin + path;
  const init: RequestInit = { headers, redirect: "manual" };
  // Cloudflare's cache would fetch a file such as .mkv whole, and drop the range.
  if (headers.has("Range")) init.cache = "no-store";
  // The request's own stream keeps its length. It brings the method along, since none may be named beside a GET's body.
  const ownStream = body !== null && body === request.body;
  if (!ownStream) init.method = request.method;
  if (body !== null && !ownStream) init.body = body;
  try {
    const attempt = fetch(ownStream ? new Request(url, request) : url, init);
    return await headersOf(attempt, exchange, backend, mayGiveUp, body instanceof ReadableStream);
  } catch {
    return "network error";
  }
}

/**
 * Waits for the headers of an attempt. An attempt that is given up is not aborted, since a signal would cost every
 * request: its connection ends with the request that made it, when the runtime cancels what is still open, and an answer
 * that comes before that is thrown away unread.
 */
async function headersOf(
  attempt: Promise<Response>,
  { config }: Exchange,
  backend: Backend,
  mayGiveUp: () => boolean,
  streamed: boolean,
): Promise<Response | Failure> {
  const startedMs = Date.now();
  let { probeAfterMs } = config;
  // Nothing tells when a streamed body has been sent, and a slow upload is no fault: there the probe alone decides.
  const timeoutMs = streamed ? Number.POSITIVE_INFINITY : config.backendTimeoutMs;
  let failure: Failure | undefined;
  while (!failure) {
    const leftMs = timeoutMs - (Date.now() - startedMs);
    const response = await within(Math.min(probeAfterMs, leftMs), attempt);
    if (response) return response;
    if (leftMs <= probeAfterMs) {
      failure = "timeout";
    } else if (mayGiveUp()) {
      const first = await Promise.race([attempt, probe(backend, config)]);
      if (first instanceof Response) return first;
      if (!isAlive(first)) failure = "silent";
      // An upload may take as long as it likes, but the free plan allows 50 subrequests, probes included.
      if (streamed) probeAfterMs *= 2;
    }
  }
  attempt.then(discard, () => {});
  return failure;
}

/** What the promise resolves to, or `undefined` after `ms`. The timer ends with the promise: nothing is cut later. */
function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms, undefined);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/** Throws an answer away, so that its connection is free: only six may wait at a time. */
function discard(response: Response): void {
  if (response.webSocket) {
    response.webSocket.accept();
    response.webSocket.close();
  }
  response.body?.cancel().catch(() => {});
}

/** What is due before a request when not every backend is up: a reset when none is, else a probe of each that waits. */
function tendHealth(exchange: Exchange): void {
  const { config, health, ctx } = exchange;
  const nowMs = Date.now();
  if (health.size === config.backends.length) {
    for (const backend of config.backends) {
      if (reinstate(health, backend.id)) reportBack(exchange, backend, "no backend was up");
    }
    return;
  }
  for (const backend of config.backends) {
    const ejection = leaseProbe(health, backend.id, nowMs, PROBE_LEASE_MS);
    if (ejection) ctx.waitUntil(recover(exchange, backend, ejection));
  }
}

/** Whether a backend whose down time has passed is back: any answer below 500 will do. */
async function recover(exchange: Exchange, backend: Backend, ejection: Ejection): Promise<void> {
  const { config, health } = exchange;
  const alive = isAlive(await probe(backend, config));
  if (settle(health, backend.id, ejection, alive, Date.now(), config.downTimeMs)) {
    reportBack(exchange, backend, "probe answered");
  }
}

/** Whether a backend was ejected for the request's fault: if it says that it is well, it comes straight back. */
async function acquit(exchange: Exchange, backend: Backend, ejection: Ejection): Promise<void> {
  const { config, health } = exchange;
  if (!isWell(await probe(backend, config))) return;
  if (settle(health, backend.id, ejection, true, Date.now(), config.downTimeMs)) {
    reportBack(exchange, backend, "acquitted");
  }
}

function ejectBackend(exchange: Exchange, suspect: Suspect): void {
  const { config, health, ctx } = exchange;
  const { backend, outcome } = suspect;
  const cause = { reason: outcome, acquittable: JUDGEMENTS[outcome].acquittable };
  const ejection = eject(health, backend.id, cause, Date.now(), config.downTimeMs);
  if (!ejection) return;
  exchange.counters.ejections++;
  report(exchange, "ejected", suspect);
  if (ejection.acquittable) ctx.waitUntil(acquit(exchange, backend, ejection));
}

/** A streamed body is tried once, so no other backend can tell whose fault a failure is, or whether the client left: the probe does. */
function ejectUnlessAlive(exchange: Exchange, suspect: Suspect): void {
  exchange.ctx.waitUntil(
    probe(suspect.backend, exchange.config).then((result) => {
      if (!isAlive(result)) ejectBackend(exchange, suspect);
    }),
  );
}

function report(exchange: Exchange, event: "ejected" | "failover" | "exhausted", suspect: Suspect): void {
  const { backend, outcome, status, attempt } = suspect;
  log({ event, backend: backend.id, reason: outcome, ...(status && { status }), attempt, ray: ray(exchange) });
}

/** Says that a backend is back, wherever that was found out. */
export function reportBack(exchange: Pick<Exchange, "request" | "counters">, backend: Backend, reason: string): void {
  countReturn(exchange.counters, backend.id, Date.now());
  log({ event: "back", backend: backend.id, reason, ray: ray(exchange) });
}

function ray({ request }: Pick<Exchange, "request">): string | null {
  return request.headers.get("CF-Ray");
}
