import type { Minute } from "../counters.ts";
import type { EjectionReason } from "../events.ts";
import type { BackendSnapshot, Snapshot } from "./types.ts";

/** The page's headline. A backup on standby is neither up nor missed. */
export function summaryOf({ answering, backends }: Snapshot): string {
  const inService = backends.filter(({ backup }) => backup !== "standby");
  const all = inService.length;
  const up = inService.filter(({ state }) => state === "up").length;
  if (backends.some(({ worksAllTheSame }) => worksAllTheSame)) {
    return "No backend passes its check, but users are served all the same";
  }
  if (up === 0) return answering === 0 ? "No backend is up" : "No backend is known to be up";
  if (up < all) return `${up} of ${all} backends ${up === 1 ? "is" : "are"} up`;
  return all === 1 ? "The backend is up" : `All ${all} backends are up`;
}

/** Whether all is well with one backend, for a monitor that asks for it alone. */
export function isUpFor({ state, backup }: BackendSnapshot): boolean {
  return state === "up" || backup === "standby";
}

/** One backend in a line, for a monitor. */
export function backendText(backend: BackendSnapshot): string {
  return `${backend.id}: ${stateWord(backend)}, ${stateDetail(backend)}. Last check: ${checkText(backend)}.`;
}

export function stateWord({ state, backup }: BackendSnapshot): string {
  const isOut = state === "down" || state === "suspect";
  if (backup) return `Backup, ${isOut ? state : backup}`;
  return { up: "Up", suspect: "Suspect", down: "Down", unknown: "Being checked" }[state];
}

export function stateDetail(backend: BackendSnapshot): string {
  const { state, backup, worksAllTheSame, sinceSeconds, nextCheckSeconds } = backend;
  const since = `for ${duration(sinceSeconds)}`;
  if (worksAllTheSame) return `${since}, users are served all the same`;
  if (state === "down") {
    return `${since}, checked again ${nextCheckSeconds ? `within ${duration(nextCheckSeconds)}` : "when it is needed"}`;
  }
  if (state === "suspect") return "no answer to its check yet";
  if (backup) return backup === "standby" ? "not used while another backend is up" : "no other backend is up";
  return state === "up" ? since : "nothing is known yet";
}

export function ejectionText(reason: EjectionReason): string {
  return reason === "consecutive failures" ? `${reason}, of this backend alone` : reason;
}

export function checkText({ result, isBeingChecked }: BackendSnapshot): string {
  if (!result) return isBeingChecked ? "being checked" : "none";
  const { kind, status, tookMs, ageSeconds, isShared } = result;
  const took = `${count(tookMs)} ms`;
  const isAnswered = kind !== "no answer" && kind !== "network error";
  const outcome = isAnswered ? `answered ${status} in ${took}` : `${kind} after ${took}`;
  const unexpected = kind === "unexpected answer" ? ", but not what HEALTH_CHECK_EXPECT wants" : "";
  const from = isShared ? ", by another isolate" : "";
  return `${outcome}${unexpected}, ${ago(ageSeconds)}${from}${isBeingChecked ? "; being checked again" : ""}`;
}

export function lastFailureText({ lastFailure }: BackendSnapshot): string {
  if (!lastFailure) return "none seen";
  const { reason, status, ageSeconds } = lastFailure;
  return `${reason}${status === null ? "" : ` (${status})`}, ${ago(ageSeconds)}`;
}

/** A chart in words. */
export function hourText(minutes: readonly Minute[]): string {
  const sum = (of: "requests" | "failures") => minutes.reduce((total, minute) => total + minute[of], 0);
  const requests = sum("requests");
  const failures = sum("failures");
  return `${count(requests)} ${requests === 1 ? "request" : "requests"}${failures === 0 ? "" : `, ${count(failures)} failed`}`;
}

export function count(number: number): string {
  return number.toLocaleString("en");
}

function ago(seconds: number): string {
  return seconds === 0 ? "just now" : `${duration(seconds)} ago`;
}

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
] as const;

/** A time span in the largest unit of which there are two. */
export function duration(seconds: number): string {
  const [unit, size] = UNITS.find(([, size]) => seconds >= 2 * size) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}
