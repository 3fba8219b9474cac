/** A request's body: none, bytes that can be sent again, or a stream that can be sent once. */
export type Body = ArrayBuffer | ReadableStream | null;

/** The largest body that is held for a retry. */
export const BODY_BYTES_MAX = 1024 * 1024;

/** All bodies that an isolate holds stay under this; it has 128 MiB in all. */
export const HELD_BYTES_MAX = 32 * 1024 * 1024;

/** What is held of a body before any of it has come; one that is no longer is read in one go. */
const FIRST_BUFFER_BYTES = 4 * 1024;

/** What is read of a stream before it is passed on. */
const STEP_BYTES = 128 * 1024;

/** For how long a reservation counts without being renewed; the runtime may cancel its invocation, timers included, at any time. */
const LEASE_MS = 3_000;

/** The bytes that one request holds. */
interface Reservation {
  bytes: number;
  leaseUntilMs: number;
}

/** What the requests of an isolate hold of their bodies. */
export interface HeldBodies {
  bytes: number;
  /** In the order in which their leases end. */
  readonly reservations: Set<Reservation>;
}

export function newHeldBodies(): HeldBodies {
  return { bytes: 0, reservations: new Set() };
}

/** One request's part of what the isolate holds. It has to be released; where that does not happen its lease ends it. */
export class BodyHolder {
  readonly #all: HeldBodies;
  readonly #own: Reservation = { bytes: 0, leaseUntilMs: 0 };
  #renewal: ReturnType<typeof setInterval> | null = null;

  constructor(all: HeldBodies) {
    this.#all = all;
  }

  /** Reserves so many bytes more. Returns whether they may be held. */
  reserve(bytes: number): boolean {
    const all = this.#all;
    const own = this.#own;
    const nowMs = Date.now();
    expireLeases(all, nowMs);
    if (all.bytes + bytes > HELD_BYTES_MAX) return false;
    own.bytes += bytes;
    own.leaseUntilMs = nowMs + LEASE_MS;
    // Given up for lost after all: it counts again, with all that it holds.
    all.bytes += all.reservations.delete(own) ? bytes : own.bytes;
    all.reservations.add(own);
    this.#renewal ??= setInterval(() => this.reserve(0), LEASE_MS / 3);
    return true;
  }

  release(): void {
    clearInterval(this.#renewal);
    if (!this.#all.reservations.delete(this.#own)) return;
    this.#all.bytes -= this.#own.bytes;
  }
}

function expireLeases(all: HeldBodies, nowMs: number): void {
  for (const reservation of all.reservations) {
    if (reservation.leaseUntilMs > nowMs) return;
    all.reservations.delete(reservation);
    all.bytes -= reservation.bytes;
  }
}

/** A body on its way from the client. */
export interface Upload {
  /** Whether the client broke off what streams: the attempt that sends it has to break then too. */
  isBrokenOff: boolean;
  onBrokenOff: () => void;
}

/**
 * Serves a request with its body, and holds what is to be held of it meanwhile. Resolves to a status where that cannot be: 400
 * when the client went away before the body had come, 411 for a body that `fetch` would leave out.
 */
export async function withBody<T>(
  request: Request,
  heldBodies: HeldBodies,
  serve: (body: Body, upload: Upload) => Promise<T>,
): Promise<T | 400 | 411> {
  const holder = new BodyHolder(heldBodies);
  const upload = { isBrokenOff: false, onBrokenOff: () => {} };
  try {
    const body = await readBody(request, holder, upload).catch(() => 400 as const);
    return typeof body === "number" ? body : await serve(body, upload);
  } finally {
    holder.release();
  }
}

/**
 * Reads a body that is small enough to be held, and leaves a larger one to stream. It is read before the first attempt,
 * because even an attempt that is refused disturbs the stream. What is held grows with what has come.
 *
 * @throws what the runtime throws when the client goes away halfway.
 */
export async function readBody(request: Request, holder: BodyHolder, upload: Upload): Promise<Body | 411> {
  if (request.body === null) return null;
  const header = request.headers.get("Content-Length");
  const length = header === null ? undefined : Number(header);
  if (request.method === "GET" || request.method === "HEAD") {
    // `fetch` refuses GET and HEAD with bytes. It passes on the request's own stream, but none that is chunked.
    if (length !== undefined) return length > 0 ? request.body : null;
    return (await request.body.getReader().read()).done ? null : 411;
  }
  const stream = (start: Uint8Array, rest: ReadableStream) => resumeAsStream(start, rest, length, upload);
  if (length !== undefined && length <= FIRST_BUFFER_BYTES && holder.reserve(length)) return request.arrayBuffer();
  const isTooLong = length !== undefined && length > BODY_BYTES_MAX;
  if (isTooLong || !holder.reserve(FIRST_BUFFER_BYTES)) return stream(new Uint8Array(), request.body);
  return readGrowing(request.body, holder, stream);
}

async function readGrowing(
  source: ReadableStream,
  holder: BodyHolder,
  stream: (start: Uint8Array, rest: ReadableStream) => ReadableStream,
): Promise<Body> {
  const reader = source.getReader({ mode: "byob" });
  let buffer = new Uint8Array(FIRST_BUFFER_BYTES);
  let filled = 0;
  for (;;) {
    if (filled === buffer.length) {
      const grownBytes = Math.min(2 * buffer.length, BODY_BYTES_MAX + 1);
      if (filled > BODY_BYTES_MAX || !holder.reserve(grownBytes - buffer.length)) {
        reader.releaseLock();
        return stream(buffer, source);
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
 * What has been read, and behind it the rest. `pipeTo` would not tell who went away, the client or the backend, and a chunked
 * body that it aborts ends as if it were whole. One buffer does for all of it, in steps so large that they cost next to nothing.
 */
function resumeAsStream(
  start: Uint8Array,
  rest: ReadableStream,
  length: number | undefined,
  upload: Upload,
): ReadableStream {
  const { readable, writable } = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
  const pump = async () => {
    const writer = writable.getWriter();
    if (start.length > 0) await writer.write(start);
    const reader = rest.getReader({ mode: "byob" });
    let buffer = new Uint8Array(STEP_BYTES);
    for (;;) {
      const read = await reader.readAtLeast(STEP_BYTES, buffer).catch(() => undefined);
      if (!read) {
        upload.isBrokenOff = true;
        return upload.onBrokenOff();
      }
      const { value, done } = read;
      if (value && value.length > 0) {
        await writer.write(value);
        buffer = new Uint8Array(value.buffer);
      }
      if (done) return writer.close();
    }
  };
  // A backend that goes away fails its attempt.
  pump().catch(() => rest.cancel().catch(() => {}));
  return readable;
}
