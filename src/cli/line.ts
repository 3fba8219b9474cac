/** `ok` ✓, `wrong` ✗ (the exit code is 1), `warning` ! (it works, but look), `skipped` – (not asked, and why). */
export type Kind = "ok" | "wrong" | "warning" | "skipped";

/** One thing that was asked, and what came out. */
export interface Line {
  readonly kind: Kind;
  /** A backend's id, or a variable; `undefined` for something that concerns all. */
  readonly about: string | undefined;
  /** What was found, in one sentence without a full stop. */
  readonly found: string;
  /** What to do about it; every ✗ and every ! says so. */
  readonly todo: string | undefined;
  /** It does not answer as it should. What else it then answers wrong has the same cause, and is not said. */
  readonly isBroken?: true;
}

export function ok(about: string | undefined, found: string): Line {
  return { kind: "ok", about, found, todo: undefined };
}

export function wrong(about: string | undefined, found: string, todo: string): Line {
  return { kind: "wrong", about, found, todo };
}

export function broken(about: string, found: string, todo: string): Line {
  return { kind: "wrong", about, found, todo, isBroken: true };
}

export function warning(about: string | undefined, found: string, todo: string): Line {
  return { kind: "warning", about, found, todo };
}

export function skipped(about: string | undefined, found: string, todo?: string): Line {
  return { kind: "skipped", about, found, todo };
}
