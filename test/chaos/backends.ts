import { join } from "node:path";
import { BackendProcess } from "../support/backend-process.ts";
import type { Order } from "./backend-program.ts";

/** One way to break a backend and to mend it again. */
export interface Fault {
  readonly name: string;
  /** Whether an answer that had begun may be cut by it. */
  readonly cuts: boolean;
  /** Whether its answers are right, but take their time. */
  readonly delays?: true;
  /** Whether it answers with a status below 500 that is not the backend's own. */
  readonly deceives?: true;
  /** How long it lasts, at least and at most. */
  readonly holdMs: readonly [min: number, max: number];
  begin(backend: BackendProcess<Order>): Promise<unknown>;
  end(backend: BackendProcess<Order>): Promise<unknown>;
}

/** A time in which a backend was broken. */
interface Illness {
  readonly fault: Fault;
  readonly fromMs: number;
  toMs: number;
}

/** One of the three backends, and the record of what was done to it. */
export class ChaosBackend {
  readonly id: string;
  readonly process: BackendProcess<Order>;
  readonly illnesses: Illness[] = [];
  /** From when on nothing that began while it was broken is under way any more; infinite until then. */
  settledMs = 0;

  private constructor(process: BackendProcess<Order>) {
    this.id = process.id;
    this.process = process;
  }

  static async start(id: string): Promise<ChaosBackend> {
    return new ChaosBackend(await BackendProcess.start<Order>(id, join(import.meta.dirname, "backend-program.ts")));
  }

  get isWell(): boolean {
    return (this.illnesses.at(-1)?.toMs ?? 0) < Number.POSITIVE_INFINITY;
  }

  /** The faults that it had at any time since then. */
  illnessesSince(sinceMs: number): Illness[] {
    return this.illnesses.filter(({ toMs }) => toMs >= sinceMs);
  }

  async break(fault: Fault): Promise<void> {
    this.settledMs = Number.POSITIVE_INFINITY;
    this.illnesses.push({ fault, fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY });
    await fault.begin(this.process);
  }

  async mend(fault: Fault): Promise<void> {
    await fault.end(this.process);
    const illness = this.illnesses.at(-1);
    if (illness) illness.toMs = performance.now();
  }
}
