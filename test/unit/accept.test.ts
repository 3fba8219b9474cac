import { describe, expect, it } from "vitest";
import { prefersHtml, prefersJson } from "../../src/accept.ts";

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

describe("HTML is preferred", () => {
  it.each(["text/html", "text/html,application/xhtml+xml,*/*;q=0.8", "text/*", "image/png, TEXT/HTML;q=0.1"])(
    "by %j",
    (accept) => {
      expect(prefersHtml(accept)).toBe(true);
    },
  );

  it.each(["", "*/*", "text/html;q=0", "text/html;q=0.5, */*", "application/json, */*", "text/plain", "text/htmlx"])(
    "not by %j",
    (accept) => {
      expect(prefersHtml(accept)).toBe(false);
    },
  );
});
