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

/** The bytes that one request holds, and until when they count. */
interface Reservation {
  bytes: number;
  untilMs: number;
}

/** What the requests of an isolate hold of their bodies. */
export type HeldBodies = Set<Reservation>;

/** One request's part of what the isolate holds. It has to be released; where that does not happen its lease ends it. */
export function holderIn(all: HeldBodies) {
  const own: Reservation = { bytes: 0, untilMs: 0 };
  const renew = () => {
    own.untilMs = Date.now() + LEASE_MS;
    // One that was given up for lost counts again.
    all.add(own);
  };
  /** Reserves so many bytes more, and renews the lease. Returns whether they may be held. */
  const reserve = (bytes: number) => {
    renew();
    const nowMs = Date.now();
    let total = bytes;
    for (const reservation of all) {
      if (reservation.untilMs > nowMs) total += reservation.bytes;
      else all.delete(reservation);
    }
    if (total > HELD_BYTES_MAX) return false;
    own.bytes += bytes;
    return true;
  };
  const renewal = setInterval(renew, LEASE_MS / 3);
  const release = () => {
    clearInterval(renewal);
    all.delete(own);
  };
  return { reserve, release };
}

/** A body on its way from the client. */
export interface Upload {
  /** Whether the client broke off what streams: the attempt that sends it has to break then too. */
  isBrokenOff: boolean;
  onBrokenOff?: () => void;
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
  const holder = holderIn(heldBodies);
  const upload: Upload = { isBrokenOff: false };
  try {
    const body = await readBody(request, holder.reserve, upload).catch(() => 400 as const);
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
export async function readBody(
  request: Request,
  reserve: (bytes: number) => boolean,
  upload: Upload,
): Promise<Body | 411> {
  const { body, method, headers } = request;
  if (body === null) return null;
  // Not a number where the client does not say it: then no comparison holds.
  const length = Number(headers.get("Content-Length") ?? Number.NaN);
  if (method === "GET" || method === "HEAD") {
    // `fetch` refuses GET and HEAD with bytes. It passes on the request's own stream, but none that is chunked.
    if (length >= 0) return length > 0 ? body : null;
    return (await body.getReader().read()).done ? null : 411;
  }
  const reader = body.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(0);
  let filled = 0;
  while (filled !== length) {
    if (filled === buffer.byteLength) {
      const bytes = Math.min(2 * filled || FIRST_BUFFER_BYTES, BODY_BYTES_MAX + 1);
      if (filled === bytes || length > BODY_BYTES_MAX || !reserve(bytes - filled)) {
        return resumeAsStream(new Uint8Array(buffer), reader, length, upload);
      }
      buffer = buffer.transfer(bytes);
    }
    // The whole buffer is handed over, with what is in it, and comes back full: a turn for each packet would cost CPU time.
    const { value, done } = await reader.readAtLeast(buffer.byteLength - filled, new Uint8Array(buffer, filled));
    if (value) {
      buffer = value.buffer;
      filled += value.length;
    }
    if (done) break;
  }
  reader.releaseLock();
  return buffer.transfer(filled);
}

/**
 * What has been read, and behind it the rest. `pipeTo` would not tell who went away, the client or the backend, and a chunked
 * body that it aborts ends as if it were whole. One buffer does for all of it, in steps so large that they cost next to nothing.
 */
function resumeAsStream(
  start: Uint8Array,
  rest: ReadableStreamBYOBReader,
  length: number,
  upload: Upload,
): ReadableStream {
  const { readable, writable } = length >= 0 ? new FixedLengthStream(length) : new IdentityTransformStream();
  const pump = async () => {
    const writer = writable.getWriter();
    await writer.write(start);
    let buffer = new Uint8Array(STEP_BYTES);
    for (;;) {
      const read = await rest.readAtLeast(STEP_BYTES, buffer).catch(() => {
        upload.isBrokenOff = true;
        upload.onBrokenOff?.();
      });
      if (!read) return undefined;
      const { value, done } = read;
      if (value) {
        await writer.write(value);
        buffer = new Uint8Array(value.buffer);
      }
      if (done) return writer.close();
    }
  };
  // A backend that goes away fails its attempt.
  pump().catch(() => {});
  return readable;
}
