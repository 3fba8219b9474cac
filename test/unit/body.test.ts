import { describe, expect, it } from "vitest";
import { REPLAYABLE_BYTES_MAX, readBody } from "../../src/body.ts";

const URL = "https://aiostreams.example.com/";

/** A request whose body comes in chunks of 64 KiB, without a length. */
function chunked(bytes: number): Request {
  let left = bytes;
  const body = new ReadableStream({
    type: "bytes",
    pull(controller) {
      const chunk = new Uint8Array(Math.min(left, 65_536)).fill(7);
      left -= chunk.length;
      if (chunk.length > 0) controller.enqueue(chunk);
      if (left === 0) controller.close();
    },
  });
  return new Request(URL, { method: "POST", body });
}

const bytesOf = async (body: BodyInit | null) => new Uint8Array(await new Response(body).arrayBuffer());

describe("a body", () => {
  it("that is not there stays so", async () => {
    expect(await readBody(new Request(URL))).toBeNull();
  });

  it.each([0, 1, 900 * 1024, REPLAYABLE_BYTES_MAX])("of %d bytes can be sent again", async (bytes) => {
    const request = new Request(URL, {
      method: "POST",
      body: new Uint8Array(bytes),
      headers: { "Content-Length": `${bytes}` },
    });
    const body = await readBody(request);
    expect(body).toBeInstanceOf(ArrayBuffer);
    expect((await bytesOf(body)).length).toBe(bytes);
  });

  it.each([0, 1, 900 * 1024, REPLAYABLE_BYTES_MAX])("of %d bytes without a length can be sent again", async (bytes) => {
    const body = await readBody(chunked(bytes));
    expect(body).toBeInstanceOf(ArrayBuffer);
    expect(await bytesOf(body)).toEqual(new Uint8Array(bytes).fill(7));
  });

  it("that says it is larger streams, untouched", async () => {
    const request = new Request(URL, {
      method: "POST",
      body: new Uint8Array(10),
      headers: { "Content-Length": `${REPLAYABLE_BYTES_MAX + 1}` },
    });
    expect(await readBody(request)).toBe(request.body);
  });

  it.each([REPLAYABLE_BYTES_MAX + 1, 5 * REPLAYABLE_BYTES_MAX])(
    "of %d bytes without a length streams, whole",
    async (bytes) => {
      const body = await readBody(chunked(bytes));
      expect(body).toBeInstanceOf(ReadableStream);
      expect(await bytesOf(body)).toEqual(new Uint8Array(bytes).fill(7));
    },
  );

  it("whose sender goes away halfway is an error, not a shorter body", async () => {
    const body = new ReadableStream({
      type: "bytes",
      start(controller) {
        controller.enqueue(new Uint8Array(10));
      },
      pull() {
        throw new Error("gone");
      },
    });
    await expect(readBody(new Request(URL, { method: "POST", body }))).rejects.toThrow();
  });
});
