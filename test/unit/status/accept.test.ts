import { describe, expect, it } from "vitest";
import { prefersJson } from "../../../src/status/accept.ts";

describe("JSON is preferred", () => {
  it.each([
    "application/json",
    "application/json, */*;q=0.5",
    "text/html;q=0.5, application/json;q=0.9",
    "application/json, text/plain, */*",
    "application/*",
    "text/html;q=0, */*",
    "Application/JSON;charset=utf-8",
  ])("by %j", (accept) => {
    expect(prefersJson(accept)).toBe(true);
  });

  it.each([
    "",
    "*/*",
    "text/html",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "text/html, application/json",
    "application/json;q=0.5, text/html;q=0.6",
    "application/json;q=0, */*",
    "application/json;q=nonsense",
    ",;,q=1",
  ])("not by %j", (accept) => {
    expect(prefersJson(accept)).toBe(false);
  });
});
