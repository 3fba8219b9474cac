import { expect, it } from "vitest";
import type { Minute } from "../../../src/counters.ts";
import { chart, scaleOf } from "../../../src/status/chart.ts";
import { NOW_MS } from "./sample.ts";

const minute = (startMs: number, requests: number, failures: number) => ({ startMs, requests, failures });

/** The paths and the box of a chart that stands alone, half a minute later. */
function drawn(...minutes: Minute[]) {
  const { markup } = chart(minutes, scaleOf(minutes), NOW_MS + 30_000);
  return [...markup.matchAll(/ (?:d|viewBox)="([^"]*)"/g)].map(([, value]) => value);
}

it("charts have one scale: the most requests and failures of any minute, with room for a line where there are none", () => {
  expect(scaleOf([minute(NOW_MS, 40, 3), minute(NOW_MS, 4, 7)])).toEqual({ requests: 40, failures: 7 });
  expect(scaleOf([])).toEqual({ requests: 1, failures: 0 });
});

it("a minute with requests has a bar that stands on the line, and its failures hang below it", () => {
  const both = [minute(NOW_MS - 59 * 60_000, 2, 0), minute(NOW_MS, 4, 3)];
  expect(drawn(...both)).toEqual(["-59.5 -4 60 7", "M-60 0H1M-59 0v-2M0 0v-4", "M-59 0v0M0 0v3"]);
});

it("a failure is seen, however many requests there are beside it", () => {
  expect(drawn(minute(NOW_MS, 13_999, 1)).at(-1)).toBe("M0 0v1000");
});
