import type { Order } from "./backend-program.ts";
import type { Fault } from "./backends.ts";

const HOLD_MS = [500, 4_000] as const;
/** Long enough for a silent backend to be found out: `PROBE_AFTER`, and 3 s for the check. */
const LONG_MS = [2_500, 5_500] as const;

/** A fault that a backend is told to show. */
const told = (name: string, order: Order, more?: Partial<Fault>): Fault => ({
  name,
  cuts: false,
  holdMs: HOLD_MS,
  begin: (backend) => backend.tell(order),
  end: (backend) => backend.tell({ kind: "well" }),
  ...more,
});

export const FAULTS: readonly Fault[] = [
  {
    name: "killed, port closed",
    cuts: true,
    holdMs: HOLD_MS,
    begin: (backend) => backend.kill(),
    end: (backend) => backend.restart(),
  },
  {
    name: "killed and restarted at once",
    cuts: true,
    holdMs: [0, 0],
    begin: async (backend) => {
      await backend.kill();
      await backend.restart();
    },
    end: async () => {},
  },
  {
    name: "frozen",
    cuts: false,
    holdMs: LONG_MS,
    begin: async (backend) => backend.freeze(),
    end: async (backend) => backend.thaw(),
  },
  {
    name: "frozen, then killed",
    cuts: true,
    holdMs: LONG_MS,
    begin: async (backend) => backend.freeze(),
    end: async (backend) => {
      await backend.kill();
      await backend.restart();
    },
  },
  told("reset after accept", { kind: "reset-on-accept" }),
  told("reset after the body", { kind: "reset-after-body" }),
  // A wrong SECRET_KEY looks like this: the health route knows nothing of it.
  told("broken app: 500 to everybody, health good", { kind: "status", status: 500, healthStatus: 200 }),
  told("500, health bad", { kind: "status", status: 500 }),
  told("503", { kind: "status", status: 503 }),
  told("521", { kind: "status", status: 521 }),
  told(
    "stopped app: its platform's 404 on every route",
    { kind: "status", status: 404 },
    { deceives: true, holdMs: LONG_MS },
  ),
  told("slow by 5 s, health good", { kind: "slow", ms: 5_000 }, { delays: true }),
  told("body stalls, then goes on", { kind: "hold" }),
  {
    name: "body stalls, then killed",
    cuts: true,
    holdMs: HOLD_MS,
    begin: (backend) => backend.tell({ kind: "hold" }),
    end: async (backend) => {
      await backend.kill();
      await backend.restart();
    },
  },
];
