import { expect, it } from "vitest";
import { chart, scaleOf } from "../../../src/status/chart.ts";

const HEIGHT = 56;
const quiet = Array(60).fill({ requests: 0, failures: 0 });
const busy = (requests: number, failures: number) => [...quiet.slice(1), { requests, failures }];

it("charts have one scale: the highest bar of all has the whole height", () => {
  const { line, heightPerRequest } = scaleOf([busy(10, 0), busy(40, 0)]);
  expect([line, heightPerRequest * 40]).toEqual([HEIGHT - 1, expect.closeTo(line)]);
});

it("failures have as much room as their share, and enough to be seen", () => {
  expect(scaleOf([busy(50, 50)]).line).toBe(HEIGHT / 2);
  expect(scaleOf([busy(10_000, 1)])).toMatchObject({ line: HEIGHT - 8, heightPerFailure: 8 });
});

it.each([[[quiet]], [[]]])("a scale is finite while there was no request (%#)", (charts) => {
  expect(Object.values(scaleOf(charts)).every(Number.isFinite)).toBe(true);
});

it("a minute with requests has a bar that stands on the line, and its failures hang below it", () => {
  const { text } = chart(busy(4, 4), scaleOf([busy(4, 4)]));
  const paths = [...text.matchAll(/ d="([^"]*)"/g)].map(([, path]) => path);
  expect(paths).toEqual(["M295 28.0v-28.0h4V28.0z", "M295 28.0v28.0h4V28.0z"]);
});
