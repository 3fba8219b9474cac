import { mix } from "../hash.ts";

/**
 * The text that a client's place in the hash depends on: its IPv4 address, or the /64 network of its IPv6 address,
 * since a household's devices and their privacy addresses (RFC 8981) share that. An IPv4-mapped address counts as IPv4
 * (RFC 4291, section 2.5.5.2). Text that is no address stands for itself.
 */
export function clientKey(ip: string): string {
  // The URL parser reads every way to write an address, and has one of its own.
  const address = ip.includes(":") && URL.parse(`http://[${ip}]`)?.hostname.slice(1, -1);
  if (!address) return ip;
  const [, high = "", low = ""] = /^::ffff:(\w+):(\w+)$/.exec(address) ?? [];
  if (high) return new URL(`http://0x${high}${low.padStart(4, "0")}`).hostname;
  const zeros = ":0".repeat(9 - address.split(":").length);
  return address.replace("::", `${zeros}:`).split(":", 4).join(":");
}

/**
 * A backend's score for a client: the highest one serves it (highest random weight, Thaler and Ravishankar 1998), and of many
 * clients each backend gets a share in proportion to its weight (Schindelhauer and Schomaker 2005). It depends on nothing but
 * the pair and the backend's own weight, so a backend that leaves, joins or changes its weight moves no client between two others.
 */
export function score(keyHash: number, backend: { readonly seed: number; readonly weight: number }): number {
  // Between 0 and 1, both excluded.
  const u = (mix(keyHash ^ backend.seed) + 0.5) / 2 ** 32;
  return -backend.weight / Math.log(u);
}
