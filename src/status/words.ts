import type { Minute } from "../counters.ts";
import type { EjectionReason } from "../events.ts";
import type { BackendSnapshot, Snapshot } from "./facts.ts";

/** The page's headline. A backup that is asleep is neither up nor missed. */
export function summaryOf({ answering, backends }: Snapshot): string {
  const all = backends.filter(({ backup }) => backup !== "asleep").length;
  if (answering === 0) return "No backend is up";
  if (answering < all) return `${answering} of ${all} backends ${answering === 1 ? "is" : "are"} up`;
  if (all === 1) return "The backend is up";
  return `${all === 2 ? "Both" : `All ${all}`} backends are up`;
}

export function stateWord({ state, backup }: BackendSnapshot): string {
  const isOut = state === "down" || state === "suspect";
  if (backup) return `Backup, ${isOut ? state : backup}`;
  return { up: "Up", suspect: "Suspect", down: "Down", unknown: "Being checked" }[state];
}

export function stateDetail({ state, backup, sinceSeconds, ejectedFor, nextCheckSeconds }: BackendSnapshot): string {
  const since = `for ${duration(sinceSeconds)}`;
  if (state === "down") {
    if (nextCheckSeconds === null) return `${since}, checked again when it is needed`;
    if (nextCheckSeconds === 0) return `${since}, checked again with the next request`;
    const next = ejectedFor === "failures in a row" ? "gets no requests for another" : "checked again within";
    return `${since}, ${next} ${duration(nextCheckSeconds)}`;
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
  const isFrom = isShared ? ", found by another isolate" : "";
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
  ["s", 1],
] as const;

/** A time span in its two largest units. */
export function duration(seconds: number): string {
  const largest = UNITS.findIndex(([, size]) => seconds >= size);
  let left = seconds;
  const parts = UNITS.slice(largest, largest + 2).map(([unit, size]) => {
    const number = Math.floor(left / size);
    left %= size;
    return number && `${number} ${unit}`;
  });
  return parts.filter(Boolean).join(" ") || "0 s";
}
