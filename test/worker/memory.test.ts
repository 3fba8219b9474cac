import { readFile, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { noise, pieces } from "../support/bytes.ts";
import { boundTo, changesOf, IDS, loadBalancer } from "../support/fixture.ts";
import { sha1OfStream, sha256 } from "../support/hashing.ts";
import { head, rawConnection } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const LARGE = 200 * MIB;
const GROWTH_MAX_MIB = 64;

/** Larger than what the sockets hold, and no power of two, so that its pieces come out of step with every buffer. */
const BLOCK = noise(1_000_003);
const SHA1_OF_LARGE = sha1OfStream(blocks(LARGE));

const lb = loadBalancer();
beforeEach(async () => {
  await lb.servedBy(); // What the runtime takes for its first request is no growth.
});

describe.runIf(process.platform === "linux")("the Worker's memory", () => {
  it.each([
    ["with its length", { "Content-Length": LARGE }],
    ["chunked, without a length", { "Transfer-Encoding": "chunked" }],
  ])("grows by less than 64 MiB while 300 MiB are uploaded, %s, and all of it arrives", async (_, framing) => {
    lb.cf.onRequest = (request, response) =>
      void sleep(200).then(async () => response.end(await sha1OfStream(request)));
    const grownMib = await growth(async () => {
      const options = { method: "POST", body: blocks(LARGE), headers: framing };
      const answer = await lb.worker.fetch("/upload", boundTo("cf", options));
      expect(answer).toMatchObject({ status: 200, text: await SHA1_OF_LARGE });
    });
    expect(grownMib).toBeLessThan(GROWTH_MAX_MIB);
  });

  it.each([
    ["that has just met its backend", {}],
    ["whose session is there already", boundTo("cf")],
  ])(
    "grows by less than 64 MiB while 300 MiB are downloaded by a client %s, and all of it arrives",
    async (_, options) => {
      for (const backend of lb.backends) {
        backend.onRequest = (_request, response) => {
          response.writeHead(200, { "Content-Length": LARGE });
          Readable.from(blocks(LARGE)).pipe(response);
        };
      }
      const grownMib = await growth(async () => {
        const response = await lb.worker.open("/film", options);
        // A player takes what it needs when it needs it: what has piled up by now would be all that the backend could send.
        await sleep(200);
        expect(await sha1OfStream(response)).toBe(await SHA1_OF_LARGE);
      });
      expect(grownMib).toBeLessThan(GROWTH_MAX_MIB);
    },
  );

  it.each([
    [150, "of which each has said that a MiB will come", { "Content-Length": MIB }],
    [150, "without a length", { "Transfer-Encoding": "chunked" }],
    [600, "of which each has said that a MiB will come", { "Content-Length": MIB }],
    [600, "without a length", { "Transfer-Encoding": "chunked" }],
  ])(
    "grows little while %i uploads %s have sent one byte and no more, and others are served",
    async (count, _, framing) => {
      const grownMib = await growth(async () => {
        const start = head("POST", "/upload", boundTo("cf", { headers: framing }).headers);
        const byte = "Content-Length" in framing ? "x" : "1\r\nx\r\n";
        const sockets: Socket[] = [];
        for (let i = 0; i < count; i++) sockets.push(await rawConnection(lb.worker, start + byte));
        for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
        for (const socket of sockets) socket.destroy();
      });
      expect(grownMib).toBeLessThan(GROWTH_MAX_MIB);
    },
  );
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

  async function finish(sockets: readonly Socket[]): Promise<unknown[]> {
    return Promise.all(
      sockets.map(async (socket) => {
        let answer = "";
        socket.on("data", (chunk) => {
          answer += chunk;
        });
        socket.write(bytes.subarray(-1));
        await until("it is answered", () => answer.includes("}"));
        socket.destroy();
        return JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1));
      }),
    );
  }

  /** Records the length of what comes to `cf`, as it begins to come. */
  function watch(): { lengths: (string | undefined)[]; open: () => number } {
    const lengths: (string | undefined)[] = [];
    let open = 0;
    lb.cf.onRequest = async (request, response) => {
      lengths.push(request.headers["content-length"]);
      open++;
      request.on("error", () => {}).on("close", () => open--);
      const body = Buffer.concat(await request.toArray().catch(() => []));
      response.end(JSON.stringify({ bytes: body.length, sha256: sha256(body) }));
    };
    return { lengths, open: () => open };
  }

  /** Only a body that is held outlives its backend. */
  async function expectAllHeld(): Promise<void> {
    lb.cf.onRequest = undefined;
    const sockets = await begin(FEW);
    for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
    await lb.cf.kill();
    const echoes = (await finish(sockets)) as Echo[];
    expect(echoes.map(({ bytes, sha256 }) => ({ bytes, sha256 }))).toEqual(Array(FEW).fill(ANSWER));
    expect(echoes.map(({ id }) => id)).not.toContain("cf");
  }

  it("are 32 MiB at most: what comes beyond streams, and arrives whole with its Content-Length", async () => {
    const { lengths } = watch();
    const sockets = await begin(MANY);
    await until("some of them stream", () => lengths.length >= MANY - 31);
    expect(lengths.length).toBeLessThan(MANY);
    expect(await finish(sockets)).toEqual(Array(MANY).fill(ANSWER));
    expect(lengths).toEqual(Array(MANY).fill(String(MIB)));
  });

  it("are let go once they are answered", async () => {
    const { lengths } = watch();
    for (let round = 0; round < 2; round++) {
      const sockets = await begin(MANY);
      await until("some of them stream", () => lengths.length > round * MANY);
      await finish(sockets);
    }
    await expectAllHeld();
  });

  it("are let go soon after their clients have left", async () => {
    const { lengths, open } = watch();
    const sockets = await begin(MANY);
    await until("some of them stream", () => lengths.length > 0);
    for (const socket of sockets) socket.resetAndDestroy();
    await until("those have ended", () => open() === 0);
    await until("as many are held at a time as before", async () => (await heldAtATime()) === FEW, 20_000);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  /** How many of `FEW` uploads are held, so that they outlive a connection to `cf` that breaks once all of them have come. */
  async function heldAtATime(): Promise<number> {
    const whole: Socket[] = [];
    lb.cf.onRequest = async (request, response) => {
      if (request.method === "GET") return void response.end(JSON.stringify({ id: "cf" }));
      await request.toArray();
      whole.push(request.socket);
      if (whole.length === FEW) for (const socket of whole) socket.resetAndDestroy();
    };
    // What fails one client alone ejects nobody who answers another.
    expect(await lb.servedBy(boundTo("cf", { ip: "192.0.2.1" }))).toBe("cf");
    const options = boundTo("cf", { ip: "192.0.2.2", method: "POST", body: bytes });
    const answers = await Promise.all(Array.from({ length: FEW }, () => lb.worker.fetch("/upload", options)));
    return answers.filter(({ status }) => status === 200).length;
  }

  it("keep nobody waiting: slow uploads go on while others are served", async () => {
    const slow = Array.from({ length: 20 }, () =>
      lb.worker.fetch(
        "/slow",
        boundTo("cf", {
          method: "POST",
          body: pieces(bytes, MIB / 20, 100),
          headers: { "Transfer-Encoding": "chunked" },
        }),
      ),
    );
    let served = 0;
    const ended = Promise.all(slow).then((answers) => answers.map(({ text }) => JSON.parse(text).sha256));
    let isOver = false;
    ended.finally(() => {
      isOver = true;
    });
    for (; !isOver; served++) expect(await lb.servedBy(boundTo("duck"))).toBe("duck");
    expect(served).toBeGreaterThan(10);
    expect(await ended).toEqual(Array(20).fill(ANSWER.sha256));
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
