import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { emit, type LogEvent } from "../../src/events.ts";

const EJECTED: LogEvent = { event: "ejected", reason: "check: bad status", backend: "cf", status: 503, ray: "r" };
const RECOVERED: LogEvent = { event: "recovered", reason: "check: good", backend: "cf", shared: true, ray: null };
const FAILOVER: LogEvent = { event: "failover", reason: "silent", backend: "cf", attempt: 1, ray: "r" };
const EXHAUSTED: LogEvent = {
  event: "exhausted",
  reason: "unavailable",
  backend: "cf",
  status: 502,
  attempt: 4,
  ray: "r",
};
const ISSUE = { variable: "MAX_RETRIES", allowed: "must be a whole number from 0 to 10", found: "-1" };
const MISCONFIGURED: LogEvent = { event: "bad_configuration", issues: [ISSUE] };
const ALL = [EJECTED, RECOVERED, FAILOVER, EXHAUSTED, MISCONFIGURED];

let errors: string[];
let lines: string[];

beforeEach(() => {
  errors = [];
  lines = [];
  vi.spyOn(console, "error").mockImplementation((line) => void errors.push(line));
  vi.spyOn(console, "log").mockImplementation((line) => void lines.push(line));
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("an event", () => {
  it("is one line of JSON: an error where an operator has to act, and a line of the log where it heals by itself", () => {
    for (const event of ALL) emit(event);
    expect(errors.map((line) => JSON.parse(line))).toEqual([EJECTED, EXHAUSTED, MISCONFIGURED]);
    expect(lines.map((line) => JSON.parse(line))).toEqual([RECOVERED, FAILOVER]);
    expect([...errors, ...lines].join("")).not.toContain("\n");
  });

  it("is counted when it is an ejection or a failover", () => {
    const counts = { failovers: 0, ejections: 0 };
    for (const event of [...ALL, FAILOVER]) emit(event, counts);
    expect(counts).toEqual({ failovers: 2, ejections: 1 });
  });
});
