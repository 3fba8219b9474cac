import { once } from "node:events";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { Handler } from "../support/backend.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, PATIENT, sharedLoadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { PLATFORM } from "../support/platform.ts";
import { rawFetch } from "../support/raw-http.ts";
import { type Options, PRIMARY_DOMAIN } from "../support/worker.ts";

const lb = sharedLoadBalancer(PATIENT);

function everyBackend(handler: Handler): void {
  for (const backend of lb.backends) backend.handler = handler;
}

/** An answer that gets a session cookie is copied, and one that needs none is handed on: both have to come out the same. */
describe.each([
  ["a new client", {} as Options],
  ["a client with a session", boundTo("cf")],
])("what the backend answers reaches %s as it is", (_, client) => {
  const get = (path: string, options: Options = {}) =>
    lb.worker.fetch(path, { ...options, headers: { ...options.headers, ...client.headers } });

  it("headers while the backend still holds the body, and each part of that as it comes", async () => {
    let send = (_text: string) => {};
    everyBackend((_request, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
      send = (text) => void response.write(text);
    });
    const response = await lb.worker.open("/events", client);
    expect(response.headers["content-type"]).toBe("text/event-stream");
    for (const text of ["data: first\n\n", "data: last\n\n"]) {
      send(text);
      expect(String((await once(response, "data"))[0])).toBe(text);
    }
    response.destroy();
  });

  it("a 304 with its validators", async () => {
    everyBackend((_request, response) => void response.writeHead(304, { ETag: '"v1"' }).end());
    const { status, headers, text } = await get("/logo.svg", { headers: { "If-None-Match": '"v1"' } });
    expect([status, headers.etag, text]).toEqual([304, '"v1"', ""]);
  });

  it("a HEAD's Content-Length", async () => {
    everyBackend((_request, response) => void response.writeHead(200, { "Content-Length": 123_456_789 }).end());
    const { headers, body } = await get("/film", { method: "HEAD" });
    expect([headers["content-length"], body.length]).toEqual(["123456789", 0]);
  });

  it.each(["gzip", "br", "zstd"])("encoded bytes: %s", async (encoding) => {
    const bytes = encoding === "gzip" ? gzipSync(noise(50_000)) : noise(50_000);
    everyBackend((_request, response) => {
      response.writeHead(200, { "Content-Encoding": encoding, "Content-Length": bytes.length }).end(bytes);
    });
    const { headers, body } = await get("/manifest.json", { headers: { "Accept-Encoding": encoding } });
    expect([headers["content-encoding"], headers["content-length"]]).toEqual([encoding, `${bytes.length}`]);
    expect(sha256(body)).toBe(sha256(bytes));
  });

  it("a 206 with every header and none besides, and the application's cookies in their order", async () => {
    const headers = {
      "Accept-Ranges": "bytes",
      "Access-Control-Allow-Origin": "https://web.example.net",
      "Cache-Control": "public, max-age=5",
      "Content-Range": "bytes 1000-1001/5000",
      "Content-Security-Policy": "default-src 'self'",
      "Content-Type": "video/x-matroska",
      Link: "</a>; rel=preload, </b>; rel=preload",
      "Retry-After": "7",
      Server: "its own",
      "X-Odd-Value": 'a, "b;c" \t d',
    };
    const cookies = ["a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2; HttpOnly", "a=3; Path=/x"];
    everyBackend((_request, response) => {
      response.sendDate = false;
      response.writeHead(206, { ...headers, "Set-Cookie": cookies }).end("ok");
    });
    const answer = await get("/film.mkv", { headers: { Range: "bytes=1000-1001" } });
    expect([answer.status, answer.text]).toEqual([206, "ok"]);
    const { "set-cookie": set, "transfer-encoding": _framing, connection: _connection, ...rest } = answer.headers;
    const expected = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    expect(rest).toEqual(Object.fromEntries(expected));
    expect(set?.filter((cookie) => !cookie.startsWith("aiostreams_backend="))).toEqual(cookies);
  });

  it.each([
    ["within its Content-Length", { "Content-Length": 1_000 }],
    ["between its chunks", {}],
  ])("an answer that is cut off %s is seen to be cut off", async (_where, headers) => {
    let cut = () => {};
    everyBackend((_request, response) => {
      response.writeHead(200, headers).write("the beginning");
      cut = () => response.socket?.destroy();
    });
    const response = await lb.worker.open("/film", client);
    const end = once(response, "end");
    expect(String((await once(response, "data"))[0])).toBe("the beginning");
    cut();
    response.resume();
    await expect(end).rejects.toThrow();
    expect(response.complete).toBe(false);
  });
});

it("a status from 600 on is relayed as it came, without a cookie, where every backend answers so", async () => {
  for (const backend of lb.backends) {
    backend.handler = (_, response) => void response.writeHead(665, { "X-Kind": "own" }).end("of a panel");
  }
  const { status, headers, text } = await lb.worker.fetch("/live", {});
  expect([status, headers["x-kind"], headers["set-cookie"], text]).toEqual([665, "own", undefined, "of a panel"]);
});

describe("a request reaches the backend", () => {
  it("with its path and query as they were written", async () => {
    const paths = [
      "/",
      "/a%2Fb//c?x=1&x=2",
      "/%E0%A4%A",
      "//evil.example.net/x",
      "/%2e%2e/%2E",
      "/a|b{c}d'e\"f^g[h]i",
      "/q?a=|&b={}&c='&d=`&e=^&f=[]",
      "/\\back\\slash",
      "/semi;colon:at@dollar$plus+comma,equals=and&bang!star*(paren)~_-.",
      "/percent%zz?%",
      "/caf%C3%A9?caf%e9",
      "/x?",
      "/x??a=?",
      `/stremio/uuid/${"e".repeat(4000)}/manifest.json`,
    ];
    for (const path of paths) {
      const { status, body } = await rawFetch(lb.worker, "GET", path);
      expect({ path, status }).toEqual({ path, status: 200 });
      expect(JSON.parse(body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1)).url).toBe(path);
    }
  });

  it.each(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])(
    "by %s, with all of its headers and every byte of its body",
    async (method) => {
      const names = `accept accept-encoding authorization content-type if-none-match if-modified-since origin range referer
        user-agent x-client-ip x-aiostreams-user-ip cache-control x-!#$%&'*+-.^_\`|~0`;
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
      const value = bytes.toString("latin1").replace(/[\0-\x20\x7f]/g, "");
      const headers = Object.fromEntries(names.split(/\s+/).map((name) => [name, `${name}: ${value}`]));
      const body = /GET|HEAD/.test(method) ? Buffer.alloc(0) : bytes;
      await lb.worker.fetch("/", boundTo("cf", { method, headers, ...(body.length > 0 && { body }) }));
      expect(lb.cf.seen).toMatchObject([{ method, headers, body }]);
    },
  );

  it("under its own name, and says who the client is, whatever the client wrote there", async () => {
    const headers = { "X-Forwarded-For": "203.0.113.66", "X-Forwarded-Host": "evil.example.net" };
    await lb.worker.fetch("/", boundTo("cf", { ip: "192.0.2.44", headers }));
    const told = {
      host: `127.0.0.1:${lb.cf.port}`,
      "x-forwarded-for": "192.0.2.44",
      "x-forwarded-host": PRIMARY_DOMAIN,
    };
    expect(lb.cf.seen[0]?.headers).toMatchObject(told);
  });

  it("by a retry as by the first attempt", async () => {
    lb.duck.mode = { kind: "status", status: 503, health: { kind: "well" } };
    const options = boundTo("duck", { ip: "192.0.2.44", headers: { "X-Forwarded-For": "1.2.3.4", "X-Odd": "1" } });
    await lb.worker.fetch("/", options);
    const other = [lb.cf, lb.koyeb].find(({ seen }) => seen.length > 0);
    const first = { ...lb.duck.seen[0]?.headers, host: "" };
    expect({ ...other?.seen[0]?.headers, host: "" }).toMatchObject(first);
  });
});

it.each(["HEAD", "GET"])(
  "past Cloudflare's cache a %s of a film arrives as it was sent, and no redirect is kept",
  async (method) => {
    const worker = await lb.isolate({}, PLATFORM);
    for (const where of ["/first", "/second"]) {
      lb.cf.handler = (_, response) => void response.writeHead(302, { Location: where }).end();
      expect((await worker.fetch("/film.mkv", boundTo("cf", { method }))).headers.location).toBe(where);
    }
    const asked = lb.cf.seen.map((seen) => [seen.method, seen.headers["cache-control"]]);
    expect(asked).toEqual(Array(2).fill([method, "max-age=0"]));
  },
);
