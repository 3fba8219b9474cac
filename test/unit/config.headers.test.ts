import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backendOf, configWith, issuesOf, VARS } from "./sample.ts";

const headersFrom = (text: unknown) => backendOf(configWith({ HEADERS_A: text }), "a").headers;

describe("a backend's request headers", () => {
  it.each([
    ["X-A: 1", [["X-A", "1"]]],
    ["X-A:1", [["X-A", "1"]]],
    ["  X-A: \t a: b, c \t ", [["X-A", "a: b, c"]]],
    ["X-A:", [["X-A", ""]]],
    ["X-A: \u00e9", [["X-A", "\u00e9"]]],
    ["Authorization: Basic dTpw\n", [["Authorization", "Basic dTpw"]]],
    ...["\n", "\r\n", "\\n", "\\r\\n", "\n\n", "\n \r\n"].map((newline) => [
      `CF-Access-Client-Id: id.access${newline}CF-Access-Client-Secret: 00ff`,
      [
        ["CF-Access-Client-Id", "id.access"],
        ["CF-Access-Client-Secret", "00ff"],
      ],
    ]),
    ["", []],
    [" \n ", []],
  ])("are read from %j", (text, headers) => {
    expect(headersFrom(text)).toEqual(headers);
  });

  it.each([
    ["the host, which is the backend's own", ["Host: a.example.net", "host: a.example.net"]],
    ["hop-by-hop headers", ["Connection: close", "Keep-Alive: timeout=5", "TE: trailers", "Trailer: X-A"]],
    ["headers of the transfer", ["Transfer-Encoding: chunked", "Upgrade: websocket", "Content-Length: 5"]],
    ["headers for a proxy", ["Proxy-Authorization: Basic dTpw", "proxy-connection: close"]],
    ["what the Worker or Cloudflare vouches for", ["CF-Connecting-IP: 192.0.2.1", "X-Forwarded-For: 192.0.2.1"]],
    ["any other X-Forwarded- header", ["x-forwarded-proto: http", "X-Forwarded-Anything: 1"]],
    ["good lines before a wrong one", ["X-A: 1\nHost: a.example.net", "X-A: 1\\nHost: a.example.net"]],
    ["one name twice", ["X-A: 1\nx-a: 2", "x-a: 1\nX-A: 2"]],
    ["a line without a name", ["X-A", ": 1", '{"X-A": "1"}']],
    ["a name that is no token", ["X A: 1", "X-A : 1", "X-\u00c4: 1"]],
    ["control characters", ["X-A: \u0000", "X-A: 1\u007f2", "X-A: 1\rX-B: 2"]],
    ["what has no place in a byte", ["X-A: \u20ac"]],
    ["no text", [5, true, {}, null]],
  ])("cannot be %s", (_, refused) => {
    for (const text of refused) {
      expect(issuesOf({ ...VARS, HEADERS_A: text }), String(text)).toMatchObject([{ variable: "HEADERS_A" }]);
    }
  });

  it("are those of one backend alone", () => {
    const { backends } = configWith({ HEADERS_A: "X-A: 1" });
    expect(backends.map(({ headers }) => headers.length)).toEqual([1, 0, 0]);
  });

  it("are those of the backend of the same name, in any case, and each name stands once", () => {
    expect(headersFrom("X-A: 1")).toEqual(backendOf(configWith({ HEADERS_a: "X-A: 1" }), "a").headers);
    const allowed = "must not have the name, in any case, of another HEADERS_<NAME>";
    const vars = { ...VARS, HEADERS_A: "X-A: 1", HEADERS_a: "X-A: 2" };
    expect(issuesOf(vars)).toMatchObject([{ variable: "HEADERS_a", allowed }]);
  });

  it("of no backend take none down: a secret may outlive its backend", () => {
    expect(issuesOf({ ...VARS, HEADERS_OLD: "X-A: 1", HEADERS_TIMEOUT: "X-A: 1" })).toEqual([]);
  });

  it("stay where a backend is emptied for maintenance", () => {
    const { backends } = configWith({ BACKEND_A: "", HEADERS_A: "X-A: 1" });
    expect(backends.map(({ id }) => id)).toEqual(["b", "c"]);
  });

  it("are never shown, whatever is wrong with them", () => {
    const lines = fc.constantFrom(
      "X-A: s3cret",
      "s3cret",
      "s3cret: 1",
      "Host: s3cret",
      "X-A: s3cret\u0000",
      "\n",
      "@",
      "/",
    );
    const texts = fc.array(lines, { maxLength: 4 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(texts, (text) => {
        const issues = [{ HEADERS_A: text }, { HEADERS_OLD: text }].flatMap((vars) => issuesOf({ ...VARS, ...vars }));
        expect(JSON.stringify(issues)).not.toContain("s3cret");
        expect(issues.every(({ found }) => found === "(not shown)")).toBe(true);
      }),
    );
  });
});
