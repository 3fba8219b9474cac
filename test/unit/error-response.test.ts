import { describe, expect, it } from "vitest";
import { errorResponse } from "../../src/error-response.ts";

const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
const HOSTILE = `</title><script>"&'`;

/** What the Worker answers to a client with this `Accept` header. */
function answerTo(accept: string | null, status: number, text: string, extra?: Record<string, string>): Response {
  return errorResponse({ headers: new Headers(accept === null ? {} : { Accept: accept }) }, status, text, extra);
}

describe("an answer of the Worker's own", () => {
  it("is short, is not kept, carries what belongs to it alone, and a web player on another site may read it", async () => {
    const answer = answerTo(null, 301, "no", { Location: "https://a.example/" });
    expect(Object.fromEntries(answer.headers)).toEqual({
      "access-control-allow-origin": "*",
      "cache-control": "no-store",
      "content-type": "text/plain; charset=utf-8",
      location: "https://a.example/",
      vary: "Accept",
    });
    expect([answer.status, await answer.text()]).toEqual([301, "no\n"]);
  });

  it.each([
    ["text/plain; charset=utf-8", null],
    ["application/json", "application/json"],
    ["text/html; charset=utf-8", BROWSER],
    ["text/html; charset=utf-8", "text/html, application/json"],
  ])("is %s where a client accepts %j", (type, accept) => {
    expect(answerTo(accept, 502, "no").headers.get("Content-Type")).toBe(type);
  });

  it("is an error in JSON", async () => {
    expect(await answerTo("application/json", 502, HOSTILE).json()).toEqual({ error: HOSTILE });
  });

  it("is escaped in a page", async () => {
    const page = await answerTo(BROWSER, 500, HOSTILE).text();
    expect(page).toContain("&#60;/title&#62;&#60;script&#62;&#34;&#38;&#39;");
    expect(page).not.toContain("<script");
  });

  it.each([
    [502, true],
    [504, true],
    [500, false],
    [421, false],
  ])("of a %d says when to ask again, and a browser does so by itself: %j", (status, isOutage) => {
    const answer = answerTo(BROWSER, status, "no");
    const seconds = answer.headers.get("Retry-After");
    expect(seconds !== null && Number(seconds) > 0).toBe(isOutage);
    expect(answer.headers.get("Refresh")).toBe(seconds);
  });
});
