import { describe, expect, it } from "vitest";
import type { Minute } from "../../../src/counters.ts";
import { chart, scaleOf } from "../../../src/status/chart.ts";

const HEIGHT = 56;
const quiet = (): Minute[] => Array(60).fill({ requests: 0, failures: 0 });
const busy = (requests: number, failures: number): Minute[] => [...quiet().slice(1), { requests, failures }];

describe("the scale", () => {
  it("is one for all charts, so that the highest bar of all has the whole height", () => {
    const { line, heightPerRequest } = scaleOf([busy(10, 0), busy(40, 0)]);
    expect(heightPerRequest * 40).toBeCloseTo(line);
    expect(line).toBe(HEIGHT - 1);
  });

  it("leaves failures as much room as their share, and enough to be seen", () => {
    expect(scaleOf([busy(50, 50)]).line).toBe(HEIGHT / 2);
    const { line, heightPerFailure } = scaleOf([busy(10_000, 1)]);
    expect([line, heightPerFailure]).toEqual([HEIGHT - 8, 8]);
  });

  it("is finite while there was no request", () => {
    expect(Object.values(scaleOf([quiet()])).every(Number.isFinite)).toBe(true);
    expect(Object.values(scaleOf([])).every(Number.isFinite)).toBe(true);
  });
});

describe("a chart", () => {
  it("has a bar for each minute with requests, the running one last", () => {
    const minutes = busy(4, 0);
    const [, path] = /<path d="([^"]*)"/.exec(chart(minutes, scaleOf([minutes])).text) ?? [];
    expect(path).toBe("M295 55.0v-55.0h4V55.0z");
  });

  it("hangs failures below the line", () => {
    const minutes = busy(4, 4);
    const [, path] = /<path class="down" d="([^"]*)"/.exec(chart(minutes, scaleOf([minutes])).text) ?? [];
    expect(path).toBe("M295 28.0v28.0h4V28.0z");
  });
});
