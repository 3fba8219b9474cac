import { once } from "node:events";
import { describe, expect, it } from "vitest";
import type { Backend, Echo } from "../support/backend.ts";
import { noise, pieces } from "../support/bytes.ts";
import { boundTo, changesOf, loadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { head, rawConnection } from "../support/raw-http.ts";
import { inTime, until } from "../support/waiting.ts";
import type { Answer, Options } from "../support/worker.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const CHUNKED = { "Transfer-Encoding": "chunked" };

/** A POST of these bytes by a client of `cf`, with `Content-Length` or chunked. */
function upload(bytes: Buffer, framing: string, options: Options = {}): Options {
  if (framing === "with its length") return boundTo("cf", { method: "POST", body: bytes, ...options });
  return boundTo("cf", { method: "POST", body: pieces(bytes), headers: CHUNKED, ...options });
}

function expectWhole(answer: Answer, bytes: Buffer, method = "POST"): void {
  expect(answer.status, answer.text).toBe(200);
  const echo = JSON.parse(answer.text) as Echo;
  expect({ method: echo.method, bytes: echo.bytes, sha256: echo.sha256 }).toEqual({
    method,
    bytes: bytes.length,
    sha256: sha256(bytes),
  });
}

const SIZES = [
  ["nothing", 0],
  ["1 byte", 1],
  ["900 KiB", 900 * KIB],
  ["exactly 1 MiB", MIB],
] as const;

const FRAMINGS = ["with its length", "chunked, without a length"];

const FAILURES: readonly (readonly [string, (cf: Backend) => unknown])[] = [
  ["refuses connections", (cf) => cf.kill()],
  [
    "resets the connection",
    (cf) => {
      cf.mode = { kind: "reset" };
    },
  ],
  [
    "resets the connection after it has read the body",
    (cf) => {
      cf.mode = { kind: "reset-after-body" };
    },
  ],
  [
    "answers 503",
    (cf) => {
      cf.mode = { kind: "status", status: 503 };
    },
  ],
];

describe("a body of up to 1 MiB", () => {
  const lb = loadBalancer();

  describe.each(FAILURES)("when the first backend %s", (_, fail) => {
    for (const framing of FRAMINGS) {
      it.each(SIZES)(`arrives whole at the second backend: %s, ${framing}`, async (_size, length) => {
        const bytes = noise(length);
        await fail(lb.cf);
        const answer = await lb.worker.fetch("/upload", upload(bytes, framing));
        expectWhole(answer, bytes);
        expect(answer.session).not.toBe("cf");
      });
    }
  });

  it.each(["PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])(
    "arrives whole at the second backend with %s",
    async (method) => {
      const bytes = noise(10 * KIB);
      lb.cf.mode = { kind: "reset-after-body" };
      expectWhole(await lb.worker.fetch("/upload", upload(bytes, "with its length", { method })), bytes, method);
      expect(lb.cf.seen.map((seen) => seen.body.length)).toEqual([bytes.length]);
    },
  );

  it("arrives whole at the third backend when two have read it and failed", async () => {
    const bytes = noise(900 * KIB);
    let asked = 0;
    for (const backend of lb.backends) {
      backend.handler = (_, response, body) => void response.writeHead(++asked < 3 ? 503 : 200).end(sha256(body));
    }
    const answer = await lb.worker.fetch("/upload", upload(bytes, "with its length"));
    expect(answer).toMatchObject({ status: 200, text: sha256(bytes) });
    for (const { seen } of lb.backends) expect(seen.map(({ body }) => sha256(body))).toEqual([sha256(bytes)]);
  });

  it("keeps its Content-Length and Content-Type", async () => {
    const headers = { "Content-Type": "application/x-odd; a=b" };
    await lb.worker.fetch("/upload", { method: "POST", body: "12345", headers });
    const seen = lb.backends.flatMap((backend) => backend.seen);
    expect(seen).toHaveLength(1);
    expect(seen[0]?.headers).toMatchObject({ "content-length": "5", "content-type": "application/x-odd; a=b" });
  });

  it.each(["GET", "HEAD"])("keeps no %s from a second backend by being empty", async (method) => {
    lb.cf.mode = { kind: "status", status: 503 };
    const answer = await lb.worker.fetch("/", boundTo("cf", { method, headers: { "Content-Length": 0 } }));
    expect(answer.status).toBe(200);
  });

  it("arrives with a GET", async () => {
    const answer = await lb.worker.fetch("/search", boundTo("cf", { method: "GET", body: "a query in a body" }));
    expectWhole(answer, Buffer.from("a query in a body"), "GET");
  });
});

describe("a body above 1 MiB", () => {
  const lb = loadBalancer();
  const bytes = noise(MIB + 1);

  it.each(FRAMINGS)("arrives whole, %s", async (framing) => {
    expectWhole(await lb.worker.fetch("/upload", upload(bytes, framing)), bytes);
    expect(lb.cf.seen).toHaveLength(1);
  });

  it("keeps its Content-Length", async () => {
    await lb.worker.fetch("/upload", upload(bytes, "with its length"));
    expect(lb.cf.seen[0]?.headers["content-length"]).toBe(String(bytes.length));
  });

  describe.each(FRAMINGS)("%s", (framing) => {
    it("is tried once, and the backend's own 503 reaches the client", async () => {
      lb.cf.mode = { kind: "status", status: 503 };
      const answer = await lb.worker.fetch("/upload", upload(bytes, framing));
      expect(answer).toMatchObject({ status: 503, text: "cf says 503" });
      expectNobodyElseWasAsked();
    });

    it.each(FAILURES.slice(0, 3))("is tried once and answered 502 when the backend %s", async (_, fail) => {
      await fail(lb.cf);
      const answer = await lb.worker.fetch("/upload", upload(bytes, framing));
      expect(answer.status).toBe(502);
      expectNobodyElseWasAsked();
    });

    it("is answered 502 when Cloudflare cannot reach the backend", async () => {
      lb.cf.mode = { kind: "status", status: 521 };
      const answer = await lb.worker.fetch("/upload", upload(bytes, framing));
      expect(answer.status).toBe(502);
      expectNobodyElseWasAsked();
    });
  });

  it("ejects no backend whose check is good, however often it fails", async () => {
    lb.cf.mode = { kind: "status", status: 500, healthStatus: 200 };
    for (let i = 0; i < 6; i++) {
      expect(await lb.worker.fetch("/upload", upload(bytes, "with its length"))).toMatchObject({ status: 500 });
    }
    await until("it was checked", () => lb.cf.checks > 0);
    lb.cf.mode = { kind: "well" };
    expect(await lb.isUp("cf")).toBe(true);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("has a backend ejected that fails at it, if the check is bad", async () => {
    lb.cf.mode = { kind: "status", status: 500 };
    await lb.worker.fetch("/upload", upload(bytes, "with its length"));
    await until("it is ejected", () => changesOf(lb, "cf").length > 0);
    lb.cf.mode = { kind: "well" };
    expect(await lb.isUp("cf")).toBe(false);
  });

  function expectNobodyElseWasAsked(): void {
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
  }
});

describe("a body that is retried only where the backend cannot have seen it, with RETRY_NON_IDEMPOTENT=false", () => {
  const lb = loadBalancer({ RETRY_NON_IDEMPOTENT: "false" });

  it.each(["POST", "PATCH"])("relays the failure of a %s", async (method) => {
    lb.cf.mode = { kind: "status", status: 503 };
    const answer = await lb.worker.fetch("/order", boundTo("cf", { method, body: "once" }));
    expect(answer).toMatchObject({ status: 503, text: "cf says 503" });
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
  });

  it.each(["POST", "PATCH"])("has the backend checked all the same after a %s", async (method) => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.worker.fetch("/order", boundTo("cf", { method, body: "once" }));
    await until("it is ejected", () => changesOf(lb, "cf").length > 0);
    lb.cf.mode = { kind: "well" };
    expect(await lb.isUp("cf")).toBe(false);
  });

  it("answers 502 to a POST whose connection was reset after the body", async () => {
    lb.cf.mode = { kind: "reset-after-body" };
    expect((await lb.worker.fetch("/order", boundTo("cf", { method: "POST", body: "once" }))).status).toBe(502);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
  });

  it("answers 502 to a POST after a 522, which the backend may have seen", async () => {
    lb.cf.mode = { kind: "status", status: 522 };
    expect((await lb.worker.fetch("/order", boundTo("cf", { method: "POST", body: "once" }))).status).toBe(502);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
  });

  it.each([521, 523, 525, 526, 530])("retries a POST after %i", async (status) => {
    lb.cf.mode = { kind: "status", status };
    const bytes = Buffer.from("once");
    expectWhole(await lb.worker.fetch("/order", boundTo("cf", { method: "POST", body: bytes })), bytes);
  });

  it.each(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])("retries a %s as ever", async (method) => {
    lb.cf.mode = { kind: "status", status: 503 };
    expect((await lb.worker.fetch("/order", boundTo("cf", { method }))).status).toBe(200);
  });
});

describe("a slow upload", () => {
  const lb = loadBalancer({ BACKEND_TIMEOUT: 200, PROBE_AFTER: 100 });

  it.each([
    ["above 1 MiB with its length", 1.5 * MIB, {}],
    ["above 1 MiB, chunked", 1.5 * MIB, CHUNKED],
    ["of 30 KiB with its length", 30 * KIB, {}],
    ["of 30 KiB, chunked", 30 * KIB, CHUNKED],
  ])("that takes longer than BACKEND_TIMEOUT is not cut: %s", async (_, length, framing) => {
    const bytes = noise(length);
    const headers = { ...("Transfer-Encoding" in framing ? framing : { "Content-Length": length }) };
    const body = pieces(bytes, length / 10, 100);
    const answer = await lb.worker.fetch("/upload", boundTo("cf", { method: "POST", body, headers }));
    expectWhole(answer, bytes);
    expect(lb.cf.seen).toHaveLength(1);
    expect(await lb.isUp("cf")).toBe(true);
  });
});

describe("a client that goes away halfway through its upload", () => {
  const lb = loadBalancer({ PROBE_AFTER: 100 });
  const half = noise(MIB + 100 * KIB);
  const chunk = Buffer.concat([Buffer.from(`${half.length.toString(16)}\r\n`), half, Buffer.from("\r\n")]);

  describe.each([
    ["with a length", { "Content-Length": 3 * MIB }, half],
    ["chunked", CHUNKED, chunk],
  ])("above 1 MiB, %s", (_, framing, sent) => {
    it("ejects nobody, and what it sent never looks whole to the backend", async () => {
      let ended = false;
      let closed = false;
      let received = 0;
      lb.cf.onRequest = (request) => {
        request.on("data", (data: Buffer) => {
          received += data.length;
        });
        request.on("end", () => {
          ended = true;
        });
        request.on("close", () => {
          closed = true;
        });
        request.on("error", () => {});
      };
      const socket = await rawConnection(
        lb.worker,
        head("POST", "/upload", { ...framing, Cookie: "aiostreams_backend=cf" }),
      );
      socket.write(sent);
      await until("the beginning has arrived", () => received >= MIB);
      socket.resetAndDestroy();
      await until("the backend's connection is closed", () => closed);
      expect(ended).toBe(false);
      await expectAllUp();
    });
  });

  it.each([
    ["with a length", { "Content-Length": MIB }, half.subarray(0, 500 * KIB)],
    ["chunked", CHUNKED, Buffer.from("8\r\n12345678\r\n9\r\n1234")],
  ])("ejects nobody and reaches no backend when the body could have been retried, %s", async (_, framing, sent) => {
    const socket = await rawConnection(
      lb.worker,
      head("POST", "/upload", { ...framing, Cookie: "aiostreams_backend=cf" }),
    );
    socket.resume();
    socket.end(sent);
    await once(socket, "close");
    await expectAllUp();
    for (const backend of lb.backends) expect(backend.seen.map(({ url }) => url)).toEqual(["/who"]);
  });

  it("ejects nobody when it leaves while the backend is thinking", async () => {
    let asked = false;
    let closed = false;
    lb.cf.onRequest = ({ socket }) => {
      asked = true;
      socket.on("close", () => {
        closed = true;
      });
    };
    const socket = await rawConnection(lb.worker, head("GET", "/think", { Cookie: "aiostreams_backend=cf" }));
    await until("the backend was asked", () => asked);
    socket.resetAndDestroy();
    await until("the backend's connection is closed", () => closed);
    await expectAllUp();
  });

  it("ejects nobody when it leaves in the middle of a download", async () => {
    lb.cf.onRequest = (_, response) => void response.writeHead(200, { "Content-Length": 10 * MIB }).write(half);
    const socket = await rawConnection(lb.worker, head("GET", "/film", { Cookie: "aiostreams_backend=cf" }));
    await once(socket, "data");
    socket.resetAndDestroy();
    await until("the backend's connection is closed", () => lb.cf.connections.size === 0);
    await expectAllUp();
  });

  async function expectAllUp(): Promise<void> {
    for (const backend of lb.backends) backend.onRequest = undefined;
    for (const id of ["cf", "duck", "koyeb"] as const) expect(await lb.isUp(id)).toBe(true);
    expect(lb.worker.log.filter(({ event }) => event === "ejected")).toEqual([]);
  }
});

describe("an upload that its backend does not read", () => {
  const lb = loadBalancer();

  it("is answered while the client is still sending", async () => {
    lb.cf.onRequest = (_, response) => void response.writeHead(413).end("too large");
    const socket = await rawConnection(
      lb.worker,
      head("POST", "/upload", { "Content-Length": 3 * MIB, Cookie: "aiostreams_backend=cf" }),
    );
    socket.write(noise(2 * MIB));
    const [answer] = (await inTime(10_000, "the answer", once(socket, "data"))) as [Buffer];
    socket.destroy();
    expect(String(answer)).toMatch(/^HTTP\/1.1 413 /);
  });
});
