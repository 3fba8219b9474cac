import { readFile, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import { noise } from "../support/bytes.ts";
import { boundTo, loadBalancer } from "../support/fixture.ts";
import { sha1OfStream } from "../support/hashing.ts";

const MIB = 1024 * 1024;
const GROWTH_MAX_MIB = 64;

/** Larger than what the sockets hold, and no power of two, so that its pieces come out of step with every buffer. */
const BLOCK = noise(1_000_003);

const lb = loadBalancer();
beforeEach(async () => {
  await lb.servedBy(); // What the runtime takes for its first request is no growth.
});

describe.runIf(process.platform === "linux")("the Worker's memory", () => {
  it.each([
    ["with its length", { "Content-Length": 200 * MIB }],
    ["chunked, without a length", { "Transfer-Encoding": "chunked" }],
  ])("grows by less than 64 MiB while 200 MiB are uploaded, %s, and all of it arrives", async (_, framing) => {
    lb.cf.onRequest = (request, response) =>
      void sleep(200).then(async () => response.end(await sha1OfStream(request)));
    const expected = sha1OfStream(blocks(200 * MIB));
    const grownMib = await growth(async () => {
      const options = { method: "POST", body: blocks(200 * MIB), headers: framing };
      const answer = await lb.worker.fetch("/upload", boundTo("cf", options));
      expect(answer).toMatchObject({ status: 200, text: await expected });
    });
    expect(grownMib).toBeLessThan(GROWTH_MAX_MIB);
  });

  it.each([
    ["that has just met its backend", {}],
    ["whose session is there already", boundTo("cf")],
  ])(
    "grows by less than 64 MiB while 500 MiB are downloaded by a client %s, and all of it arrives",
    async (_, options) => {
      for (const backend of lb.backends) {
        backend.onRequest = (_request, response) => {
          response.writeHead(200, { "Content-Length": 500 * MIB });
          Readable.from(blocks(500 * MIB)).pipe(response);
        };
      }
      const expected = sha1OfStream(blocks(500 * MIB));
      const grownMib = await growth(async () => {
        const response = await lb.worker.open("/film", options);
        // A player takes what it needs when it needs it: what has piled up by now would be all that the backend could send.
        await sleep(200);
        expect(await sha1OfStream(response)).toBe(await expected);
      });
      expect(grownMib).toBeLessThan(GROWTH_MAX_MIB);
    },
  );
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
