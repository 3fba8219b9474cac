import { expect, it } from "vitest";
import { chart, scaleOf } from "../../../src/status/chart.ts";

const quiet = Array(60).fill({ requests: 0, failures: 0 });
const busy = (requests: number, failures: number) => [...quiet.slice(1), { requests, failures }];

/** The paths and the box of a chart that stands alone. */
function drawn(minutes: typeof quiet) {
  const { text } = chart(minutes, scaleOf(minutes));
  return [...text.matchAll(/ (?:d|viewBox)="([^"]*)"/g)].map(([, value]) => value);
}

it("charts have one scale: the most requests and the most failures of any minute", () => {
  expect(scaleOf([...busy(10, 7), ...busy(40, 2)])).toEqual({ requests: 40, failures: 7 });
});

it.each([[quiet], [[]]])("a scale has room for the line while there was no request (%#)", (minutes) => {
  expect(scaleOf(minutes)).toEqual({ requests: 1, failures: 0 });
});

it("a minute with requests has a bar that stands on the line, and its failures hang below it", () => {
  expect(drawn(busy(4, 3))).toEqual(["0 -4 60 7", "M59 0v-4h.8V0z", "M59 0v3h.8V0z"]);
});

it("a failure is seen, however many requests there are beside it", () => {
  expect(drawn(busy(13_999, 1))).toEqual(["0 -13999 60 14000", "M59 0v-13999h.8V0z", "M59 0v1000h.8V0z"]);
});
