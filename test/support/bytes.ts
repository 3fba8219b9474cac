import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "./random.ts";

/** Bytes of which no two parts are alike, so that a part that is lost, doubled or out of place is seen. */
export function noise(length: number): Buffer {
  return new Random(length).bytes(length);
}

/** The bytes in pieces, for a body that is sent without a length. */
export async function* pieces(bytes: Buffer, size = 64 * 1024, pauseMs = 0): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) {
    if (pauseMs > 0) await sleep(pauseMs);
    yield bytes.subarray(start, start + size);
  }
}
