import type { EventLog } from "./event-log.ts";
import type { Result } from "./exchanges.ts";
import type { ChaosBackend } from "./faults.ts";

/** How long a check that met a fault may go on after it: until then the Worker may leave the backend alone. */
const RETURN_MOMENT_MS = 1_000;

/** How an exchange is seen by its client; ids but for the time. */
export interface Visit {
  readonly startMs: number;
  /** The backend that the client's cookie names, and the client's first choice by its address. */
  readonly session: string | undefined;
  readonly home: string;
  /** Where the connection of a POST was to be stale: it must not be sent there once more. */
  readonly brokeAt: string | undefined;
}

type Judgement = Pick<Result, "verdict"> & { readonly why?: string };

/** Whether clients stay on their backends. */
export class Affinity {
  /** How many exchanges were answered by the client's own backend, which was up all the time. */
  stayed = 0;
  readonly #backends: readonly ChaosBackend[];
  readonly #log: EventLog;

  constructor(backends: readonly ChaosBackend[], log: EventLog) {
    this.#backends = backends;
    this.#log = log;
  }

  /** Judges an exchange that `answeredBy` has answered, with `set` as the session's new cookie, and that ends now. */
  judge({ startMs, session, home, brokeAt }: Visit, answeredBy: string, set: string | undefined): Judgement {
    if (set !== undefined && set !== answeredBy) return wrong(`${answeredBy} answered, but the cookie names ${set}`);
    if (session === answeredBy && set !== undefined) return wrong("the session was right, and was set again");

    const own = session ?? home;
    if (!this.#wasUp(own, startMs)) return { verdict: "right" };
    // A last resort, where its POST broke, sets none.
    if (session === undefined && set === undefined && brokeAt !== own) return wrong("a new client got no session");
    if (answeredBy === own) this.stayed++;
    const isRebound = session !== undefined && set !== undefined;
    if (!isRebound && (answeredBy === own || brokeAt === own)) return { verdict: "right" };
    const how = isRebound ? "moved for good" : "answered elsewhere";
    return { verdict: "moved", why: `${how}: ${own} was up all the time, and ${answeredBy} answered` };
  }

  /**
   * "Up all the time": without a fault that users notice from before the exchange began until now, its end, settled for a
   * moment by then, and not held for down by the Worker, which may leave a backend alone for a term after a fault.
   * A fault makes `settledMs` infinite when it begins, until all that began during it has ended: one comparison says it all.
   */
  #wasUp(id: string, startMs: number): boolean {
    const backend = this.#backends.find((backend) => backend.id === id);
    if (backend === undefined || startMs <= backend.settledMs + RETURN_MOMENT_MS) return false;
    return this.#log.wasUpSince(id, startMs);
  }
}

function wrong(why: string): Judgement {
  return { verdict: "wrong", why };
}
