import type { Backend } from "../config.ts";
import { countFailure } from "../counters.ts";
import { type Failure, report } from "../events.ts";
import { healthOf, isDown } from "../health/findings.ts";
import { hint } from "../health/monitor.ts";
import { ownAnswer } from "../own-answer.ts";
import { type AskedBackends, downCandidates, isSilent, nextCandidate } from "../selection/candidates.ts";
import { type Attempt, discard, OpenAttempts, type Result } from "./attempt.ts";
import { beginAttempt, type Exchange, type Served, tellAnswered, tellFailed } from "./exchange.ts";
import { LastResort } from "./last-resort.ts";
import { failureOf, isIdempotent, isRelayable, mayRetry } from "./outcome.ts";
import { listen, type Verdict } from "./silence.ts";
import { isWebSocketRequest } from "./websocket.ts";

/** Beside the one that is relied on, one more: "The Tail at Scale" (Dean and Barroso, 2013). */
const OPEN_MAX = 2;

/** A first attempt that was let go keeps its connection, since it has no signal. */
export const WAITING_ATTEMPTS_MAX = OPEN_MAX + 1;

/** How often to look whether a check that somebody waits for has found something. */
const LOOK_FOR_FINDING_MS = 25;

/** How often to look whether another backend has come up, or `BACKEND_TIMEOUT` has passed, while all that is open is silent. */
const LOOK_FOR_BACKEND_MS = 1_000;

interface FailedAttempt {
  readonly backend: Backend;
  readonly reason: Failure;
  readonly status: number | undefined;
  readonly attempt: number;
}

function failed({ backend, number }: Attempt, reason: Failure, status?: number): FailedAttempt {
  return { backend, reason, status, attempt: number };
}

/** The long way of a request whose first attempt failed, fell silent, or had nobody to go to. */
export class Failover {
  readonly #exchange: Exchange;
  readonly #open: OpenAttempts;
  readonly #asked: AskedBackends = new Map();
  /** When each of them failed. */
  readonly #failed = new Map<Backend, number>();
  readonly #lastResort: LastResort;
  readonly #isStreamed: boolean;
  /** Whether it must not be carried out twice on suspicion. */
  readonly #isCautious: boolean;
  #first: Backend | undefined;
  #attempts = 0;
  /** Whether a failure may have had its effect, so that the request is not repeated. */
  #isSpent = false;
  /** An answer that could be relayed, if nobody does better. */
  #inHand: { readonly response: Response; readonly backend: Backend } | undefined;
  #last: FailedAttempt | undefined;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    const { request, body } = exchange;
    const { method } = request;
    this.#open = new OpenAttempts(request);
    this.#lastResort = new LastResort(exchange);
    this.#isStreamed = body instanceof ReadableStream;
    this.#isCautious = body !== null || (method !== "GET" && method !== "HEAD") || isWebSocketRequest(request);
  }

  /** Takes over a first attempt that has failed, or that has no result yet. */
  takeOver(attempt: Attempt, result: Result | undefined): void {
    this.#first = attempt.backend;
    this.#attempts = attempt.number;
    this.#asked.set(attempt.backend, "done");
    if (result === undefined) this.#open.add(attempt);
    else this.#fail(attempt, result);
  }

  /** Asks one backend after the other, or beside the other, until one answers below 500 or nothing is left. Never rejects. */
  async run(): Promise<Served> {
    for (;;) {
      const waitMs = this.#step(Date.now());
      if (waitMs === undefined) return this.#exhausted();
      const settled = await this.#open.next(waitMs);
      if (!settled) continue;
      const { attempt, result } = settled;
      if (result instanceof Response && !failureOf(result.status)) return this.#answered(attempt, result);
      this.#fail(attempt, result);
    }
  }

  /** Does what is due now. Returns for how long to wait for a result, in ms, or `undefined` when there is nothing to wait for. */
  #step(nowMs: number): number | undefined {
    for (const attempt of this.#open) {
      if (nowMs < this.#deadlineMs(attempt)) continue;
      this.#open.letGo(attempt);
      this.#fail(attempt, "timeout");
    }
    const waitMs = this.#waitMs(nowMs);
    if (waitMs !== undefined) return waitMs;

    // All that is open is silent: whoever is there to ask is asked beside it.
    const next = this.#mayAsk ? this.#next(nowMs) : undefined;
    if (next === "looking") return LOOK_FOR_FINDING_MS;
    if (next && this.#makeRoom(next)) {
      this.#ask(next, nowMs);
      return this.#waitMs(nowMs);
    }
    if (this.#inHand || this.#open.size === 0) return undefined;
    return next ? LOOK_FOR_FINDING_MS : LOOK_FOR_BACKEND_MS;
  }

  /** Beside an attempt that is still open only what may be repeated after any failure is asked. */
  get #mayAsk(): boolean {
    if (this.#attempts === 0) return true;
    const isLeft = this.#attempts <= this.#exchange.config.maxRetries && !this.#isSpent;
    return isLeft && (this.#open.size === 0 || this.#mayRetry(undefined));
  }

  #mayRetry(status: number | undefined): boolean {
    return mayRetry(this.#exchange.request.method, this.#isStreamed, status, this.#exchange.config);
  }

  /** For how long an open attempt may be relied on, in ms; `undefined` when there is none. */
  #waitMs(nowMs: number): number | undefined {
    let waitMs: number | undefined;
    for (const attempt of this.#open) {
      const verdict = this.#listen(attempt, nowMs);
      if (verdict === "silent") continue;
      const lookMs = verdict === "waiting" ? attempt.lookMs - nowMs : LOOK_FOR_FINDING_MS;
      waitMs = Math.min(waitMs ?? lookMs, lookMs, this.#deadlineMs(attempt) - nowMs);
    }
    return waitMs;
  }

  #listen(attempt: Attempt, nowMs: number): Verdict {
    const { backend } = attempt;
    const verdict = listen(attempt, healthOf(this.#exchange.health, backend.id), nowMs, this.#isCautious);
    if (verdict === "unquestioned") hint(backend, this.#exchange);
    return verdict;
  }

  /** Nothing tells when a streamed body has been sent, and a slow upload is no fault: it ends only with its backend. */
  #deadlineMs({ backend, sentMs }: Attempt): number {
    const { config, health } = this.#exchange;
    const isBounded = !this.#isStreamed || isDown(healthOf(health, backend.id));
    return isBounded ? sentMs + config.backendTimeoutMs : Number.POSITIVE_INFINITY;
  }

  /** The backend to ask next; `looking` while a last resort waits for its checks. */
  #next(nowMs: number): Backend | "looking" | undefined {
    const { client, config, health, request } = this.#exchange;
    const patience = { hasAnswer: this.#inHand !== undefined, isIdempotent: isIdempotent(request.method) };
    const candidate = nextCandidate(config, health, client, this.#asked, patience, nowMs);
    if (candidate) return candidate;

    const down = downCandidates(config, health, client, this.#asked, nowMs);
    this.#lastResort.begin(down, nowMs);
    const found = this.#lastResort.found(down);
    if (found) return found;
    if (this.#lastResort.isLooking(nowMs)) return "looking";
    const [blind] = down;
    const hasUpFailed = [...this.#failed.keys()].some(({ id }) => !isDown(healthOf(health, id)));
    // What a working backend has failed at is not worth a wait for one that is known to be silent.
    if (this.#inHand || !blind || (hasUpFailed && isSilent(blind, health, nowMs))) return undefined;
    return blind;
  }

  /** Whether one more attempt may be open. A third takes the place of one whose backend is down, if its own is not. */
  #makeRoom(next: Backend): boolean {
    if (this.#open.size < OPEN_MAX) return true;
    const { health } = this.#exchange;
    const gone = [...this.#open].find(({ backend }) => isDown(healthOf(health, backend.id)));
    if (!gone || isDown(healthOf(health, next.id))) return false;
    this.#open.letGo(gone);
    this.#fail(gone, "silent");
    return true;
  }

  #ask(backend: Backend, nowMs: number): void {
    const silent = [...this.#open].at(-1);
    const cause = silent ? failed(silent, "silent") : this.#last;
    if (cause && cause.backend !== backend) this.#report("failover", cause);
    this.#first ??= backend;
    this.#asked.set(backend, "done");
    this.#open.add(beginAttempt(this.#exchange, backend, ++this.#attempts, nowMs));
  }

  #fail(attempt: Attempt, result: Result): void {
    const { backend } = attempt;
    const status = result instanceof Response ? result.status : undefined;
    const outcome = result instanceof Response ? failureOf(result.status) : result;
    if (!outcome) return;
    tellFailed(this.#exchange, backend, outcome, status);
    // Once more, since its pooled connection may have been stale; it has failed for good if that fails too.
    if (outcome === "network error" && !this.#failed.has(backend)) this.#asked.set(backend, "may be asked again");
    this.#failed.set(backend, Date.now());
    this.#last = failed(attempt, outcome, status);
    this.#isSpent ||= !this.#mayRetry(status);
    if (result instanceof Response && isRelayable(result.status)) {
      this.#drop();
      this.#inHand = { response: result, backend };
    } else {
      discard(result);
    }
  }

  /** Throws away the answer in hand, since there is a later or a better one. */
  #drop(): void {
    if (this.#inHand) discard(this.#inHand.response);
  }

  #answered({ backend }: Attempt, response: Response): Served {
    tellAnswered(this.#exchange, backend, response.status, this.#failed);
    this.#end();
    this.#drop();
    return { response, backend, first: this.#first, attempts: this.#attempts };
  }

  #exhausted(): Served {
    this.#end();
    if (this.#last) this.#report("exhausted", this.#last);
    const isLate = this.#last?.reason === "silent" || this.#last?.reason === "timeout";
    const text = `No backend ${isLate ? "answered in time" : "could be reached"}. Try again soon.`;
    const own = ownAnswer(isLate ? 504 : 502, text);
    const { response, backend } = this.#inHand ?? { response: own, backend: undefined };
    return { response, backend, first: this.#first, attempts: this.#attempts };
  }

  /** Lets go of what is still open; what was silent counts as failed. */
  #end(): void {
    const { counters } = this.#exchange;
    for (const { backend, questionedMs } of this.#open.end()) {
      if (questionedMs !== undefined) countFailure(counters, backend.id, "silent", undefined, Date.now());
    }
  }

  #report(event: "failover" | "exhausted", { backend, reason, status, attempt }: FailedAttempt): void {
    const { counters, ray } = this.#exchange;
    report({ event, backend: backend.id, reason, ...(status !== undefined && { status }), attempt, ray }, counters);
  }
}
