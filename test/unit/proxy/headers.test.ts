import { describe, expect, it } from "vitest";
import { answerToClient, headersToBackend, isCacheable } from "../../../src/proxy/headers.ts";
import { backendOf, configWith, VARS } from "../sample.ts";

const config = configWith({ BACKEND_A: "https://a.example.net:8443" });
const backend = backendOf(config, "a");

const toBackend = (init: RequestInit, ip = "192.0.2.1", isFile = false) =>
  headersToBackend(new Request("https://aiostreams.example.com/", init), ip, isFile, config);

/** What a client may say of itself. */
const FORGED = {
  "X-Forwarded-For": "203.0.113.9, 10.0.0.1",
  "X-Real-IP": "203.0.113.9",
  "X-Forwarded-Host": "evil.example.net",
  "X-Forwarded-Proto": "http",
  Forwarded: "for=203.0.113.9;host=evil.example.net",
};

describe("the backend is told", () => {
  it.each([
    ["who the client is, and which host and scheme it used", "192.0.2.1", "192.0.2.1"],
    ["nothing about the client where Cloudflare vouches for no address", "", null],
  ])("%s, whatever the client says", (_, ip, told) => {
    const headers = toBackend({ headers: FORGED }, ip);
    const all = Object.keys(FORGED).map((name) => headers.get(name));
    expect(all).toEqual([told, told, VARS.PRIMARY_DOMAIN, "https", null]);
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
    [undefined, true, "max-age=0"],
    ["no-cache", true, "no-cache"],
    [undefined, false, null],
  ])("to answer a condition although it goes past the cache: Cache-Control %s, %s", (control, isFile, told) => {
    const headers: Record<string, string> = { "If-None-Match": "1", ...(control && { "Cache-Control": control }) };
    expect(toBackend({ headers }, "192.0.2.1", isFile).get("Cache-Control")).toBe(told);
  });

  it.each([
    ["GET", "WebSocket", "WebSocket"],
    ["GET", "h2c", null],
    ["POST", "websocket", null],
  ])("to change protocols only to a WebSocket, and only by a GET (%s, %s)", (method, upgrade, told) => {
    expect(toBackend({ method, headers: { Upgrade: upgrade } }).get("Upgrade")).toBe(told);
  });
});

it.each([
  ["/film.mkv", true],
  ["/film.MKV?a=b", true],
  ["/film.m3u8", true],
  ["/a/manifest.json", false],
  ["/a/manifest.JSON?a=.mkv", false],
  ["/film.jsonx", true],
  ["/film.json.gz", true],
  ["/stremio/configure", false],
  ["/v1.2/film", false],
  ["/film?name=a.mkv", false],
  ["/film.", false],
])("is sent past Cloudflare's cache by its extension: %s", (path, isIt) => {
  expect(isCacheable(path, new Headers())).toBe(isIt);
  expect(isCacheable(path, new Headers({ Range: "bytes=0-" }))).toBe(true);
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
    ["//a.example.net:8443//x", "//x"],
    ["http://a.example.net:8443/x", "/x"],
    ["https://a.example.net/x", "/x"],
    ["http://a.example.net/x", "/x"],
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
    "?query",
    "//evil.example.net/x",
    "https://evil.example.net/https://a.example.net:8443/",
    "https://a.example.net:9443/another-port",
    "http://a.example.net:443/another-port",
    "https://a.example.net:80/another-port",
    "https://a.example.net:8443.evil.example.net/",
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
    "https://",
    "https://a.example.net:port/",
    "",
  ])("stays as the backend says: %j", (location) => {
    expect(locationOf(location)).toBe(location);
  });

  it("is rewritten where it means something: in a 201 and a 3xx", () => {
    const statuses = [200, 201, 202, 300, 301, 302, 303, 307, 308, 399, 400, 404, 503];
    const rewritten = statuses.filter((status) => locationOf("https://a.example.net:8443/x", status)?.includes("aio"));
    expect(rewritten).toEqual([201, 300, 301, 302, 303, 307, 308, 399]);
  });
});

describe("the client", () => {
  const COOKIE = "aiostreams_backend=a; Path=/";
  const withCookies = (...cookies: string[]) =>
    new Response("film", { headers: cookies.map((cookie): [string, string] => ["Set-Cookie", cookie]) });

  it("gets the very response of the backend when nothing has to change", () => {
    const response = new Response("film", { headers: { Location: "https://a.example.net:8443/x" } });
    expect(answerToClient(response, backend, undefined, config)).toBe(response);
  });

  it.each([
    ["own=1; Domain=a.example.net; Path=/", "own=1; Path=/"],
    ["own=1; path=/;domain=.A.EXAMPLE.NET ;Secure", "own=1; path=/;Secure"],
    ["own=1; Domain = a.example.net", "own=1"],
    ["own=1; Domain=example.net", "own=1; Domain=example.net"],
    ["own=1; Domain=evil-a.example.net", "own=1; Domain=evil-a.example.net"],
    ["own=1; Domain=aiostreams.example.com", "own=1; Domain=aiostreams.example.com"],
    ["domain=a.example.net; Path=/", "domain=a.example.net; Path=/"],
  ])("gets a cookie that its browser keeps: %s", (cookie, kept) => {
    const response = withCookies("first=1", cookie);
    expect(answerToClient(response, backend, undefined, config).headers.getSetCookie()).toEqual(["first=1", kept]);
  });

  it("gets no Alt-Svc, which speaks of the backend's own host and port", () => {
    const response = new Response("film", { headers: { "Alt-Svc": 'h3=":8443"', "X-Own": "kept" } });
    const { headers } = answerToClient(response, backend, undefined, config);
    expect([...headers.keys()]).toEqual(["content-type", "x-own"]);
  });

  it.each(["Not\tFound", "Nicht gefunden \u2713"])(
    "gets an answer whose reason phrase cannot be copied: %j",
    async (text) => {
      const from = new Response("none", { status: 404, headers: { "X-Own": "kept" } });
      const { body, status, headers, webSocket } = from;
      const response = { body, status, statusText: text, headers, webSocket } as Response;
      const answer = answerToClient(response, backend, COOKIE, config);
      expect([answer.status, answer.headers.get("X-Own"), await answer.text()]).toEqual([404, "kept", "none"]);
    },
  );

  it("gets a status from 600 on as it came, without a cookie", () => {
    const response = { status: 600, headers: new Headers({ "Alt-Svc": "h3" }) } as Response;
    expect(answerToClient(response, backend, COOKIE, config)).toBe(response);
  });

  it("gets the session cookie beside the application's own cookies", () => {
    const response = withCookies("a=1", "b=2");
    expect(answerToClient(response, backend, COOKIE, config).headers.getSetCookie()).toEqual(["a=1", "b=2", COOKIE]);
  });

  it("gets status, headers and body as they were, also when something is added", async () => {
    const headers = { "content-type": "text/vtt", etag: '"1"', "x-own": "kept" };
    const response = new Response("film", { status: 206, statusText: "Some Of It", headers });
    const answer = answerToClient(response, backend, COOKIE, config);
    expect(answer).toMatchObject({ status: 206, statusText: "Some Of It" });
    expect(Object.fromEntries(answer.headers)).toEqual({ ...headers, "set-cookie": COOKIE });
    expect(await answer.text()).toBe("film");
  });
});

it("the header that names the backend carries its id where it is asked for, whatever the backend put there", () => {
  const named = configWith({ SERVED_BY_HEADER: "X-Served-By" });
  const servedBy = (settings: typeof config, cookie?: string) => {
    const response = new Response("film", { status: 503, headers: { "X-Served-By": "nginx" } });
    return answerToClient(response, backendOf(settings, "a"), cookie, settings).headers.get("X-Served-By");
  };
  expect([servedBy(named), servedBy(config, "a=1")]).toEqual(["a", "nginx"]);
});
