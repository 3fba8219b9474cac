import type { Minute } from "../counters.ts";
import type { EjectionReason } from "../events.ts";
import type { BackendSnapshot, Snapshot } from "./facts.ts";

/** The page's headline. A backup that is asleep is neither up nor missed. */
export function summaryOf({ answering, backends }: Snapshot): string {
  const all = backends.filter(({ backup }) => backup !== "asleep").length;
  if (answering === 0) return "No backend is up";
  if (answering < all) return `${answering} of ${all} backends ${answering === 1 ? "is" : "are"} up`;
  if (all === 1) return "The backend is up";
  return `All ${all} backends are up`;
}

export function stateWord({ state, backup }: BackendSnapshot): string {
  const isOut = state === "down" || state === "suspect";
  if (backup) return `Backup, ${isOut ? state : backup}`;
  return { up: "Up", suspect: "Suspect", down: "Down", unknown: "Being checked" }[state];
}

export function stateDetail({ state, backup, sinceSeconds, nextCheckSeconds }: BackendSnapshot): string {
  const since = `for ${duration(sinceSeconds)}`;
  if (state === "down") {
    return `${since}, checked again ${nextCheckSeconds ? `within ${duration(nextCheckSeconds)}` : "when it is needed"}`;
  }
  if (state === "suspect") return "no answer to its check yet";
  if (backup) return backup === "asleep" ? "left alone while another backend is up" : "no other backend is up";
  return state === "up" ? since : "nothing is known yet";
}

export function ejectionText(reason: EjectionReason): string {
  return reason === "failures in a row" ? `${reason}, at requests that another backend answered` : reason;
}

export function checkText({ finding, isBeingChecked, backup }: BackendSnapshot): string {
  if (!finding) return backup === "asleep" && !isBeingChecked ? "none" : "being checked";
  const { result, status, milliseconds, ageSeconds, isShared } = finding;
  const found = status === null ? `${result} after` : `answered ${status} in`;
  const isFrom = isShared ? ", by another isolate" : "";
  return `${found} ${count(milliseconds)} ms, ${ago(ageSeconds)}${isFrom}${isBeingChecked ? "; being checked again" : ""}`;
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
