import type { Ask } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Line } from "./line.ts";
import type { Reach } from "./reach.ts";

/** The throwaway user, where it could not be deleted. */
export interface Leftover {
  /** `undefined` when the backend broke off before it said which. */
  readonly uuid: string | undefined;
  /** The backend that made it. */
  readonly backend: string;
}

/** How the examination asks and tells; the program brings the network and the terminal, tests bring canned replies. */
export interface Desk {
  readonly ask: Ask;
  readonly reach: (backend: DeployedBackend, signal: AbortSignal) => Promise<Reach>;
  /** Whether a host name exists. */
  readonly resolves: (host: string, signal: AbortSignal) => Promise<boolean>;
  /** Rejects when `signal` cuts it short. */
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<unknown>;
  /** Begins a part of the report; `id` names it in the JSON. */
  readonly section: (id: string, heading: string) => void;
  readonly say: (line: Line) => void;
  /** Names on the terminal what is being waited for; the task may give itself another name meanwhile. */
  readonly during: <T>(what: string, task: (rename: (what: string) => void) => Promise<T>) => Promise<T>;
  readonly interrupted: AbortSignal;
  readonly addonPassword: string | undefined;
  /** Every user that exists, or may exist, at this moment: what is left behind if the program ends now. */
  readonly left: Leftover[];
}
