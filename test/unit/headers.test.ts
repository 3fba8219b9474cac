import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { answerToClient, headersToBackend, ownAnswer } from "../../src/headers.ts";

const VARS = {
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_CF: "https://cf.example.net:8443",
  BACKEND_DUCK: "duck.example.net",
};
const config = parseConfig(VARS);
const backend = config.backends[0];
if (!backend) throw new Error("no backend");

const toBackend = (init: RequestInit, ip = "192.0.2.1") =>
  headersToBackend(new Request("https://aiostreams.example.com/", init), ip, config);

describe("the backend is told", () => {
  it("who the client is, whatever the client says", () => {
    const headers = toBackend({ headers: { "X-Forwarded-For": "203.0.113.9, 10.0.0.1", "X-Real-IP": "203.0.113.9" } });
    expect([headers.get("X-Forwarded-For"), headers.get("X-Real-IP")]).toEqual(["192.0.2.1", "192.0.2.1"]);
  });

  it("nothing about the client where nobody vouches for its address", () => {
    const headers = toBackend({ headers: { "X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9" } }, "");
    expect([headers.get("X-Forwarded-For"), headers.get("X-Real-IP")]).toEqual([null, null]);
  });

  it("which host and scheme the client used", () => {
    const headers = toBackend({ headers: { "X-Forwarded-Host": "evil.example.net", "X-Forwarded-Proto": "http" } });
    expect([headers.get("X-Forwarded-Host"), headers.get("X-Forwarded-Proto")]).toEqual([VARS.PRIMARY_DOMAIN, "https"]);
  });

  it("whom another add-on asks for", () => {
    const headers = toBackend({ headers: { "X-Client-IP": "198.51.100.7", "X-AIOStreams-User-IP": "198.51.100.8" } });
    expect([headers.get("X-Client-IP"), headers.get("X-AIOStreams-User-IP")]).toEqual(["198.51.100.7", "198.51.100.8"]);
  });

  it.each([
    ["GET", "websocket", "websocket"],
    ["GET", "WebSocket", "WebSocket"],
    ["GET", "h2c", null],
    ["GET", "websocket, h2c", null],
    ["POST", "websocket", null],
  ])("to change protocols only to a WebSocket, and only by a GET (%s, %s)", (method, upgrade, told) => {
    expect(toBackend({ method, headers: { Upgrade: upgrade } }).get("Upgrade")).toBe(told);
  });
});

describe("the client", () => {
  const answer = (response: Response, bound = backend) => answerToClient(response, backend, { bound, ip: "" }, config);
  const locationOf = (location: string, status = 302) =>
    answer(new Response(null, { status, headers: { Location: location } })).headers.get("Location");

  it("gets the response as it came when nothing has to change", () => {
    const response = new Response("film");
    expect(answer(response)).toBe(response);
  });

  it.each([
    ["https://cf.example.net:8443/a?b=1#c", "https://aiostreams.example.com/a?b=1#c"],
    ["https://CF.example.net:8443", "https://aiostreams.example.com"],
    ["https://cf.example.net:8443?x", "https://aiostreams.example.com?x"],
    ["//cf.example.net:8443//x", "https://aiostreams.example.com//x"],
  ])("is sent to the public domain instead of %s", (location, expected) => {
    expect(locationOf(location)).toBe(expected);
  });

  it.each([
    "/relative",
    "//evil.example.net/x",
    "https://cf.example.net/other-port",
    "http://cf.example.net:8443/other-scheme",
    "https://cf.example.net:8443.evil.example.net/",
    "https://cf.example.net:8443@evil.example.net/",
    "https://duck.example.net/",
    "stremio://cf.example.net:8443/manifest.json",
    "https://",
    "",
  ])("is sent to %j as the backend says", (location) => {
    expect(locationOf(location)).toBe(location);
  });

  it("gets the address of what it created on the public domain", () => {
    expect(locationOf("https://cf.example.net:8443/new", 201)).toBe("https://aiostreams.example.com/new");
  });

  it("is bound to the backend that served it, beside the application's own cookies", () => {
    const response = new Response("film", {
      headers: [
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
      ],
    });
    const { headers } = answerToClient(response, backend, { bound: config.backends[1], ip: "" }, config);
    expect(headers.getSetCookie()).toEqual(["a=1", "b=2", backend.setCookie]);
  });

  it("is not bound by an error", () => {
    const { headers } = answerToClient(
      new Response("", { status: 500 }),
      backend,
      { bound: undefined, ip: "" },
      config,
    );
    expect(headers.getSetCookie()).toEqual([]);
  });

  it("is not bound where sessions are not sticky", () => {
    const loose = parseConfig({ ...VARS, STICKY_SESSIONS: "false" });
    const { headers } = answerToClient(new Response(""), backend, { bound: undefined, ip: "" }, loose);
    expect(headers.getSetCookie()).toEqual([]);
  });
});

describe("the header that names the backend", () => {
  const client = { bound: backend, ip: "" };
  const named = parseConfig({ ...VARS, SERVED_BY_HEADER: "X-Served-By" });

  it("is absent unless it is asked for, and the response is the backend's own", () => {
    const response = new Response("film");
    expect(answerToClient(response, backend, client, config)).toBe(response);
  });

  it("carries the backend's id, whatever the backend put there", () => {
    const response = new Response("film", { status: 503, headers: { "X-Served-By": "cf.example.net" } });
    const { status, headers } = answerToClient(response, backend, client, named);
    expect([status, headers.get("X-Served-By")]).toEqual([503, "cf"]);
  });
});

describe("an answer of the Worker's own", () => {
  it("is short text that nobody keeps and every player may read", () => {
    expect(Object.fromEntries(ownAnswer(421, "no").headers)).toEqual({
      "access-control-allow-origin": "*",
      "cache-control": "no-store",
      "content-type": "text/plain; charset=utf-8",
    });
  });

  it.each([502, 504])("says when to ask again after a %d", (status) => {
    expect(Number(ownAnswer(status, "").headers.get("Retry-After"))).toBeGreaterThan(0);
  });
});
