import type { ChaosBackend } from "./backends.ts";

/** How long a backend that has recovered may stay unused past its down time: until the next check is answered. */
const RETURN_MOMENT_MS = 1_000;

/** How an exchange is seen by its client; ids but for the times. */
export interface Visit {
  readonly startMs: number;
  /** The backend that the client's cookie names, and the client's first choice by its address. */
  readonly session: string | undefined;
  readonly home: string;
  /** The backend whose connection was to be stale. */
  readonly staleAt: string | undefined;
}

export interface Judgement {
  readonly verdict: "right" | "wrong" | "moved";
  readonly why?: string;
}

/** Whether clients stay on their backends. */
export class Affinity {
  /** Of clients whose backend was up all the time: those that it answered, those whose own connection was stale, and those that were moved. */
  stayed = 0;
  brokeOff = 0;
  movedRequests = 0;
  movedSessions = 0;
  /** Of clients whose backend was broken, or had been a moment ago. */
  reboundWithCause = 0;
  readonly #backends: readonly ChaosBackend[];
  readonly #returnGraceMs: number;

  constructor(backends: readonly ChaosBackend[], downTimeMs: number) {
    this.#backends = backends;
    this.#returnGraceMs = downTimeMs + RETURN_MOMENT_MS;
  }

  /** Judges an exchange that `answeredBy` has answered, with `set` as the session's new cookie, and that ends now. */
  judge({ startMs, session, home, staleAt }: Visit, answeredBy: string, set: string | undefined): Judgement {
    if (set !== undefined && set !== answeredBy) return wrong(`${answeredBy} answered, but the cookie names ${set}`);
    if (session === undefined && set === undefined) return wrong("a new client got no session");
    if (session === answeredBy && set !== undefined) return wrong("the session was right, and was set again");

    const own = session ?? home;
    const isRebound = session !== undefined && set !== undefined;
    if (!this.#wasUp(own, startMs)) {
      if (isRebound) this.reboundWithCause++;
      return { verdict: "right" };
    }
    if (isRebound) this.movedSessions++;
    if (answeredBy === own) this.stayed++;
    // The design asks another backend before it asks the same one again, and the client's cookie stays what it is.
    else if (staleAt === own) this.brokeOff++;
    else this.movedRequests++;
    if (!isRebound && (answeredBy === own || staleAt === own)) return { verdict: "right" };
    const how = isRebound ? "moved for good" : "answered elsewhere";
    return { verdict: "moved", why: `${how}: ${own} was up all the time, and ${answeredBy} answered` };
  }

  /**
   * "Up all the time" is: without a fault from before the exchange began until now, its end, and by its beginning settled
   * for longer than the return grace, the time in which the Worker may still leave a backend alone that had a fault.
   * A fault makes `settledMs` infinite when it begins, until all that began during it has ended: one comparison says it all.
   * A connection that is stale is no fault of the backend, but concerns this very exchange.
   */
  #wasUp(id: string, startMs: number): boolean {
    const backend = this.#backends.find((backend) => backend.id === id);
    return backend !== undefined && startMs > backend.settledMs + this.#returnGraceMs;
  }
}

function wrong(why: string): Judgement {
  return { verdict: "wrong", why };
}
