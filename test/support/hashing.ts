import { createHash } from "node:crypto";

export function sha256(bytes: Buffer | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The SHA-1 of a stream: for hundreds of MiB, where SHA-256 would be what a test waits for. */
export async function sha1OfStream(chunks: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash("sha1");
  for await (const chunk of chunks) hash.update(chunk);
  return hash.digest("hex");
}
