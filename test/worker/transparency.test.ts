import { once } from "node:events";
import { STATUS_CODES } from "node:http";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { Echo, Handler } from "../support/backend.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, loadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { rawFetch } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import { type Options, PRIMARY_DOMAIN } from "../support/worker.ts";

/** An answer that gets a session cookie is copied, and one that needs none is handed on: both have to come out the same. */
const CLIENTS: readonly (readonly [string, Options])[] = [
  ["a new client", {}],
  ["a client whose session is there", boundTo("cf")],
];

describe.each(CLIENTS)("what the backend answers reaches %s as it is", (_, client) => {
  const lb = loadBalancer();

  function everyBackend(handler: Handler): void {
    for (const backend of lb.backends) backend.handler = handler;
  }

  const CLIENT_ERRORS = Object.keys(STATUS_CODES)
    .map(Number)
    .filter((status) => status >= 400 && status <= 499);

  it("a status from 400 to 499, from one backend, which stays in", async () => {
    for (const status of [...CLIENT_ERRORS, 420, 444, 499]) {
      everyBackend((_request, response) => void response.writeHead(status, { "X-Kind": "own" }).end("not like that"));
      const answer = await lb.worker.fetch("/", client);
      expect(answer).toMatchObject({ status, text: "not like that" });
      expect(answer.headers["x-kind"]).toBe("own");
    }
    expect(lb.backends.filter(({ seen }) => seen.length > 0)).toHaveLength(1);
    expect(lb.worker.log).toEqual([]);
  });

  it("events, each as it comes", async () => {
    let finish = () => {};
    everyBackend((_request, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream" }).write("data: first\n\n");
      finish = () => response.end("data: last\n\n");
    });
    const response = await lb.worker.open("/events", client);
    const [first] = (await once(response, "data")) as [Buffer];
    expect(String(first)).toBe("data: first\n\n");
    finish();
    const [last] = (await once(response, "data")) as [Buffer];
    expect(String(last)).toBe("data: last\n\n");
  });

  it("headers alone, while the backend still holds the body", async () => {
    let finish = () => {};
    everyBackend((_request, response) => {
      response.writeHead(200, { "X-Early": "yes" }).flushHeaders();
      finish = () => response.end("body");
    });
    const response = await lb.worker.open("/", client);
    expect(response.headers["x-early"]).toBe("yes");
    finish();
    const [body] = (await once(response, "data")) as [Buffer];
    expect(String(body)).toBe("body");
  });

  it("a 304 with its validators", async () => {
    const headers = { ETag: '"v1"', "Last-Modified": "Sun, 01 Nov 2026 10:00:00 GMT", "Cache-Control": "max-age=60" };
    everyBackend((_request, response) => void response.writeHead(304, headers).end());
    const conditions = { "If-None-Match": '"v1"', ...client.headers };
    const answer = await lb.worker.fetch("/logo.svg", { ...client, headers: conditions });
    expect(answer).toMatchObject({ status: 304, text: "" });
    expect(answer.headers).toMatchObject({ etag: '"v1"', "cache-control": "max-age=60" });
  });

  it("a 206 with its range", async () => {
    const film = noise(5_000);
    everyBackend((_request, response) => {
      const headers = { "Content-Range": "bytes 1000-1999/5000", "Content-Length": 1000, "Accept-Ranges": "bytes" };
      response.writeHead(206, headers).end(film.subarray(1000, 2000));
    });
    const answer = await lb.worker.fetch("/film.mkv", {
      ...client,
      headers: { Range: "bytes=1000-1999", ...client.headers },
    });
    expect(lb.backends.flatMap(({ seen }) => seen).map((seen) => seen.headers.range)).toEqual(["bytes=1000-1999"]);
    expect(answer.status).toBe(206);
    expect(answer.headers).toMatchObject({ "content-range": "bytes 1000-1999/5000", "content-length": "1000" });
    expect(sha256(answer.body)).toBe(sha256(film.subarray(1000, 2000)));
  });

  it("a HEAD's Content-Length", async () => {
    everyBackend((_request, response) => void response.writeHead(200, { "Content-Length": 123_456_789 }).end());
    const answer = await lb.worker.fetch("/film.mkv", { ...client, method: "HEAD" });
    expect(answer.headers["content-length"]).toBe("123456789");
    expect(answer.body).toHaveLength(0);
  });

  it.each(["gzip", "br", "zstd"])("encoded bytes: %s", async (encoding) => {
    const bytes = encoding === "gzip" ? gzipSync(noise(50_000)) : noise(50_000);
    everyBackend((_request, response) => {
      response.writeHead(200, {
        "Content-Encoding": encoding,
        "Content-Length": bytes.length,
        Vary: "Accept-Encoding",
      });
      response.end(bytes);
    });
    const headers = { "Accept-Encoding": encoding, ...client.headers };
    const answer = await lb.worker.fetch("/manifest.json", { ...client, headers });
    expect(answer.headers).toMatchObject({ "content-encoding": encoding, "content-length": `${bytes.length}` });
    expect(sha256(answer.body)).toBe(sha256(bytes));
    if (encoding === "gzip") expect(gunzipSync(answer.body)).toHaveLength(50_000);
  });

  it("repeated Set-Cookie, in order", async () => {
    const cookies = ["a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2; HttpOnly", "a=3; Path=/x"];
    everyBackend((_request, response) => void response.writeHead(200, { "Set-Cookie": cookies }).end());
    expect((await lb.worker.fetch("/login", client)).headers["set-cookie"]?.slice(0, 3)).toEqual(cookies);
  });

  it("a 204", async () => {
    everyBackend((_request, response) => void response.writeHead(204, { "X-Kind": "own" }).end());
    const answer = await lb.worker.fetch("/beacon", { ...client, method: "POST", body: "x" });
    expect(answer).toMatchObject({ status: 204, text: "" });
    expect(answer.headers["x-kind"]).toBe("own");
  });

  it("every header, and none besides", async () => {
    const headers = {
      "Access-Control-Allow-Origin": "https://web.example.net",
      "Cache-Control": "public, max-age=5",
      "Content-Security-Policy": "default-src 'self'",
      "Content-Type": "video/x-matroska",
      Link: "</a>; rel=preload, </b>; rel=preload",
      "Retry-After": "7",
      Server: "its own",
      "X-Odd-Value": 'a, "b;c" \t d',
    };
    everyBackend((_request, response) => {
      response.sendDate = false;
      response.writeHead(200, headers).end("ok");
    });
    const answer = await lb.worker.fetch("/", client);
    const { "set-cookie": _session, "transfer-encoding": _framing, connection: _connection, ...rest } = answer.headers;
    const expected = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    expect(rest).toEqual(Object.fromEntries(expected));
  });

  let cut: (() => void) | undefined;

  it("an answer that is cut off within its Content-Length is seen to be cut off", async () => {
    everyBackend((_request, response) => {
      response.writeHead(200, { "Content-Length": 1000 }).write("the beginning");
      cut = () => response.socket?.destroy();
    });
    const { body, ended } = await receive(client);
    expect(body).toBe("the beginning");
    expect(ended).toBe("cut off");
  });

  it("an answer that is cut off between its chunks is seen to be cut off", async () => {
    everyBackend((_request, response) => {
      response.writeHead(200).write("the beginning");
      cut = () => response.socket?.destroy();
    });
    const { body, ended } = await receive(client);
    expect(body).toBe("the beginning");
    expect(ended).toBe("cut off");
  });

  it("an answer that is whole is seen to be whole", async () => {
    cut = undefined;
    everyBackend((_request, response) => void response.writeHead(200).end("all of it"));
    expect(await receive(client)).toEqual({ body: "all of it", ended: "whole" });
  });

  async function receive(options: Options): Promise<{ body: string; ended: string }> {
    const response = await lb.worker.open("/film", options);
    let body = "";
    try {
      for await (const chunk of response) {
        body += chunk;
        cut?.();
      }
    } catch {
      return { body, ended: "cut off" };
    }
    return { body, ended: response.complete ? "whole" : "cut off" };
  }
});

describe("a redirect", () => {
  const lb = loadBalancer();

  it.each([301, 302, 303, 307, 308])("of status %i is not followed", async (status) => {
    lb.cf.handler = (_, response) => void response.writeHead(status, { Location: "/elsewhere" }).end("over there");
    const answer = await lb.worker.fetch("/here", boundTo("cf"));
    expect(answer).toMatchObject({ status, text: "over there" });
    expect(answer.headers.location).toBe("/elsewhere");
    expect(lb.cf.seen.map(({ url }) => url)).toEqual(["/here"]);
  });

  it.each([301, 302, 303, 307, 308, 201])(
    "of status %i to the backend's own origin leads to the public domain",
    async (status) => {
      expect(await locationOf(`${lb.cf.url}/a%2Fb//c?x=1&x=2#top`, status)).toBe(
        `https://${PRIMARY_DOMAIN}/a%2Fb//c?x=1&x=2#top`,
      );
    },
  );

  it.each(["http:", "https:", "HTTP:", ""])(
    "to the backend's own host leads to the public domain, with its own port, the scheme's or none: %j",
    async (scheme) => {
      for (const port of ["", `:${lb.cf.port}`, scheme === "https:" ? ":443" : ":80"]) {
        expect(await locationOf(`${scheme}//127.0.0.1${port}/x?y#z`), port).toBe(`https://${PRIMARY_DOMAIN}/x?y#z`);
      }
    },
  );

  it.each(["", "/", "?q=1", "/?url=http://127.0.0.1/"])(
    "to the backend's own origin keeps what follows it: %j",
    async (rest) => {
      expect(await locationOf(`${lb.cf.url}${rest}`)).toBe(`https://${PRIMARY_DOMAIN}${rest}`);
    },
  );

  it.each([
    "/relative",
    "relative?to=here",
    "../up",
    "?only=query",
    "#only-fragment",
    "https://cinema.example.net/film.mkv?token=%2F%2f",
    "//cinema.example.net/film",
    "http://127.0.0.1:1/another-port",
    "https://127.0.0.1:80/the-other-scheme's-port",
    "stremio:///detail/movie/tt0111161",
    "magnet:?xt=urn:btih:0",
    "http://[broken",
  ])("to anywhere else is left alone: %j", async (location) => {
    expect(await locationOf(location)).toBe(location);
  });

  it("to another backend is left alone", async () => {
    expect(await locationOf(`${lb.duck.url}/x`)).toBe(`${lb.duck.url}/x`);
  });

  it("that only looks like one to the backend's host is left alone", async () => {
    const host = `127.0.0.1:${lb.cf.port}`;
    for (const location of [
      `http://${host}.evil.example.net/`,
      `http://127.0.0.1.evil.example.net:${lb.cf.port}/`,
      `http://${host}@evil.example.net/`,
      `http://user@${host}/`,
      `http://user:password@${host}/`,
      `http://@${host}/`,
      `http://${host}\\@evil.example.net/`,
      `http://${host}\\x`,
      `http:\\\\${host}/`,
      `/\\${host}/`,
      `http:/${host}/`,
      `http:${host}/`,
      `ftp://${host}/`,
      `http://127.0.0.1:${lb.cf.port}0/`,
    ]) {
      expect(await locationOf(location)).toBe(location);
    }
  });

  it("of a status that is no redirect is left alone", async () => {
    expect(await locationOf(`${lb.cf.url}/x`, 200)).toBe(`${lb.cf.url}/x`);
  });

  async function locationOf(location: string, status = 302): Promise<string | undefined> {
    lb.cf.handler = (_, response) => void response.writeHead(status, { Location: location }).end();
    return (await lb.worker.fetch("/", boundTo("cf"))).headers.location;
  }
});

describe("a request", () => {
  const lb = loadBalancer();

  it("reaches the backend with its path and query as they were written", async () => {
    const paths = [
      "/",
      "/a%2Fb//c?x=1&x=2",
      "/%E0%A4%A",
      "//evil.example.net/x",
      "///",
      "/%2e%2e/%2E",
      "/a|b{c}d'e\"f^g[h]i",
      "/q?a=|&b={}&c='&d=`&e=^&f=[]",
      "/\\back\\slash",
      "/semi;colon:at@dollar$plus+comma,equals=and&bang!star*(paren)~_-.",
      "/percent%",
      "/percent%zz?%",
      "/caf%C3%A9?caf%e9",
      "/x?",
      "/x??a=?",
      "/?//?/",
      `/stremio/uuid/${"e".repeat(4000)}/manifest.json`,
    ];
    for (const path of paths) {
      const { status, body } = await rawFetch(lb.worker, "GET", path);
      expect({ path, status }).toEqual({ path, status: 200 });
      expect(JSON.parse(body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1)).url).toBe(path);
    }
  });

  it.each(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])(
    "reaches the backend with its method: %s",
    async (method) => {
      expect(JSON.parse((await lb.worker.fetch("/", { method })).text).method).toBe(method);
    },
  );

  it("reaches the backend as HEAD", async () => {
    expect((await lb.worker.fetch("/", boundTo("cf", { method: "HEAD" }))).status).toBe(200);
    expect(lb.cf.seen[0]?.method).toBe("HEAD");
  });

  it("reaches the backend with all its headers", async () => {
    const headers = {
      Accept: "*/*;q=0.1",
      "Accept-Encoding": "gzip, br;q=0.5",
      "Accept-Language": "cs, en;q=0.5",
      Authorization: "Basic dXNlcjpwYXNz",
      Cookie: "aiostreams_backend=cf; theme=dark; odd",
      "If-Range": '"v1"',
      Origin: "https://web.stremio.com",
      Referer: "https://web.stremio.com/#/",
      "User-Agent": "Stremio/5 (TV)",
      "X-AIOStreams-User-IP": "198.51.100.9",
      "X-Client-IP": "198.51.100.8",
      "X-Odd-Value": 'a, "b;c" \t d',
    };
    await lb.worker.fetch("/", { ip: "192.0.2.44", headers });
    const expected = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    expect(lb.cf.seen[0]?.headers).toMatchObject(Object.fromEntries(expected));
  });

  it("reaches the backend under the backend's own name", async () => {
    expect((await seenHeaders({})).host).toBe(`127.0.0.1:${lb.cf.port}`);
  });

  it("tells the backend where it came from, whatever the client wrote there", async () => {
    const written = {
      "X-Forwarded-For": "203.0.113.66, 10.0.0.1",
      "X-Real-IP": "203.0.113.66",
      "X-Forwarded-Host": "evil.example.net",
      "X-Forwarded-Proto": "http",
    };
    expect(await seenHeaders({ ip: "192.0.2.44", headers: written })).toMatchObject({
      "x-forwarded-for": "192.0.2.44",
      "x-real-ip": "192.0.2.44",
      "x-forwarded-host": PRIMARY_DOMAIN,
      "x-forwarded-proto": "https",
    });
  });

  it("claims no address where Cloudflare names none", async () => {
    const headers = await seenHeaders({ headers: { "X-Forwarded-For": "203.0.113.66", "X-Real-IP": "203.0.113.66" } });
    expect(headers["x-forwarded-for"]).toBeUndefined();
    expect(headers["x-real-ip"]).toBeUndefined();
  });

  it("tells every backend that it is sent to the same", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    const options = boundTo("cf", { ip: "192.0.2.44", headers: { "X-Forwarded-For": "1.2.3.4", "X-Odd": "1" } });
    const { id } = JSON.parse((await lb.worker.fetch("/", options)).text) as Echo;
    const at = (backend: typeof lb.cf) => ({ ...backend.seen[0]?.headers, host: "" });
    expect(at(id === "duck" ? lb.duck : lb.koyeb)).toEqual(at(lb.cf));
  });

  it("reaches the backend with its range, past every cache, since a cache could drop the range", async () => {
    const headers = await seenHeaders({ headers: { Range: "bytes=0-", "If-Range": '"v1"' } });
    // `no-cache` is what the runtime tells of `cache: "no-store"`.
    expect(headers).toMatchObject({ range: "bytes=0-", "if-range": '"v1"', "cache-control": "no-cache" });
  });

  it("without a range leaves caches alone", async () => {
    expect((await seenHeaders({}))["cache-control"]).toBeUndefined();
  });

  it("is answered one by one on a connection that is kept", async () => {
    for (let i = 0; i < 20; i++) expect(await lb.servedBy(boundTo("cf"))).toBe("cf");
    await until("the backend has few connections", () => lb.cf.connections.size <= 2);
  });

  async function seenHeaders(options: Options) {
    await lb.worker.fetch("/", boundTo("cf", options));
    return lb.cf.seen[0]?.headers ?? {};
  }
});
