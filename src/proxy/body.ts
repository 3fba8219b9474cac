/** A request's body: none, bytes that can be sent again, or a stream that can be sent once. */
export type Body = ArrayBuffer | ReadableStream | null;

/** The largest body that is held for a retry. */
export const BODY_BYTES_MAX = 1024 * 1024;

/** All bodies that an isolate holds stay under this; it has 128 MiB in all. */
export const HELD_BYTES_MAX = 32 * 1024 * 1024;

/** A body whose length is known to be so small is read in one go, without a look at how much of it has come. */
const SMALL_BYTES = 16 * 1024;
const FIRST_BUFFER_BYTES = 4 * 1024;

/** For how long a holding counts without being renewed; the runtime may cancel its invocation, timers included, at any time. */
const LEASE_MS = 3_000;

/** The bytes that one request holds. */
interface Holding {
  bytes: number;
  leaseUntilMs: number;
}

/** What the requests of an isolate hold of their bodies. */
export interface HeldBodies {
  bytes: number;
  readonly holdings: Set<Holding>;
}

export function newHeldBodies(): HeldBodies {
  return { bytes: 0, holdings: new Set() };
}

/** One request's part of what the isolate holds. It has to be released; where that does not happen its lease ends it. */
export class BodyHolder {
  readonly #all: HeldBodies;
  readonly #own: Holding = { bytes: 0, leaseUntilMs: 0 };
  #renewal: ReturnType<typeof setInterval> | null = null;

  constructor(all: HeldBodies) {
    this.#all = all;
  }

  /** Takes so many bytes more. Returns whether they may be held. */
  take(bytes: number): boolean {
    const all = this.#all;
    const own = this.#own;
    const nowMs = Date.now();
    if (all.bytes + bytes > HELD_BYTES_MAX) forgetLost(all, nowMs);
    if (all.bytes + bytes > HELD_BYTES_MAX) return false;
    own.bytes += bytes;
    // Given up for lost after all: it counts again, with all that it holds.
    all.bytes += all.holdings.has(own) ? bytes : own.bytes;
    all.holdings.add(own);
    own.leaseUntilMs = nowMs + LEASE_MS;
    this.#renewal ??= setInterval(() => this.take(0), LEASE_MS / 3);
    return true;
  }

  release(): void {
    clearInterval(this.#renewal);
    if (!this.#all.holdings.delete(this.#own)) return;
    this.#all.bytes -= this.#own.bytes;
  }
}

function forgetLost(all: HeldBodies, nowMs: number): void {
  for (const holding of all.holdings) {
    if (holding.leaseUntilMs > nowMs) continue;
    all.holdings.delete(holding);
    all.bytes -= holding.bytes;
  }
}

/**
 * Reads a body that is small enough to be held, and leaves a larger one to stream. It is read before the first attempt,
 * because even an attempt that is refused disturbs the stream. What is held grows with what has come.
 *
 * @throws what the runtime throws when the client goes away halfway.
 */
export async function readBody(request: Request, holder: BodyHolder): Promise<Body> {
  if (request.body === null) return null;
  const header = request.headers.get("Content-Length");
  const length = header === null ? undefined : Number(header);
  // `fetch` refuses GET and HEAD with bytes, but passes on the request's own stream.
  if (request.method === "GET" || request.method === "HEAD") return length === 0 ? null : request.body;
  if (length !== undefined && length > BODY_BYTES_MAX) return request.body;
  if (length !== undefined && length <= SMALL_BYTES) {
    return holder.take(length) ? request.arrayBuffer() : request.body;
  }
  return readGrowing(request.body, length, holder);
}

async function readGrowing(source: ReadableStream, length: number | undefined, holder: BodyHolder): Promise<Body> {
  if (!holder.take(FIRST_BUFFER_BYTES)) return source;
  const reader = source.getReader({ mode: "byob" });
  let buffer = new Uint8Array(FIRST_BUFFER_BYTES);
  let filled = 0;
  for (;;) {
    if (filled === buffer.length) {
      const grownBytes = Math.min(2 * buffer.length, BODY_BYTES_MAX + 1);
      if (filled > BODY_BYTES_MAX || !holder.take(grownBytes - buffer.length)) {
        reader.releaseLock();
        return goOn(buffer, source, length);
      }
      const grown = new Uint8Array(grownBytes);
      grown.set(buffer);
      buffer = grown;
    }
    // The whole buffer is handed over, with what is in it, and comes back.
    const { value, done } = await reader.read(buffer.subarray(filled));
    if (value) {
      buffer = new Uint8Array(value.buffer);
      filled += value.byteLength;
    }
    if (done) return buffer.slice(0, filled).buffer;
  }
}

/**
 * What has been read, and behind it the rest, which the runtime pumps by itself: bytes that passed through code here would be
 * garbage by the megabyte.
 */
function goOn(start: Uint8Array, rest: ReadableStream, length: number | undefined): ReadableStream {
  const { readable, writable } = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
  const pump = async () => {
    const writer = writable.getWriter();
    await writer.write(start);
    writer.releaseLock();
    await rest.pipeTo(writable);
  };
  // A client or a backend that goes away breaks the stream, which the attempt finds out for itself.
  pump().catch((error) => writable.abort(error).catch(() => {}));
  return readable;
}
