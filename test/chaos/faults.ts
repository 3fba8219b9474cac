import { join } from "node:path";
import { OUTAGES, type Outage } from "../support/backend.ts";
import { BackendProcess } from "../support/backend-process.ts";
import type { Order } from "./orders.ts";

export type Kind = "GET" | "HEAD" | "POST" | "WebSocket";

type Deceives = (kind: Kind, path: string) => boolean;

/** One way to break a backend and to mend it again. */
export interface Fault {
  readonly name: string;
  /** How long it lasts, at least and at most. */
  readonly holdMs: readonly [min: number, max: number];
  /** Whether an answer that had begun may be cut by it. */
  readonly cuts?: true;
  /** Whether users notice nothing of it, so that none of them may be moved. */
  readonly isHarmless?: true;
  /** Whether this exchange gets an answer that looks like the app's own, until a check has found the fault. */
  readonly deceives?: Deceives | undefined;
  /** Whether a good check may vouch for its answers for a second more, as it does for an app's own. */
  readonly isVouched?: boolean;
  begin(backend: BackendProcess<Order>): Promise<unknown>;
  end(backend: BackendProcess<Order>): Promise<unknown>;
}

const HOLD_MS = [500, 4_000] as const;
/** Long enough for a page in place of the app to be found out by a check by age. */
const PAGE_MS = [1_500, 4_000] as const;
/** Long enough for a silent backend to be found out: `PROBE_AFTER`, and 3 s for the check. */
const LONG_MS = [2_500, 5_500] as const;

/**
 * What nothing but a check by age can tell from the app's own answer. All else that a platform says is doubted at once:
 * 404, 403, a redirect of a GET or HEAD, an empty answer to a GET, HTML in place of JSON.
 */
export const DECEPTIONS: Partial<Record<Outage, Deceives>> = {
  redirect: (kind) => kind === "POST",
  empty: (kind) => kind === "POST" || kind === "HEAD",
  page: (_, path) => !/\.json(\?|$)/.test(path),
};

/** A fault that a backend is told to show. */
const told = (name: string, order: Order, more?: Partial<Fault>): Fault => ({
  name,
  holdMs: HOLD_MS,
  begin: (backend) => backend.tell(order),
  end: (backend) => backend.tell({ kind: "well" }),
  ...more,
});

const restart = async (backend: BackendProcess<Order>) => {
  await backend.kill();
  await backend.restart();
};

/** A fault that ends with a new process. */
const deadly = (name: string, begin: Fault["begin"], more?: Partial<Fault>): Fault => {
  return { name, holdMs: HOLD_MS, cuts: true, begin, end: restart, ...more };
};

export const FAULTS: readonly Fault[] = [
  deadly("killed, port closed", (backend) => backend.kill()),
  deadly("killed and restarted at once", restart, { holdMs: [0, 0], end: async () => {} }),
  deadly("frozen, then killed", async (backend) => backend.freeze(), { holdMs: LONG_MS }),
  deadly("body stalls, then killed", (backend) => backend.tell({ kind: "hold" })),
  {
    name: "frozen",
    holdMs: LONG_MS,
    begin: async (backend) => backend.freeze(),
    end: async (backend) => backend.thaw(),
  },
  told("reset after accept", { kind: "reset-on-accept" }),
  told("reset after the body", { kind: "reset-after-body" }),
  // A wrong SECRET_KEY looks like this: the health route knows nothing of it.
  told("broken app: 500 for every user, health good", { kind: "status", status: 500, health: { kind: "well" } }),
  told("500, health bad", { kind: "status", status: 500 }),
  told("503", { kind: "status", status: 503 }),
  told("521", { kind: "status", status: 521 }),
  ...OUTAGES.map((answer) => {
    const more = { holdMs: LONG_MS, deceives: DECEPTIONS[answer], isVouched: answer !== "page" };
    return told(`gone, its platform answers: ${answer}`, { kind: "outage", answer }, more);
  }),
  told("gone and 400 ms away: 404", { kind: "far" }, { holdMs: PAGE_MS, isVouched: true }),
  told("gone until it is asked: 404", { kind: "waking" }, { isVouched: true }),
  told("bot wall (cf-mitigated), health good", { kind: "challenge" }),
  told("health route alternates, app works", { kind: "alternating" }, { isHarmless: true }),
  told("slow by 5 s, health good", { kind: "slow", ms: 5_000 }),
  told("body stalls, then goes on", { kind: "hold" }),
];

/** A time in which a backend was broken. */
export interface Illness {
  readonly fault: Fault;
  readonly fromMs: number;
  toMs: number;
}

export const startBackend = (id: string) =>
  BackendProcess.start<Order>(id, join(import.meta.dirname, "backend-program.ts"));

/** One of the three backends, and the record of what was done to it. */
export class ChaosBackend {
  readonly id: string;
  readonly process: BackendProcess<Order>;
  readonly illnesses: Illness[] = [];
  /** From when on nothing that began while users noticed a fault is under way any more; infinite until then. */
  settledMs = 0;

  constructor(process: BackendProcess<Order>) {
    this.id = process.id;
    this.process = process;
  }

  get isWell(): boolean {
    return (this.illnesses.at(-1)?.toMs ?? 0) < Number.POSITIVE_INFINITY;
  }

  /** The faults that it had at any time since then. */
  illnessesSince(sinceMs: number): Illness[] {
    return this.illnesses.filter(({ toMs }) => toMs >= sinceMs);
  }

  async break(fault: Fault): Promise<void> {
    if (!fault.isHarmless) this.settledMs = Number.POSITIVE_INFINITY;
    this.illnesses.push({ fault, fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY });
    await fault.begin(this.process);
  }

  /** `ended` resolves when no exchange is under way any more that began while it was broken. */
  async mend(fault: Fault, ended: () => Promise<unknown>): Promise<void> {
    await fault.end(this.process);
    const illness = this.illnesses.at(-1);
    if (illness) illness.toMs = performance.now();
    void ended().then(() => {
      const last = this.illnesses.findLast(({ fault }) => !fault.isHarmless);
      if (illness === last) this.settledMs = performance.now();
    });
  }
}
