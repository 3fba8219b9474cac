/** A request's body: none, bytes that can be sent again, or a stream that can be sent once. */
export type Body = ArrayBuffer | ReadableStream | null;

/** The largest body that is kept for a retry. */
export const REPLAYABLE_BYTES_MAX = 1024 * 1024;

/**
 * Reads a body that is small enough to be kept, and leaves a larger one to stream. At most `REPLAYABLE_BYTES_MAX` and
 * one byte are held, whatever a client sends and with or without `Content-Length`. It is read before the first attempt,
 * because even an attempt that is refused disturbs the stream.
 *
 * @throws what the runtime throws when the client goes away halfway.
 */
export async function readBody(request: Request): Promise<Body> {
  if (request.body === null) return null;
  // `fetch` refuses GET and HEAD with bytes, but passes on the request's own stream.
  if (request.method === "GET" || request.method === "HEAD") return request.body;
  const contentLength = request.headers.get("Content-Length");
  if (contentLength !== null) {
    return Number(contentLength) <= REPLAYABLE_BYTES_MAX ? request.arrayBuffer() : request.body;
  }

  const reader = request.body.getReader({ mode: "byob" });
  const { value, done } = await reader.readAtLeast(REPLAYABLE_BYTES_MAX + 1, new Uint8Array(REPLAYABLE_BYTES_MAX + 1));
  if (done || value === undefined) return new ArrayBuffer(0);
  if (value.byteLength <= REPLAYABLE_BYTES_MAX) {
    return value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength) as ArrayBuffer;
  }
  return prepend(value, reader);
}

/**
 * A stream of `head` and all that is left in `reader`. Its length is unknown, so it is sent chunked, as it came. It is not
 * piped through an identity stream: when the client goes away halfway, that one would end as if the body were whole.
 */
function prepend(head: Uint8Array, reader: ReadableStreamBYOBReader): ReadableStream {
  return new ReadableStream({
    type: "bytes",
    start(controller) {
      controller.enqueue(head);
    },
    async pull(controller) {
      const { value, done } = await reader.read(new Uint8Array(65_536));
      if (value && value.byteLength > 0) controller.enqueue(value);
      if (done) controller.close();
    },
    async cancel(reason) {
      await reader.cancel(reason);
    },
  });
}
