import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  BODY_BYTES_MAX,
  type Body,
  HELD_BYTES_MAX,
  type HeldBodies,
  holderIn,
  readBody,
  type Upload,
} from "../../../src/proxy/body.ts";

const URL = "https://aiostreams.example.com/";
const KIB = 1024;

/** Bytes of which no two stretches look the same. */
function bytesOf(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let n = 0; n < count; n++) bytes[n] = (n ^ (n >> 8) ^ (n >> 16)) & 255;
  return bytes;
}

/** A request that sends so much, in chunks of such a size, and perhaps says how much it is. */
function upload(bytes: Uint8Array, { chunk = 60_000, says = undefined as number | undefined } = {}): Request {
  let sent = 0;
  const body = new ReadableStream({
    type: "bytes",
    pull(controller) {
      const piece = bytes.slice(sent, sent + chunk);
      sent += piece.length;
      if (piece.length > 0) controller.enqueue(piece);
      if (sent === bytes.length) {
        controller.close();
        controller.byobRequest?.respond(0);
      }
    },
  });
  return new Request(URL, { method: "POST", body, headers: says === undefined ? {} : { "Content-Length": `${says}` } });
}

const arrived = async (body: BodyInit | null) => new Uint8Array(await new Response(body).arrayBuffer());
const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, n) => byte === b[n]);
const newUpload = (): Upload => ({ isBrokenOff: false });
const bytesIn = (held: HeldBodies) => [...held].reduce((sum, { bytes }) => sum + bytes, 0);

async function read(request: Request, held: HeldBodies = new Set(), upload = newUpload()): Promise<Body> {
  const holder = holderIn(held);
  onTestFinished(holder.release);
  return (await readBody(request, holder.reserve, upload)) as Body;
}

const around = (count: number) => [count - 1, count, count + 1];
const SMALL = [0, 1, ...around(4 * KIB), ...around(16 * KIB), 900 * KIB, BODY_BYTES_MAX - 1, BODY_BYTES_MAX];
const LARGE = [BODY_BYTES_MAX + 1, BODY_BYTES_MAX + 4 * KIB, 5 * BODY_BYTES_MAX];

describe("a body", () => {
  it("that is not there stays so", async () => {
    expect(await read(new Request(URL))).toBeNull();
    expect(await read(new Request(URL, { method: "POST" }))).toBeNull();
  });

  it.each(SMALL)("of %d bytes can be sent again, byte for byte", async (count) => {
    const bytes = bytesOf(count);
    for (const says of [undefined, count]) {
      const body = await read(upload(bytes, { says }));
      expect(body).toBeInstanceOf(ArrayBuffer);
      expect(same(await arrived(body), bytes)).toBe(true);
      expect(same(await arrived(body), bytes)).toBe(true);
    }
  });

  it.each([1, 7, 4 * KIB, 65_537])("that comes in chunks of %d bytes arrives as it was sent", async (chunk) => {
    const bytes = bytesOf(20 * KIB);
    const body = await read(upload(bytes, { chunk }));
    expect(same(await arrived(body), bytes)).toBe(true);
  });

  it("that was read is let go: what runs around the Worker drains it", async () => {
    for (const count of [0, 10, 20 * KIB]) {
      const request = upload(bytesOf(count), { says: count });
      await read(request);
      expect(request.body?.locked).toBe(false);
    }
  });

  it("that comes in packets costs no turn of JavaScript for each of them: a request has 10 ms of CPU time", async () => {
    const request = upload(bytesOf(BODY_BYTES_MAX), { chunk: 1_400 });
    const reads = vi.spyOn(ReadableStreamBYOBReader.prototype, "readAtLeast");
    onTestFinished(() => reads.mockRestore());
    expect(await read(request)).toHaveProperty("byteLength", BODY_BYTES_MAX);
    expect(reads.mock.calls.length).toBeLessThan(20);
  });

  it.each(LARGE)("of %d bytes streams, byte for byte, and none of it is held where it says so", async (count) => {
    const bytes = bytesOf(count);
    for (const says of [undefined, count]) {
      const held: HeldBodies = new Set();
      const body = await read(upload(bytes, { says }), held);
      if (says !== undefined) expect(bytesIn(held)).toBe(0);
      expect(body).toBeInstanceOf(ReadableStream);
      expect(same(await arrived(body), bytes)).toBe(true);
    }
  });

  it("of a GET that is chunked has to name its length, since it would be left out", async () => {
    const request = upload(bytesOf(10));
    Object.defineProperty(request, "method", { value: "GET" });
    expect(await read(request)).toBe(411);
  });

  it.each([
    ["GET", 100, true],
    ["HEAD", 100, true],
    ["GET", 0, false],
    ["HEAD", undefined, false],
    ["GET", undefined, false],
  ])("of a %s that says it has %s bytes passes as the stream that it is, or is none", async (method, says, passes) => {
    const request = upload(bytesOf(says ?? 0), { says });
    // The constructor takes no body there, the runtime does.
    Object.defineProperty(request, "method", { value: method });
    expect(await read(request)).toBe(passes ? request.body : null);
  });

  it.each([undefined, 20, 20 * KIB])(
    "whose sender goes away halfway is an error, not a shorter body (it said %s)",
    async (says) => {
      const body = new ReadableStream({
        type: "bytes",
        start(controller) {
          controller.enqueue(new Uint8Array(10));
        },
        pull() {
          throw new Error("gone");
        },
      });
      const headers: Record<string, string> = says === undefined ? {} : { "Content-Length": `${says}` };
      await expect(read(new Request(URL, { method: "POST", body, headers }))).rejects.toThrow();
    },
  );

  it("whose sender goes away later is said to be broken off, and never ends as if it were whole", async () => {
    let sent = 0;
    const source = new ReadableStream({
      type: "bytes",
      pull(controller) {
        if (sent > 2 * BODY_BYTES_MAX) throw new Error("gone");
        sent += 60_000;
        controller.enqueue(new Uint8Array(60_000));
      },
    });
    const broken = newUpload();
    const isBroken = new Promise<void>((resolve) => {
      broken.onBrokenOff = resolve;
    });
    const body = await read(new Request(URL, { method: "POST", body: source }), new Set(), broken);
    let hasEnded = false;
    const end = () => {
      hasEnded = true;
    };
    arrived(body).then(end, () => {});
    await isBroken;
    expect({ isBrokenOff: broken.isBrokenOff, hasEnded }).toEqual({ isBrokenOff: true, hasEnded: false });
  });
});

describe("a body that may not be held, since the isolate holds so much", () => {
  /** All but so many bytes are held already. */
  function heldBut(bytes: number) {
    return new Set([{ bytes: HELD_BYTES_MAX - bytes, untilMs: Number.POSITIVE_INFINITY }]);
  }

  const nothingFree = [1, 4 * KIB, 16 * KIB, BODY_BYTES_MAX].map((count) => [0, count]);
  const someFree = [4 * KIB, 5 * KIB, 100 * KIB].map((free) => [free, 300 * KIB]);
  const rows = [...nothingFree, ...someFree] as [number, number][];
  it.each(rows)("streams from where it was, where %d bytes are free: %d bytes", async (free, count) => {
    const bytes = bytesOf(count);
    for (const says of [undefined, count]) {
      const held = heldBut(free);
      const body = await read(upload(bytes, { says }), held);
      expect(body).toBeInstanceOf(ReadableStream);
      expect(bytesIn(held)).toBeLessThanOrEqual(HELD_BYTES_MAX);
      expect(same(await arrived(body), bytes)).toBe(true);
    }
  });

  it.each([-1, 1])("keeps the length that was said: one that has %d bytes more breaks", async (more) => {
    const bytes = bytesOf(100 * KIB);
    const body = await read(upload(bytes, { says: bytes.length - more }), heldBut(5 * KIB));
    expect(body).toBeInstanceOf(ReadableStream);
    await expect(arrived(body)).rejects.toThrow();
  });
});
