import { once } from "node:events";
import type { Socket } from "node:net";
import { beforeEach, describe, expect, it } from "vitest";
import type { Echo, Mode } from "../support/backend.ts";
import { noise, pieces } from "../support/bytes.ts";
import { boundTo, IDS, PATIENT, sharedLoadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { head, rawConnection } from "../support/raw-http.ts";
import type { Answer, Options } from "../support/worker.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const COOKIE = { Cookie: "aiostreams_backend=cf" };
const CHUNKED = { "Transfer-Encoding": "chunked" };
const FRAMINGS = ["with its length", "chunked"] as const;

/** A POST of these bytes by a client of `cf`. */
function upload(bytes: Buffer, framing: (typeof FRAMINGS)[number], options: Options = {}): Options {
  const body = framing === "chunked" ? { body: pieces(bytes), headers: CHUNKED } : { body: bytes };
  return boundTo("cf", { method: "POST", ...body, ...options });
}

/** Returns the id of the backend at which it has arrived. */
function expectWhole({ status, text }: Answer, bytes: Buffer, method = "POST"): string {
  expect(status, text).toBe(200);
  const echo = JSON.parse(text) as Echo;
  expect([echo.method, echo.bytes, echo.sha256]).toEqual([method, bytes.length, sha256(bytes)]);
  return echo.id;
}

const lb = sharedLoadBalancer(PATIENT);

/** Has `cf` fail its users behind a good health route, so that it stays up. */
function fail(mode: Mode): void {
  lb.cf.mode = { ...mode, health: { kind: "well" } };
}

/** Has `cf` answer a user, so that the failures before and after it are not consecutive. */
async function succeed(): Promise<void> {
  lb.cf.mode = { kind: "well" };
  await expect.poll(() => lb.servedBy(boundTo("cf"))).toBe("cf");
  for (const { seen } of lb.backends) seen.length = 0;
}

beforeEach(succeed);

describe("a body of up to 1 MiB", () => {
  it.each([
    ["resets the connection", { kind: "reset" }],
    ["resets the connection after it has read the body", { kind: "reset-after-body" }],
    ["answers 503", { kind: "status", status: 503 }],
  ] as const)("arrives whole at another backend when the first %s", async (_, mode) => {
    for (const framing of FRAMINGS) {
      for (const length of [0, 1, 900 * KIB, MIB]) {
        await succeed();
        fail(mode);
        const bytes = noise(length);
        expect(expectWhole(await lb.worker.fetch("/upload", upload(bytes, framing)), bytes)).not.toBe("cf");
      }
    }
  });

  it("arrives with a GET", async () => {
    const answer = await lb.worker.fetch("/search", boundTo("cf", { method: "GET", body: "a query in a body" }));
    expectWhole(answer, Buffer.from("a query in a body"), "GET");
  });

  it.each([
    ["with a length of 0", { "Content-Length": 0 }, ""],
    ["chunked, with nothing in it", CHUNKED, "0\r\n\r\n"],
  ])("keeps no GET from another backend by being empty: %s", async (_, framing, body) => {
    fail({ kind: "status", status: 503 });
    const socket = await rawConnection(
      lb.worker,
      head("GET", "/", { ...COOKIE, ...framing, Connection: "close" }) + body,
    );
    expect(String(Buffer.concat(await socket.toArray()))).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe.each(FRAMINGS)("a body above 1 MiB, %s", (framing) => {
  const bytes = noise(MIB + 1);

  it("arrives whole", async () => {
    expectWhole(await lb.worker.fetch("/upload", upload(bytes, framing)), bytes);
    const length = framing === "chunked" ? undefined : String(bytes.length);
    expect(lb.cf.seen.map(({ headers }) => headers["content-length"])).toEqual([length]);
  });

  it.each([
    ["answers 503", { kind: "status", status: 503 }, 503, "cf says 503"],
    ["resets the connection", { kind: "reset" }, 502, undefined],
    ["resets the connection after the body", { kind: "reset-after-body" }, 502, undefined],
    ["cannot be reached by Cloudflare", { kind: "status", status: 521 }, 502, undefined],
  ] as const)("is tried once, and the client gets the failure, when the backend %s", async (_, mode, status, text) => {
    fail(mode);
    const answer = await lb.worker.fetch("/upload", upload(bytes, framing));
    expect(answer.status).toBe(status);
    if (text) expect(answer.text).toBe(text);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
  });
});

describe("a slow upload", () => {
  it("is not cut by BACKEND_TIMEOUT, however long it takes", async () => {
    const worker = await lb.isolate({ BACKEND_TIMEOUT: 2_000 });
    const sending = ([30 * KIB, 1.5 * MIB] as const).flatMap((length) =>
      [CHUNKED, { "Content-Length": length }].map(async (headers) => {
        const bytes = noise(length);
        const body = pieces(bytes, length / 10, 300);
        expectWhole(await worker.fetch("/upload", boundTo("cf", { method: "POST", body, headers })), bytes);
      }),
    );
    await Promise.all(sending);
    expect(lb.cf.seen).toHaveLength(4);
  });

  it("is answered while the client is still sending, where backends do not read it, which takes none from others", async () => {
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) => void response.writeHead(413).end("too large");
    }
    for (let i = 0; i < 5; i++) {
      const start = head("POST", "/upload", { "Content-Length": 3 * MIB, ...COOKIE });
      const socket = await rawConnection(lb.worker, start);
      socket.write(noise(2 * MIB));
      expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1.1 413 /);
      socket.destroy();
    }
    for (const backend of lb.backends) backend.onRequest = undefined;
    for (const id of IDS) await expect.poll(() => lb.isUp(id)).toBe(true);
    expect(lb.worker.log.filter(({ event }) => event === "ejected")).toEqual([]);
  });
});

describe("a client that goes away", () => {
  const lb = sharedLoadBalancer(PATIENT); // Its own, where no other test has a check requested.
  const half = noise(MIB + 100 * KIB);
  const chunk = Buffer.concat([Buffer.from(`${half.length.toString(16)}\r\n`), half, Buffer.from("\r\n")]);

  it.each([
    ["with a length", { "Content-Length": 3 * MIB }, half],
    ["chunked", CHUNKED, chunk],
  ])(
    "in the middle of a large upload makes it never look whole to the backend, and is told if it can be: %s",
    async (_, framing, sent) => {
      for (const isListening of [false, true]) {
        let received = 0;
        const events: string[] = [];
        lb.cf.onRequest = (request) => {
          request.on("error", () => {});
          for (const event of ["end", "close"]) request.on(event, () => events.push(event));
          request.on("data", (data: Buffer) => {
            received += data.length;
          });
        };
        const socket = await rawConnection(lb.worker, head("POST", "/upload", { ...framing, ...COOKIE }));
        socket.write(sent);
        await expect.poll(() => received).toBeGreaterThanOrEqual(MIB);
        if (isListening) {
          socket.end();
          expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1.1 400 /);
        } else socket.resetAndDestroy();
        await expect.poll(() => events).toEqual(["close"]);
        await expectNoFailure();
      }
    },
  );

  it.each([
    ["with a length", { "Content-Length": MIB }, half.subarray(0, 500 * KIB)],
    ["chunked", CHUNKED, Buffer.from("8\r\n12345678\r\n9\r\n1234")],
  ])("in the middle of a small upload reaches no backend, %s", async (_, framing, sent) => {
    const socket = await rawConnection(lb.worker, head("POST", "/upload", { ...framing, ...COOKIE }));
    socket.resume();
    socket.end(sent);
    await once(socket, "close");
    await expectNoFailure();
    expect(lb.backends.flatMap(({ seen }) => seen.map(({ url }) => url))).toEqual(["/who"]);
  });

  it("while the backend is thinking, or in the middle of a download, frees its connection there", async () => {
    for (const beginning of ["", half]) {
      let used: Socket | undefined;
      lb.cf.onRequest = ({ socket }, response) => {
        used = socket;
        if (beginning) response.writeHead(200, { "Content-Length": 10 * MIB }).write(beginning);
      };
      const socket = await rawConnection(lb.worker, head("GET", "/film", COOKIE));
      if (beginning) await once(socket, "data");
      else await expect.poll(() => used).toBeDefined();
      socket.resetAndDestroy();
      await expect.poll(() => used?.destroyed).toBe(true);
    }
    await expectNoFailure();
  });

  /** None was logged, and none has had the backend checked. */
  async function expectNoFailure(): Promise<void> {
    lb.cf.onRequest = undefined;
    expect(await lb.servedBy(boundTo("cf"))).toBe("cf");
    expect(lb.worker.log).toEqual([]);
    expect(lb.cf.checks).toBe(0);
  }
});
