import { Agent, type IncomingHttpHeaders } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../support/random.ts";
import { PRIMARY_DOMAIN } from "../support/worker.ts";
import { SCHEME_HEADER } from "../support/workerd.ts";
import type { Affinity, Judgement, Visit } from "./affinity.ts";
import { type Asking, ask, Refusal, talk, WrongAnswer } from "./asking.ts";
import type { ChaosBackend } from "./backends.ts";
import type { Exchanges, Result } from "./exchanges.ts";
import { PAYLOAD_BYTES_MAX, payloadQuery, randomPayload } from "./payload.ts";
import { STALE_HEADER, STALE_SHARE } from "./stale.ts";

/** Longer than any fault lasts: who waits for so long has been forgotten. */
const PATIENCE_MS = 60_000;
const IMPATIENCE_MS = 500;

/** How often a client comes as a new visitor. Without these all sessions would end up where nothing is broken. */
const FORGETS = 0.1;

/** Spellings that a proxy likes to "mend". No dot segments: `fetch` itself resolves these, as browsers do (RFC 3986, section 6.2.2.3). */
const SPELLINGS = ["plain", "a%2Fb", "a//b", "%E4%BD%A0", "it's{this}|that", "a;b=c,d", "a%00b", "~a!$&()*+"];

/** Everything that the clients of a run share. */
export interface Surroundings {
  readonly port: number;
  readonly backends: readonly ChaosBackend[];
  readonly exchanges: Exchanges;
  readonly affinity: Affinity;
  /** For how long an answer below 500 of a stopped app's platform may be relayed: until a check by age has found it out. */
  readonly deceptionMs: number;
}

/** How far an exchange came. */
interface Progress {
  readonly startMs: number;
  readonly isPost: boolean;
  readonly visit: Visit;
  answeredMs?: number;
  /** The backend that began to answer. */
  backend?: ChaosBackend;
  /** The session that the answer sets. */
  session?: string;
}

/** A browser with one connection and a cookie jar. It never repeats a request. */
export class Client {
  readonly #name: string;
  readonly #ip: string;
  readonly #home: string;
  readonly #isImpatient: boolean;
  readonly #random: Random;
  readonly #around: Surroundings;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #session: string | undefined;
  #sent = 0;

  /** `home`: the backend that answers this address when all are up and it has no cookie. */
  constructor(name: string, ip: string, home: string, isImpatient: boolean, seed: number, around: Surroundings) {
    this.#name = name;
    this.#ip = ip;
    this.#home = home;
    this.#isImpatient = isImpatient;
    this.#random = Random.forPart(seed, name);
    this.#around = around;
  }

  /** Makes one exchange after the other until `untilMs`. */
  async run(untilMs: number): Promise<void> {
    while (performance.now() < untilMs) {
      if (this.#random.next() < FORGETS) this.#session = undefined;
      await this.#exchange();
      await sleep(this.#random.between(0, 50));
    }
    this.#agent.destroy();
  }

  async #exchange(): Promise<void> {
    const random = this.#random;
    const share = random.next();
    const kind = share < 0.6 ? "GET" : share < 0.85 ? "POST" : share < 0.95 ? "HEAD" : "WebSocket";
    const bytes = random.between(0, random.next() < 0.05 ? PAYLOAD_BYTES_MAX : 16 * 1024);
    const path = `/${this.#name}/${++this.#sent}/${random.pick(SPELLINGS)}?${payloadQuery(random, bytes)}`;
    const body = kind === "POST" ? randomPayload(random, random.between(0, 60 * 1024)) : undefined;
    const messages = [1, 2, 3].map(() => randomPayload(random, random.between(0, 4 * 1024)));
    const isStale = random.next() < STALE_SHARE && kind !== "WebSocket";
    const exchange = (asking: Asking) =>
      kind === "WebSocket" ? talk(path, messages, asking) : ask(kind, path, body, asking);
    await this.#around.exchanges.run(kind, this.#judge(kind, path, isStale, exchange));
  }

  /** Makes an exchange and says what became of it. */
  async #judge(
    kind: string,
    path: string,
    isStale: boolean,
    exchange: (asking: Asking) => Promise<void>,
  ): Promise<Result> {
    const startMs = performance.now();
    const staleAt = isStale ? (this.#session ?? this.#home) : undefined;
    const visit = { startMs, session: this.#session, home: this.#home, staleAt };
    const progress: Progress = { startMs, isPost: kind === "POST", visit };
    const signal = AbortSignal.timeout(this.#isImpatient ? IMPATIENCE_MS : PATIENCE_MS);
    const result = (verdict: Result["verdict"], why?: string): Result => {
      const endMs = performance.now();
      const { backend, answeredMs = endMs } = progress;
      const wasDelayed = backend?.illnessesSince(startMs).some(({ fault }) => fault.delays) ?? false;
      const what = `${kind} ${path}`;
      return {
        verdict,
        what,
        startMs,
        answeredMs,
        endMs,
        wasDelayed,
        ray: this.#ray,
        ...(why !== undefined && { why }),
      };
    };
    try {
      await exchange({
        port: this.#around.port,
        agent: this.#agent,
        headers: this.#headers(staleAt),
        signal,
        onAnswer: (headers) => this.#onAnswer(headers, progress),
      });
      const { verdict, why } = this.#judgeSession(progress);
      return result(verdict, why);
    } catch (error) {
      const why =
        error instanceof Error ? `${error.message} ${(error as NodeJS.ErrnoException).code ?? ""}` : "unknown";
      // The next exchange starts from what is certain: the session that the last whole answer left.
      if (error instanceof WrongAnswer) return result("wrong", why);
      if (this.#isImpatient && signal.aborted) return result("given up");
      return result(this.#excuse(error, progress) ?? "failed", why);
    }
  }

  get #ray(): string {
    return `${this.#name}-${this.#sent}`;
  }

  #headers(staleAt: string | undefined): Record<string, string> {
    return {
      Host: PRIMARY_DOMAIN,
      [SCHEME_HEADER]: "https",
      "CF-Connecting-IP": this.#ip,
      "CF-Ray": this.#ray,
      ...(this.#session !== undefined && { Cookie: `theme=dark; aiostreams_backend=${this.#session}` }),
      ...(staleAt !== undefined && { [STALE_HEADER]: staleAt }),
    };
  }

  #onAnswer(headers: IncomingHttpHeaders, progress: Progress): void {
    progress.answeredMs = performance.now();
    const id = headers["x-served-by-backend"];
    const backend = this.#around.backends.find((backend) => backend.id === id);
    if (backend) progress.backend = backend;
    const [, session] = /aiostreams_backend=([^;]*)/.exec(String(headers["set-cookie"])) ?? [];
    if (session !== undefined) progress.session = session;
  }

  #judgeSession({ visit, backend, session }: Progress): Judgement {
    if (!backend) return { verdict: "wrong", why: "no backend answered" };
    this.#session = session ?? this.#session;
    return this.#around.affinity.judge(visit, backend.id, session);
  }

  /** Why a failure was nobody's fault, if it was nobody's. */
  #excuse(error: unknown, { startMs, isPost, visit, backend }: Progress): "cut" | "deceived" | "stale" | undefined {
    const { backends, deceptionMs } = this.#around;
    if (backend?.illnessesSince(startMs).some(({ fault }) => fault.cuts)) return "cut";
    const isNew = ({ fault, fromMs }: ChaosBackend["illnesses"][number]) =>
      fault.deceives && startMs < fromMs + deceptionMs;
    const wasDeceived = backends.some((backend) => backend.illnessesSince(startMs).some(isNew));
    if (error instanceof Refusal && error.status === 404 && wasDeceived) return "deceived";
    const others = backends.filter(({ id }) => id !== visit.staleAt);
    const isAlone = others.every((other) => other.illnessesSince(startMs).length > 0);
    return isPost && visit.staleAt !== undefined && isAlone ? "stale" : undefined;
  }
}
