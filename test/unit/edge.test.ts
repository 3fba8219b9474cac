import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { admit } from "../../src/edge.ts";
import { anyText, configWith } from "./sample.ts";

const config = configWith();
const answerTo = (url: string, method = "GET") => {
  const answer = admit({ url, method, headers: new Headers() } as Request, config);
  return typeof answer === "string" ? answer : { status: answer.status, location: answer.headers.get("Location") };
};

describe("a request", () => {
  it.each([
    ["https://aiostreams.example.com/", "/"],
    ["https://aiostreams.example.com/a%2Fb//c?x=1&x=2", "/a%2Fb//c?x=1&x=2"],
    ["https://aiostreams.example.com/%E0%A4%A", "/%E0%A4%A"],
    ["https://aiostreams.example.com//evil.example.net/x", "//evil.example.net/x"],
    ["https://AIOStreams.Example.com/A", "/A"],
    ["https://aiostreams.example.com./a", "/a"],
    ["https://aiostreams.example.com:8443/a?b", "/a?b"],
    ["https://aiostreams.example.com?a=1", "/?a=1"],
    ["https://aiostreams.example.com", "/"],
    ["https://aiostreams.example.com#x", "/#x"],
    ["https://aiostreams.example.com/\\\\evil.example.net", "/\\\\evil.example.net"],
  ])("to %s passes, with its path verbatim", (url, path) => {
    expect(answerTo(url)).toBe(path);
  });

  it.each([
    "https://evil.example.net/",
    "http://evil.example.net/",
    "https://aiostreams.example.com.evil.example.net/",
    "https://aiostreams.example.com@evil.example.net/",
    "https://user@aiostreams.example.com/",
    "https://evil.example.net/https://aiostreams.example.com/",
    "https://aiostreams.example.com\\evil.example.net/",
    "https://192.0.2.1/",
    "ftp://aiostreams.example.com/",
    "no url",
  ])("to %s is misdirected", (url) => {
    expect(answerTo(url)).toMatchObject({ status: 421 });
  });
});

describe("the redirect to HTTPS", () => {
  it.each([
    ["GET", "", 301],
    ["GET", ":8080", 301],
    ["HEAD", "", 301],
    ["POST", "", 308],
    ["OPTIONS", "", 308],
    ["DELETE", "", 308],
  ])("of %s drops the port (%j) and is a %d", (method, port, status) => {
    const location = "https://aiostreams.example.com/a?b";
    expect(answerTo(`http://aiostreams.example.com${port}/a?b`, method)).toEqual({ status, location });
  });

  it("leads nowhere but to the public domain, whatever the path", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), anyText, fc.constantFrom("//e.example", "/\\e", "\\\\e", "@e")), (text) => {
        // The runtime decodes a URL from UTF-8, so it holds no half of a surrogate pair.
        const answer = answerTo(`http://aiostreams.example.com/${text.toWellFormed()}`);
        expect(answer).toMatchObject({ status: 301 });
        const { location } = answer as { location: string };
        expect(new URL(location).origin).toBe("https://aiostreams.example.com");
      }),
      { numRuns: 1_000 },
    );
  });
});
