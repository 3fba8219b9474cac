import { describe, expect, it } from "vitest";
import { answerToClient, headersToBackend } from "../../../src/proxy/headers.ts";
import { backendOf, configWith, VARS } from "../sample.ts";

const config = configWith({ BACKEND_A: "https://a.example.net:8443" });
const backend = backendOf(config, "a");

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

  it("whom another add-on asks for, and all else that the client sent", () => {
    const sent = {
      "x-client-ip": "198.51.100.7",
      "x-aiostreams-user-ip": "198.51.100.8",
      cookie: "a=1; aiostreams_backend=b",
      authorization: "Basic dTpw",
      range: "bytes=0-1",
      "x-own": "kept",
    };
    expect(Object.fromEntries(toBackend({ headers: sent }))).toMatchObject(sent);
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

describe("the client's Location", () => {
  const locationOf = (location: string, status = 302, origin = "https://a.example.net:8443") => {
    const settings = configWith({ BACKEND_A: origin });
    const response = new Response(null, { status, headers: { Location: location } });
    return answerToClient(response, backendOf(settings, "a"), undefined, settings).headers.get("Location");
  };

  it.each([
    ["https://a.example.net:8443/x?b=1#c", "/x?b=1#c"],
    ["https://A.EXAMPLE.net:8443", ""],
    ["HTTPS://a.example.net:8443/", "/"],
    ["https://a.example.net:8443?x", "?x"],
    ["https://a.example.net:8443#x", "#x"],
    ["//a.example.net:8443//x", "//x"],
    ["http://a.example.net:8443/x", "/x"],
    ["https://a.example.net/x", "/x"],
    ["http://a.example.net/x", "/x"],
    ["https://a.example.net:443/x", "/x"],
    ["http://a.example.net:80/x", "/x"],
    ["//a.example.net/x", "/x"],
    ["https://a.example.net:8443/x\\y@z", "/x\\y@z"],
    ["https://a.example.net:8443/%2e%2e/a'{|}", "/%2e%2e/a'{|}"],
  ])("is on the public domain instead of %s", (location, rest) => {
    expect(locationOf(location)).toBe(`https://aiostreams.example.com${rest}`);
  });

  it.each([
    ["https://a.example.net", "http://a.example.net:443/x"],
    ["https://a.example.net", "https://a.example.net:443/x"],
    ["http://a.example.net", "https://a.example.net:80/x"],
    ["http://a.example.net", "https://a.example.net/x"],
    ["http://a.example.net:80", "http://a.example.net/x"],
    ["http://[2001:db8::1]:3000", "http://[2001:DB8:0::1]:3000/x"],
  ])("of the backend %s is on the public domain with its own port or a default one: %s", (origin, location) => {
    expect(locationOf(location, 302, origin)).toBe("https://aiostreams.example.com/x");
  });

  it.each([
    "/relative",
    "relative",
    "?query",
    "#fragment",
    "//evil.example.net/x",
    "https://evil.example.net/https://a.example.net:8443/",
    "https://a.example.net:9443/another-port",
    "http://a.example.net:443/another-port",
    "https://a.example.net:80/another-port",
    "https://a.example.net:8443.evil.example.net/",
    "https://a.example.net.evil.example.net/",
    "https://evil-a.example.net/",
    "https://a.example.net:8443@evil.example.net/",
    "https://user@a.example.net:8443/",
    "https://user:secret@a.example.net:8443/",
    "http://a.example.net\\@evil.example/",
    "https://a.example.net:8443\\x",
    "\\\\a.example.net:8443\\x",
    "/\\a.example.net/x",
    "https:\\\\a.example.net:8443/x",
    "https:/a.example.net:8443/x",
    "https://b.example.net/",
    "stremio://a.example.net:8443/manifest.json",
    "ftp://a.example.net/",
    "https://",
    "https://a.example.net:port/",
    "",
  ])("stays as the backend says: %j", (location) => {
    expect(locationOf(location)).toBe(location);
  });

  it.each([201, 300, 301, 302, 303, 307, 308, 399])("is rewritten in a %d", (status) => {
    expect(locationOf("https://a.example.net:8443/x", status)).toBe("https://aiostreams.example.com/x");
  });

  it.each([200, 202, 400, 404, 503])("means nothing in a %d, and stays", (status) => {
    expect(locationOf("https://a.example.net:8443/x", status)).toBe("https://a.example.net:8443/x");
  });
});

describe("the client", () => {
  const COOKIE = "aiostreams_backend=a; Path=/";

  it("gets the very response of the backend when nothing has to change", () => {
    const response = new Response("film", { headers: { Location: "https://a.example.net:8443/x" } });
    expect(answerToClient(response, backend, undefined, config)).toBe(response);
  });

  it("gets the session cookie beside the application's own cookies", () => {
    const response = new Response("film", {
      headers: [
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
      ],
    });
    expect(answerToClient(response, backend, COOKIE, config).headers.getSetCookie()).toEqual(["a=1", "b=2", COOKIE]);
  });

  it("gets status, headers and body as they were, also when something is added", async () => {
    const headers = { "Content-Type": "video/mp4", ETag: '"1"', "X-Own": "kept" };
    const response = new Response("film", { status: 206, statusText: "Some Of It", headers });
    const answer = answerToClient(response, backend, COOKIE, config);
    expect(answer).toMatchObject({ status: 206, statusText: "Some Of It" });
    expect(Object.fromEntries(answer.headers)).toEqual({
      "content-type": "video/mp4",
      etag: '"1"',
      "x-own": "kept",
      "set-cookie": COOKIE,
    });
    expect(await answer.text()).toBe("film");
  });
});

describe("the header that names the backend", () => {
  const named = configWith({ SERVED_BY_HEADER: "X-Served-By" });

  it("carries the backend's id, whatever the backend put there", () => {
    const response = new Response("film", { status: 503, headers: { "X-Served-By": "a.example.net" } });
    const { status, headers } = answerToClient(response, backendOf(named, "a"), undefined, named);
    expect([status, headers.get("X-Served-By")]).toEqual([503, "a"]);
  });

  it("is left to the backend where it is not asked for", () => {
    const response = new Response("film", { headers: { "X-Served-By": "nginx" } });
    expect(answerToClient(response, backend, "a=1", config).headers.get("X-Served-By")).toBe("nginx");
  });
});
