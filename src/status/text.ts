import type { State } from "../health/health-state.ts";
import type { BackendSnapshot, Snapshot } from "./types.ts";

/** What is known by name; `undefined` where there is nothing to tell. */
export type Facts = Readonly<Record<string, string | number | undefined>>;

/** The page's headline. A backup on standby is neither up nor missed. */
export function summaryOf({ backends }: Snapshot): string {
  if (backends.some(({ worksAllTheSame }) => worksAllTheSame) && !backends.some(isUpFor)) {
    return "No backend passes its check, but users are served all the same";
  }
  const inService = backends.filter(({ role }) => role !== "standby");
  return `${inService.filter(isUpFor).length} of ${inService.length} backends up`;
}

/** The worst that holds. */
export function toneOf({ backends }: Snapshot): State {
  if (!backends.some(({ isServing }) => isServing)) return "down";
  return backends.every(isUpFor) ? "up" : "suspect";
}

/** Whether all is well with one backend, for a monitor that asks for it alone. */
export function isUpFor({ state, role }: BackendSnapshot): boolean {
  return state === "up" || role === "standby";
}

export function stateText({ role, state, sinceMs, worksAllTheSame }: BackendSnapshot, nowMs: number): string {
  return inOneLine(
    role !== "primary" && role,
    `${state} for ${duration(nowMs - sinceMs)}`,
    worksAllTheSame && "but in use",
  );
}

/** What is known of one backend, apart from its state. */
export function factsOf(backend: BackendSnapshot, nowMs: number): Facts {
  const { ejectedFor, nextCheckMs, result, isShared, lastFailure, minutes, weight } = backend;
  const happened = (what: string, status: number | null | undefined, atMs: number) =>
    inOneLine(what, status && `HTTP ${status}`, `${duration(nowMs - atMs)} ago`);
  const sum = (of: "requests" | "failures") => minutes.reduce((total, minute) => total + minute[of], 0);
  return {
    why: ejectedFor,
    "next check": nextCheckMs && `within ${duration(nextCheckMs - nowMs)}`,
    "last check":
      result &&
      inOneLine(
        happened(result.kind, result.status, result.atMs),
        result.kind === "unexpected answer" && "not what HEALTH_CHECK_EXPECT wants",
        `took ${result.tookMs} ms`,
        isShared && "by another isolate",
      ),
    "last failure": lastFailure && happened(lastFailure.reason, lastFailure.status, lastFailure.atMs),
    "last hour": `${sum("requests")} requests, ${sum("failures")} failed`,
    weight: weight === 1 ? undefined : weight,
  };
}

/** What there is to tell of the same thing. */
function inOneLine(...parts: readonly (string | number | false | null | undefined)[]): string {
  return parts.filter(Boolean).join(", ");
}

/** A time span in the largest unit of which there are two. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3_600)} h`;
}
