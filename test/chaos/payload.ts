import { Random } from "../support/random.ts";

const POOL_BYTES = 1024 * 1024;
export const PAYLOAD_BYTES_MAX = 256 * 1024;

/** The same bytes in every process: client and backend cut their payloads from it and need not send them to each other. */
const pool = new Random(1).bytes(POOL_BYTES);

/** Some random bytes of this length. */
export function randomPayload(random: Random, bytes: number): Buffer {
  return payloadOf(`?${payloadQuery(random, bytes)}`);
}

/** A query that asks a backend for random bytes of this length. */
export function payloadQuery(random: Random, bytes: number): string {
  return `offset=${random.between(0, POOL_BYTES - bytes)}&bytes=${bytes}`;
}

/** The bytes that a URL with such a query asks for; none where it asks for none. */
export function payloadOf(url: string): Buffer {
  const [, offset, bytes] = /[?&]offset=(\d+)&bytes=(\d+)/.exec(url) ?? [];
  return pool.subarray(Number(offset ?? 0), Number(offset ?? 0) + Number(bytes ?? 0));
}
