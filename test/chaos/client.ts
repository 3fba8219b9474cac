import { Agent, type IncomingHttpHeaders } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../support/random.ts";
import { PRIMARY_DOMAIN } from "../support/worker.ts";
import { SCHEME_HEADER } from "../support/workerd.ts";
import type { Affinity } from "./affinity.ts";
import { type Asking, ask, Refusal, talk, WrongAnswer } from "./asking.ts";
import type { Exchanges, Result, Verdict } from "./exchanges.ts";
import type { ChaosBackend, Kind } from "./faults.ts";
import { PAYLOAD_BYTES_MAX, payloadQuery, randomPayload } from "./payload.ts";
import { STALE_HEADER, STALE_SHARE } from "./stale.ts";

/** Longer than any fault lasts: a request that waits for so long has been forgotten. */
const PATIENCE_MS = 60_000;
const IMPATIENCE_MS = 500;
/** So long that all clients together leave the machine idle for much of the time: a busy one looks like a silent backend. */
const PAUSE_MAX_MS = 150;

/** For how long a good check vouches for an answer, and what a busy machine adds. */
const VOUCHED_MS = 1_200;

/** How often a client comes as a new visitor. Without these all sessions would end up where nothing is broken. */
const FORGETS = 0.1;

/** Spellings that a proxy likes to "mend". No dot segments: `fetch` itself resolves these, as browsers do (RFC 3986, section 6.2.2.3). */
const SPELLINGS = ["plain", "a%2Fb", "a//b", "%E4%BD%A0", "it's{this}|that", "a;b=c,d", "a%00b", "~a!$&()*+"];

/** Half of the requests are of Stremio's protocol, whose paths end in this. */
const ENDINGS = [".json", ""];

/** Everything that the clients of a run share. */
export interface Surroundings {
  readonly port: number;
  readonly backends: readonly ChaosBackend[];
  readonly exchanges: Exchanges;
  readonly affinity: Affinity;
  /** For how long a page in place of the app may be relayed: until a check by age has found it out. */
  readonly deceptionMs: number;
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
      await this.#around.exchanges.run(this.#exchange());
      await sleep(this.#random.between(0, PAUSE_MAX_MS));
    }
    this.#agent.destroy();
  }

  /** Makes an exchange and says what became of it. */
  async #exchange(): Promise<Result> {
    const random = this.#random;
    const { port, backends, affinity } = this.#around;
    const share = random.next();
    const kind: Kind = share < 0.6 ? "GET" : share < 0.85 ? "POST" : share < 0.95 ? "HEAD" : "WebSocket";
    const bytes = random.between(0, random.next() < 0.05 ? PAYLOAD_BYTES_MAX : 16 * 1024);
    const name = `${random.pick(SPELLINGS)}${random.pick(ENDINGS)}`;
    const path = `/${this.#name}/${++this.#sent}/${name}?${payloadQuery(random, bytes)}`;
    const ray = `${this.#name}-${this.#sent}`;
    const isStale = random.next() < STALE_SHARE && kind !== "WebSocket";
    const session = this.#session;
    const staleAt = isStale ? (session ?? this.#home) : undefined;

    const startMs = performance.now();
    const signal = AbortSignal.timeout(this.#isImpatient ? IMPATIENCE_MS : PATIENCE_MS);
    const headers = {
      Host: PRIMARY_DOMAIN,
      [SCHEME_HEADER]: "https",
      "CF-Connecting-IP": this.#ip,
      "CF-Ray": ray,
      ...(session !== undefined && { Cookie: `theme=dark; aiostreams_backend=${session}` }),
      ...(staleAt !== undefined && { [STALE_HEADER]: staleAt }),
    };
    let answer: IncomingHttpHeaders = {};
    const onAnswer = (headers: IncomingHttpHeaders) => {
      answer = headers;
    };
    let verdict: Verdict;
    let why: string | undefined;
    try {
      await this.#send(kind, path, { port, agent: this.#agent, headers, signal, onAnswer });
      const [, set] = /aiostreams_backend=([^;]*)/.exec(String(answer["set-cookie"])) ?? [];
      this.#session = set ?? session;
      const visit = { startMs, session, home: this.#home, brokeAt: kind === "POST" ? staleAt : undefined };
      ({ verdict, why } = affinity.judge(visit, String(answer["x-served-by-backend"]), set));
    } catch (error) {
      // The next exchange starts from what is certain: the session that the last whole answer left.
      const { message, code = "" } = error as NodeJS.ErrnoException;
      why = `${message} ${code}`;
      const by = backends.find(({ id }) => id === answer["x-served-by-backend"]);
      if (error instanceof WrongAnswer) verdict = "wrong";
      else if (this.#isImpatient && signal.aborted) verdict = "given up";
      else if (by?.illnessesSince(startMs).some(({ fault }) => fault.cuts)) verdict = "cut";
      else verdict = this.#excuse(error, kind, path, startMs, staleAt) ?? "failed";
    }
    return { verdict, kind, path, startMs, endMs: performance.now(), ray, why };
  }

  #send(kind: Kind, path: string, asking: Asking): Promise<void> {
    const random = this.#random;
    if (kind === "WebSocket") {
      const messages = [1, 2, 3].map(() => randomPayload(random, random.between(0, 4 * 1024)));
      return talk(path, messages, asking);
    }
    const body = kind === "POST" ? randomPayload(random, random.between(0, 60 * 1024)) : undefined;
    return ask(kind, path, body, asking);
  }

  /** Why a failure is not the Worker's, if it is not. */
  #excuse(error: unknown, kind: Kind, path: string, startMs: number, staleAt?: string): Verdict | undefined {
    const { backends, deceptionMs } = this.#around;
    // The Worker's own answers are 502 and 504.
    const isPage = error instanceof Refusal && error.status < 500;
    const illnesses = isPage ? backends.flatMap((backend) => backend.illnessesSince(startMs)) : [];
    for (const { fault, fromMs } of illnesses) {
      if (fault.deceives?.(kind, path) && startMs < fromMs + deceptionMs) return "deceived";
      if (fault.isVouched && startMs < fromMs + VOUCHED_MS) return "vouched for";
    }
    const others = backends.filter(({ id }) => id !== staleAt);
    const isAlone = others.every((other) => other.illnessesSince(startMs).length > 0);
    return kind === "POST" && staleAt !== undefined && isAlone ? "stale" : undefined;
  }
}
