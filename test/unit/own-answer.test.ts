import { describe, expect, it } from "vitest";
import { ownAnswer } from "../../src/own-answer.ts";

describe("an answer of the Worker's own", () => {
  it("is short text that nobody keeps and every player may read", async () => {
    const answer = ownAnswer(421, "no");
    expect(Object.fromEntries(answer.headers)).toEqual({
      "access-control-allow-origin": "*",
      "cache-control": "no-store",
      "content-type": "text/plain; charset=utf-8",
    });
    expect([answer.status, await answer.text()]).toEqual([421, "no\n"]);
  });

  it.each([502, 504])("says when to ask again after a %d", (status) => {
    expect(ownAnswer(status, "").headers.get("Retry-After")).toMatch(/^[1-9]\d?$/);
  });

  it("carries what belongs to it alone", () => {
    expect(ownAnswer(301, "", { Location: "https://a.example/" }).headers.get("Location")).toBe("https://a.example/");
  });
});
