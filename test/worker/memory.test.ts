import { readFile, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, IDS, loadBalancer, PATIENT } from "../support/fixture.ts";
import { sha1OfStream, sha256 } from "../support/hashing.ts";
import { head, rawConnection } from "../support/raw-http.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const LARGE = 120 * MIB;
const GROWTH_MAX_MIB = 64;

/** Larger than what the sockets hold, and no power of two, so that its pieces come out of step with every buffer. */
const BLOCK = noise(1_000_003);
const SHA1_OF_LARGE = sha1OfStream(blocks(LARGE));

// Not shared: what one test has the runtime take is no growth of another's.
const lb = loadBalancer(PATIENT);

describe("the Worker's memory", () => {
  beforeEach(async ({ skip }) => {
    skip(process.platform !== "linux", "only Linux tells what a process has taken at most");
    await lb.servedBy(); // What the runtime takes for its first request is no growth.
  });

  it.each([
    ["with its length", { "Content-Length": LARGE }],
    ["chunked", { "Transfer-Encoding": "chunked" }],
  ])("hardly grows while 120 MiB are uploaded, %s, and all of it arrives", async (_, framing) => {
    lb.cf.onRequest = async (request, response) => {
      // It begins to read late: what has piled up by then would be all that the client could send.
      await sleep(300);
      response.end(await sha1OfStream(request));
    };
    const grownMib = await growth(async () => {
      const options = boundTo("cf", { method: "POST", body: blocks(LARGE), headers: framing });
      expect((await lb.worker.fetch("/upload", options)).text).toBe(await SHA1_OF_LARGE);
    });
    expect(grownMib).toBeLessThan(GROWTH_MAX_MIB);
  });

  it.each([
    ["a new client", {}],
    ["a client with a session", boundTo("cf")],
  ])("hardly grows while 120 MiB are downloaded by %s, and all of it arrives", async (_, options) => {
    for (const backend of lb.backends) {
      backend.onRequest = (_request, response) => {
        response.writeHead(200, { "Content-Length": LARGE });
        Readable.from(blocks(LARGE)).pipe(response);
      };
    }
    const grownMib = await growth(async () => {
      const response = await lb.worker.open("/film", options);
      await sleep(300);
      expect(await sha1OfStream(response)).toBe(await SHA1_OF_LARGE);
    });
    expect(grownMib).toBeLessThan(GROWTH_MAX_MIB);
  });

  it.each([
    ["of which each has said that a MiB will come", { "Content-Length": MIB }, "x"],
    ["without a length", { "Transfer-Encoding": "chunked" }, "1\r\nx\r\n"],
  ])("hardly grows while 600 uploads %s have sent one byte, and others are served", async (_, framing, byte) => {
    const start = head("POST", "/upload", boundTo("cf", { headers: framing }).headers);
    const grownMib = await growth(async () => {
      const sockets: Socket[] = [];
      for (let i = 0; i < 600; i++) sockets.push(await rawConnection(lb.worker, start + byte));
      for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
      for (const socket of sockets) socket.destroy();
    });
    expect(grownMib).toBeLessThan(GROWTH_MAX_MIB);
  });
});

describe("the bodies that an isolate holds", () => {
  const bytes = noise(MIB);
  /** More than 32 MiB, and less. */
  const [MANY, FEW] = [40, 30];
  const ANSWER = { bytes: MIB, sha256: sha256(bytes) };

  /** Uploads of a MiB each, of which all but the last byte is sent. */
  function begin(count: number): Promise<Socket[]> {
    const start = head("POST", "/upload", boundTo("cf", { headers: { "Content-Length": MIB } }).headers);
    const sent = Buffer.concat([Buffer.from(start), bytes.subarray(0, -1)]);
    return Promise.all(Array.from({ length: count }, () => rawConnection(lb.worker, sent)));
  }

  async function finish(sockets: readonly Socket[]): Promise<Echo[]> {
    return Promise.all(
      sockets.map(async (socket) => {
        let answer = "";
        socket.on("data", (chunk) => {
          answer += chunk;
        });
        socket.write(bytes.subarray(-1));
        await expect.poll(() => answer).toContain("}");
        socket.destroy();
        return JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1));
      }),
    );
  }

  /** Counts what comes to `cf`, as it begins to come; that is a body that streams, while the last bytes are not sent. */
  function watch(): { come: number; open: number; lengths: Set<string | undefined> } {
    const watched = { come: 0, open: 0, lengths: new Set<string | undefined>() };
    lb.cf.onRequest = async (request, response) => {
      watched.lengths.add(request.headers["content-length"]);
      watched.come++;
      watched.open++;
      request.on("error", () => {}).on("close", () => watched.open--);
      const body = Buffer.concat(await request.toArray().catch(() => []));
      response.end(JSON.stringify({ bytes: body.length, sha256: sha256(body) }));
    };
    return watched;
  }

  /** Only a body that is held outlives its backend. */
  async function expectFewHeld(): Promise<void> {
    lb.cf.onRequest = undefined;
    const sockets = await begin(FEW);
    for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
    await lb.cf.kill();
    const echoes = await finish(sockets);
    expect(echoes.map(({ bytes, sha256 }) => ({ bytes, sha256 }))).toEqual(Array(FEW).fill(ANSWER));
  }

  it("are 32 MiB at most: what comes beyond streams and arrives whole; and they are let go once answered", async () => {
    const watched = watch();
    for (let round = 0; round < 2; round++) {
      const sockets = await begin(MANY);
      await expect.poll(() => watched.come - round * MANY).toBeGreaterThanOrEqual(MANY - 32);
      expect(watched.come - round * MANY).toBeLessThan(MANY);
      expect(await finish(sockets)).toEqual(Array(MANY).fill(ANSWER));
      expect(watched.lengths).toEqual(new Set([String(MIB)]));
    }
    await expectFewHeld();
  });

  it("are let go soon after their clients have left", async () => {
    const watched = watch();
    const sockets = await begin(MANY);
    await expect.poll(() => watched.come).toBeGreaterThan(0);
    for (const socket of sockets) socket.resetAndDestroy();
    await expect.poll(() => watched.open).toBe(0);
    const streamed = async () => {
      const before = watched.come;
      const uploads = await begin(FEW);
      expect(await lb.servedBy(boundTo("duck"))).toBe("duck");
      const come = watched.come - before;
      await finish(uploads);
      return come;
    };
    await expect.poll(streamed, { interval: 500 }).toBe(0);
    await expectFewHeld();
  });
});

async function* blocks(length: number): AsyncGenerator<Buffer> {
  for (let sent = 0; sent < length; sent += BLOCK.length) {
    yield BLOCK.subarray(0, Math.min(BLOCK.length, length - sent));
  }
}

/** By how many MiB the highest resident size of workerd during this lies above what it was before. */
async function growth(during: () => Promise<void>): Promise<number> {
  const directory = `/proc/${lb.worker.process.pid}`;
  const memoryMib = async (field: string) => {
    const status = await readFile(`${directory}/status`, "utf8");
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) / 1024;
  };
  const beforeMib = await memoryMib("VmRSS");
  await writeFile(`${directory}/clear_refs`, "5"); // proc(5): sets VmHWM, the peak, back to VmRSS
  await during();
  return (await memoryMib("VmHWM")) - beforeMib;
}
