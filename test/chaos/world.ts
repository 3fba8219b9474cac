import { buildWorker, readCompatibility, type Script } from "../support/build.ts";
import type { Worker } from "../support/worker.ts";
import { temporaryDirectory } from "./ending.ts";

export const IDS = ["cf", "koyeb", "duck"];

/** The Worker as it is, or a module that was built before. */
export async function scriptOf(path: string | undefined): Promise<Script> {
  return path === undefined ? buildWorker(temporaryDirectory()) : { path, compatibility: await readCompatibility() };
}

/** Addresses in one of the networks for documentation (RFC 5737), or in the one behind it. */
export function addresses(count: number, network: string): string[] {
  const [a, b, c] = network.split(".").map(Number) as [number, number, number];
  return Array.from({ length: count }, (_, index) => `${a}.${b}.${c + (index >> 8)}.${index & 255}`);
}

/** Which backend answers each of these addresses when it comes without a cookie. */
export function choicesOf(worker: Worker, ips: readonly string[]): Promise<string[]> {
  return Promise.all(ips.map(async (ip) => String((await worker.fetch("/", { ip })).headers["x-served-by-backend"])));
}

/** What workerd itself had to say, which is never good. */
export function noiseOf({ output }: Worker): string[] {
  return output.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
}
