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
  const contentLength = request.headers.get("Content-Length");
  // `fetch` refuses GET and HEAD with bytes, but passes on the request's own stream.
  if (request.method === "GET" || request.method === "HEAD") return contentLength === "0" ? null : request.body;
  if (contentLength !== null) {
    return Number(contentLength) <= REPLAYABLE_BYTES_MAX ? request.arrayBuffer() : request.body;
  }

  // The runtime keeps for one branch what the other has read. What it copies that way it frees at once, and a client that
  // goes away halfway breaks both; bytes that pass through code here would grow to 90 MiB of garbage in a large upload.
  const [start, whole] = request.body.tee();
  const reader = start.getReader({ mode: "byob" });
  const { value } = await reader.readAtLeast(REPLAYABLE_BYTES_MAX + 1, new Uint8Array(REPLAYABLE_BYTES_MAX + 1));
  const fits = value === undefined || value.byteLength <= REPLAYABLE_BYTES_MAX;
  await (fits ? whole : reader).cancel();
  return fits ? (value?.slice().buffer ?? new ArrayBuffer(0)) : whole;
}
