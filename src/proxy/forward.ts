import type { Backend } from "../config.ts";
import { emit, type FailureReason } from "../events.ts";
import { CHECK_SUBREQUESTS } from "../health/check.ts";
import { healthOf, isCheckUnderWay } from "../health/health-state.ts";
import { emitChange, type Invocation, POLL_MS, requestCheck, startDueChecks } from "../health/monitor.ts";
import {
  isHanging,
  recordAttempt,
  recordConsecutiveFailure,
  recordEnd,
  recordFailure,
  recordSuccess,
  recordVouch,
} from "../health/traffic.ts";
import { type BackendView, viewOf } from "../health/view.ts";
import type { Client } from "../selection/session.ts";
import { discard, type Sending, send } from "./attempt.ts";
import { type HeldBodies, type Upload, withBody } from "./body.ts";
import { allowedFor, type Failure, isFromCache, isProof, outcomeOf } from "./outcome.ts";
import { plan } from "./plan.ts";
import { type Attempt, lastFailureOf, type RequestState } from "./request-state.ts";

/** One user's request and all that it is decided by. */
export interface RequestContext extends Sending, Invocation {
  readonly client: Client;
}

/** What became of a request. */
export interface ProxyResult {
  /** `undefined` where no backend's answer can be relayed; `status` is then the Worker's own. */
  readonly response?: Response;
  readonly status: number;
  /** In the order in which they were sent. */
  readonly attempts: readonly Attempt[];
  /** The attempt that gave the response. */
  readonly chosen?: Attempt;
  /** Whether the client's session may be bound to its backend: a success, and no last resort. */
  readonly isBinding: boolean;
}

/** Sends a request to one backend after the other, or beside the other, as `plan` says. Never rejects. */
export async function forward(context: RequestContext, heldBodies: HeldBodies): Promise<ProxyResult> {
  context.counters.requests++;
  const { request } = context;
  if (request.body === null) return new Driver(context).run();
  const result = await withBody(request, heldBodies, (body, upload) => {
    context.body = body;
    return new Driver(context, upload).run();
  });
  return typeof result === "number" ? { status: result, attempts: [], isBinding: false } : result;
}

/** The only place that sends, waits, aborts, counts and logs on behalf of a request. */
class Driver implements RequestState {
  readonly attempts: Attempt[] = [];
  readonly client;
  readonly config;
  readonly allowed;
  lastResortMs: number | undefined;
  readonly #context: RequestContext;
  readonly #responses = new Map<Attempt, Response>();
  readonly #aborts = new Map<Attempt, AbortController>();
  /** The attempts whose fetches wait for headers, given-up ones included, until these settle. */
  readonly #unsettled = new Map<Attempt, Promise<void>>();
  #isFinished = false;
  readonly #upload: Upload | undefined;

  constructor(context: RequestContext, upload?: Upload) {
    this.#context = context;
    this.#upload = upload;
    this.client = context.client;
    this.config = context.config;
    this.allowed = allowedFor(context.request, context.body, context.config);
  }

  get canCheck(): boolean {
    return this.#context.subrequests.left >= CHECK_SUBREQUESTS;
  }

  get unsettled(): number {
    return this.#context.subrequests.unsettled;
  }

  /** Whether the client has broken its upload off, and no answer had come by then. */
  get #hasClientLeft(): boolean {
    return this.#upload?.isBrokenOff === true && this.#unsettled.size === 0 && this.#responses.size === 0;
  }

  async run(): Promise<ProxyResult> {
    for (let isFirstStep = true; ; isFirstStep = false) {
      const nowMs = Date.now();
      if (this.#hasClientLeft) return { status: 400, attempts: this.attempts, isBinding: false };
      const next = plan(this, this.#views(nowMs), nowMs);
      switch (next.do) {
        case "ask":
          this.#ask(next.backend, next.isOnceMore, nowMs);
          break;
        case "vouch":
          this.#vouch(next.attempt);
          break;
        case "fail":
          this.#fail(next.attempt, next.reason, nowMs);
          break;
        case "check":
          if (next.isLastResort) this.lastResortMs = nowMs;
          if (this.canCheck) for (const backend of next.backends) requestCheck(backend, this.#context);
          break;
        case "wait":
          await this.#wait(next.isPolled ? POLL_MS : next.untilMs - nowMs);
          break;
        case "finish":
          return this.#finish(next.with, nowMs);
      }
      // A request's own first attempt starts before any check.
      if (isFirstStep) startDueChecks(this.#context, nowMs);
    }
  }

  #views(nowMs: number): (backend: Backend) => BackendView {
    const { config, health } = this.#context;
    const views = new Map<Backend, BackendView>();
    return (backend) => {
      let view = views.get(backend);
      if (!view) {
        view = viewOf(backend, config.backends, health, this.client.key, nowMs);
        views.set(backend, view);
      }
      return view;
    };
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#context.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #ask(backend: Backend, isOnceMore: boolean, nowMs: number): void {
    const last = this.attempts.at(-1);
    if (last && last.backend !== backend) this.#emit("failover", last);
    const attempt: Attempt = { backend, sentMs: nowMs, isOnceMore };
    const isStreamed = this.allowed.repeat === "never";
    const abort = this.attempts.length > 0 || isStreamed ? new AbortController() : undefined;
    if (abort) this.#aborts.set(attempt, abort);
    if (this.#upload) this.#upload.onBrokenOff = () => this.#abort(attempt);
    this.attempts.push(attempt);
    recordAttempt(healthOf(this.#context.health, backend.id), nowMs);
    const settling = send(this.#context, backend, abort?.signal).then(
      (response) => this.#settle(attempt, response),
      () => this.#settle(attempt),
    );
    this.#unsettled.set(attempt, settling);
    this.#context.subrequests.attempts = this.#unsettled.size;
  }

  /** The headers of an attempt have come, or it broke. */
  #settle(attempt: Attempt, response?: Response): void {
    this.#release(attempt);
    if (attempt.outcome) discard(response);
    else this.#take(attempt, response);
    this.#context.wake();
  }

  /** Takes in what came of an attempt that was not given up. */
  #take(attempt: Attempt, response: Response | undefined): void {
    const { backend, sentMs } = attempt;
    const atMs = Date.now();
    const known = healthOf(this.#context.health, backend.id);
    recordEnd(known, sentMs);
    if (!response) {
      // An upload that its client broke off is no fault of the backend.
      if (this.#isFinished || this.#upload?.isBrokenOff) return;
      const failure: Failure = { kind: "failed", atMs, reason: "network error", isRelayable: false };
      const { body, request } = this.#context;
      // The body of a GET does not tell who broke it off.
      if (body && body === request.body) attempt.outcome = failure;
      else this.#recordFailure(attempt, failure);
      return;
    }
    const isReplaced = known.result?.kind === "unexpected answer";
    const outcome = outcomeOf(response, backend, this.#context, atMs, isReplaced);
    if (this.#isFinished) {
      // Too late for its client, but no backend that hangs answers so.
      if (outcome.kind === "success" && !isFromCache(response)) this.#recordLife(attempt, response, atMs);
      discard(response);
      return;
    }
    this.#responses.set(attempt, response);
    if (outcome.kind === "failed") this.#recordFailure(attempt, outcome);
    else attempt.outcome = outcome;
  }

  #fail(attempt: Attempt, reason: FailureReason, nowMs: number): void {
    const status = this.#responses.get(attempt)?.status;
    this.#recordFailure(attempt, { kind: "failed", atMs: nowMs, reason, status, isRelayable: status !== undefined });
    this.#abort(attempt);
  }

  #vouch(attempt: Attempt): void {
    const known = healthOf(this.#context.health, attempt.backend.id);
    const { lastAsk } = known;
    attempt.outcome = { kind: "success" };
    // What was believed since an ask had vouched for another answer to this client makes no belief last longer.
    if (lastAsk && lastAsk.beganMs >= attempt.sentMs) recordVouch(known, this.client.key, lastAsk.endedMs);
  }

  #recordFailure(attempt: Attempt, failure: Failure): void {
    const { backend } = attempt;
    const { reason } = failure;
    attempt.outcome = failure;
    recordFailure(healthOf(this.#context.health, backend.id), failure);
    // A check has said it already.
    if (reason !== "not vouched for" && reason !== "silent") requestCheck(backend, this.#context);
    if (!failure.isRelayable) this.#discard(attempt);
  }

  /**
   * Frees the connection of an attempt that waits for headers; afterwards the signal would cut its answer. One that has no
   * signal keeps it.
   */
  #abort(attempt: Attempt): void {
    const abort = this.#aborts.get(attempt);
    if (!abort || !this.#unsettled.has(attempt)) return;
    abort.abort();
    this.#release(attempt);
  }

  #release(attempt: Attempt): void {
    this.#unsettled.delete(attempt);
    this.#context.subrequests.attempts = this.#unsettled.size;
  }

  #finish(chosen: Attempt | 502 | 504, nowMs: number): ProxyResult {
    this.#isFinished = true;
    const { attempts, lastResortMs } = this;
    const attempt = typeof chosen === "number" ? undefined : chosen;
    const response = attempt && this.#responses.get(attempt);
    const kind = attempt?.outcome?.kind ?? "failed";
    const isLive = kind === "success" && response !== undefined && !isFromCache(response);
    if (attempt && isLive) this.#recordSuccess(attempt, response, nowMs);
    const lastFailure = kind === "failed" && lastFailureOf(attempts);
    if (lastFailure) this.#emit("exhausted", lastFailure);
    for (const other of attempts) {
      if (other === attempt) continue;
      this.#abort(other);
      this.#discard(other);
    }
    if (typeof chosen === "number") return { status: chosen, attempts, isBinding: false };
    if (!response) throw new Error("an attempt without an answer was chosen");
    const isBinding = isLive && (lastResortMs === undefined || chosen.sentMs < lastResortMs);
    return { response, status: response.status, attempts, chosen, isBinding };
  }

  #recordSuccess(winner: Attempt, response: Response, nowMs: number): void {
    const { counters } = this.#context;
    const { backend } = winner;
    const { status } = response;
    if (status === 101) counters.webSockets++;
    for (const attempt of this.attempts) {
      if (attempt.backend !== backend) this.#recordOutdone(attempt, winner, status, nowMs);
    }
    this.#recordLife(winner, response, nowMs);
  }

  #recordLife({ backend, sentMs }: Attempt, response: Response, nowMs: number): void {
    const known = healthOf(this.#context.health, backend.id);
    // Looked for only where it matters: a backend that is up and not being checked needs no proof.
    const isDoubted = known.ejection !== undefined || isCheckUnderWay(known, nowMs);
    const isProven = isDoubted && isProof(response);
    if (recordSuccess(known, this.client.key, nowMs, isProven, sentMs)) requestCheck(backend, this.#context);
  }

  /** Another backend has served the request that this attempt failed, or is silent about. */
  #recordOutdone(attempt: Attempt, winner: Attempt, status: number, nowMs: number): void {
    const { config, ctx, health } = this.#context;
    const { backend, outcome } = attempt;
    const known = healthOf(health, backend.id);
    if (!outcome) {
      // It is silent if the one that won was sent after it: else it had less time.
      if (this.attempts.indexOf(attempt) > this.attempts.indexOf(winner)) return;
      recordFailure(known, { reason: "silent", atMs: nowMs });
      // What the check decides is left to it; of a backend that hangs behind good checks it decides nothing.
      if (!isHanging(known, nowMs)) return;
      // It may be slow, and nothing but its answer can tell: without this the runtime cancels it with the request.
      const settling = this.#unsettled.get(attempt);
      if (settling) ctx.waitUntil(settling);
    }
    // A 4xx finds fault with the request, and another backend may well put that as a 500.
    if (outcome?.kind === "success" || outcome?.kind === "doubtful" || status >= 400) return;
    const change = recordConsecutiveFailure(known, this.client.key, outcome?.atMs ?? nowMs, nowMs, config.downTimeMs);
    emitChange(change, backend, this.#context);
  }

  #discard(attempt: Attempt): void {
    discard(this.#responses.get(attempt));
    this.#responses.delete(attempt);
  }

  /** Why the request goes on after an attempt, or ends: that has failed, or it is silent. */
  #emit(event: "failover" | "exhausted", attempt: Attempt): void {
    const { backend, outcome } = attempt;
    const { counters, ray } = this.#context;
    const { reason, status } = outcome?.kind === "failed" ? outcome : { reason: "silent" as const };
    const number = this.attempts.indexOf(attempt) + 1;
    emit({ event, backend: backend.id, reason, status, attempt: number, ray }, counters);
  }
}
