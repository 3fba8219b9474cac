import { once } from "node:events";
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { sha256 } from "../support/hashing.ts";
import { Random } from "../support/random.ts";
import { PRIMARY_DOMAIN } from "../support/worker.ts";
import type { ChaosBackend } from "./backends.ts";
import type { Exchanges, Result, Verdict } from "./exchanges.ts";
import { PAYLOAD_BYTES_MAX, payloadOf, payloadQuery, randomPayload } from "./payload.ts";

/** Longer than any fault lasts: who waits for so long has been forgotten. */
const PATIENCE_MS = 60_000;

/** How long a backend that has recovered may stay unused past its down time: until the next check is answered. */
const RETURN_GRACE_MS = 1_000;

/** How often a client comes as a new visitor. Without these all sessions would end up where nothing is broken. */
const FORGETS = 0.1;

/** Spellings that a proxy likes to "mend". No dot segments: `fetch` itself resolves these, as browsers do (RFC 3986, section 6.2.2.3). */
const SPELLINGS = ["plain", "a%2Fb", "a//b", "%E4%BD%A0", "it's{this}|that", "a;b=c,d", "a%00b", "~a!$&()*+"];

/** Everything that the clients of a run share. */
export interface Surroundings {
  readonly port: number;
  readonly backends: readonly ChaosBackend[];
  readonly exchanges: Exchanges;
  readonly downTimeMs: number;
  readonly moves: Moves;
}

/** How often a client was moved, with and without a cause, and how often it stayed where it could have been moved. */
export interface Moves {
  withCause: number;
  withoutCause: number;
  stayed: number;
}

/** How far an exchange came. */
interface Progress {
  /** The backend that began to answer. */
  backend?: ChaosBackend;
  /** The session that the answer sets. */
  session?: string;
}

class WrongAnswer extends Error {}

/** A browser with one connection and a cookie jar. It never repeats a request. */
export class Client {
  readonly #name: string;
  readonly #ip: string;
  readonly #random: Random;
  readonly #around: Surroundings;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #session: string | undefined;
  #sent = 0;

  constructor(index: number, seed: number, around: Surroundings) {
    this.#name = `client-${index}`;
    this.#ip = `198.51.100.${index}`;
    this.#random = Random.forPart(seed, this.#name);
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
    const exchange =
      kind === "WebSocket"
        ? (progress: Progress) => this.#talk(path, messages, progress)
        : (progress: Progress) => this.#ask(kind, path, body, progress);
    await this.#around.exchanges.run(kind, this.#judge(`${kind} ${path}`, exchange));
  }

  get #ray(): string {
    return `${this.#name}-${this.#sent}`;
  }

  /** Makes an exchange and says what became of it. */
  async #judge(what: string, exchange: (progress: Progress) => Promise<void>): Promise<Result> {
    const startMs = performance.now();
    const progress: Progress = {};
    const result = (verdict: Verdict, why?: string): Result => {
      const endMs = performance.now();
      return { verdict, what, startMs, endMs, ray: this.#ray, ...(why !== undefined && { why }) };
    };
    try {
      await exchange(progress);
      const why = this.#checkSession(progress, startMs);
      return why === undefined ? result("right") : result("wrong", why);
    } catch (error) {
      const why =
        error instanceof Error ? `${error.message} ${(error as NodeJS.ErrnoException).code ?? ""}` : "unknown";
      // The next exchange starts from what is certain: the session that the last whole answer left.
      if (error instanceof WrongAnswer) return result("wrong", why);
      const died = progress.backend?.illnessesSince(startMs).some(({ cuts }) => cuts);
      return result(died ? "cut" : "failed", why);
    }
  }

  async #ask(method: string, path: string, body: Buffer | undefined, progress: Progress): Promise<void> {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const { port } = this.#around;
    const request = httpRequest({ port, path, method, agent: this.#agent, headers: this.#headers(), signal });
    request.end(body);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    if (response.statusCode !== 200) {
      const chunks = await response.toArray();
      throw new Error(`status ${response.statusCode}: ${Buffer.concat(chunks)}`);
    }
    this.#answeredBy(response, progress);
    const received = Buffer.concat(await response.toArray());
    const payload = body ?? payloadOf(path);
    const { headers } = response;
    same("method", headers["x-method"], method);
    same("path", headers["x-url"], path);
    same("SHA-256 of the request's body", headers["x-body-sha256"], sha256(body ?? Buffer.alloc(0)));
    same("length", headers["content-length"], String(payload.length));
    same("SHA-256 of the answer's body", sha256(received), sha256(method === "HEAD" ? Buffer.alloc(0) : payload));
  }

  /** Opens a WebSocket, has each message echoed, and closes it. */
  async #talk(path: string, messages: readonly Buffer[], progress: Progress): Promise<void> {
    const webSocket = new WebSocket(`ws://127.0.0.1:${this.#around.port}${path}`, { headers: this.#headers() });
    const signal = AbortSignal.timeout(PATIENCE_MS);
    webSocket.on("upgrade", (response) => this.#answeredBy(response, progress));
    webSocket.on("error", () => {}); // `once` below rejects with it; a later one comes with a close.
    const closed = new Promise<number>((resolve) => webSocket.on("close", resolve));
    const lost = closed.then((code) => {
      throw new Error(`the WebSocket closed with ${code}`);
    });
    lost.catch(() => {});
    try {
      await once(webSocket, "open", { signal });
      for (const message of messages) {
        const echoed = once(webSocket, "message", { signal });
        echoed.catch(() => {});
        webSocket.send(message);
        const [echo] = (await Promise.race([echoed, lost])) as [Buffer];
        same("message", sha256(echo), sha256(message));
      }
      webSocket.close(1000);
      const code = await closed;
      if (code !== 1000) throw new Error(`the WebSocket closed with ${code} instead of 1000`);
    } finally {
      webSocket.terminate();
    }
  }

  #headers(): Record<string, string> {
    return {
      Host: PRIMARY_DOMAIN,
      "Test-Scheme": "https",
      "CF-Connecting-IP": this.#ip,
      "CF-Ray": this.#ray,
      ...(this.#session !== undefined && { Cookie: `theme=dark; aiostreams_backend=${this.#session}` }),
    };
  }

  #answeredBy(response: IncomingMessage, progress: Progress): void {
    const id = response.headers["x-served-by-backend"];
    const backend = this.#around.backends.find((backend) => backend.id === id);
    if (!backend) throw new WrongAnswer("no backend answered");
    progress.backend = backend;
    const [, session] = /aiostreams_backend=([^;]*)/.exec(String(response.headers["set-cookie"])) ?? [];
    if (session !== undefined) progress.session = session;
  }

  /** Checks that the cookie names who answered, and that a client left its backend only because that had failed. */
  #checkSession({ backend, session }: Progress, startMs: number): string | undefined {
    const before = this.#session;
    this.#session = session ?? before;
    if (this.#session !== backend?.id) return `${backend?.id} answered, but the session is ${this.#session}`;
    const { backends, downTimeMs, moves } = this.#around;
    const old = backends.find(({ id }) => id === before);
    const couldStay = old?.isWell && startMs > old.settledMs + downTimeMs + RETURN_GRACE_MS;
    if (old === backend) {
      if (couldStay) moves.stayed++;
    } else if (old) {
      if (!couldStay) moves.withCause++;
      else {
        moves.withoutCause++;
        return `moved from ${old.id}, which was well, to ${backend?.id}`;
      }
    }
    return undefined;
  }
}

function same(what: string, found: string | string[] | undefined, expected: string): void {
  if (found !== expected) throw new WrongAnswer(`${what}: expected ${expected}, found ${found}`);
}
