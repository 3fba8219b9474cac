import { mix } from "../hash.ts";

/**
 * The text that a client's place in the hash depends on: its IPv4 address, or the /64 network of its IPv6 address,
 * since a household's devices and their privacy addresses (RFC 8981) share that. An IPv4-mapped address counts as IPv4
 * (RFC 4291, section 2.5.5.2). Text that is no address stands for itself.
 */
export function clientKey(ip: string): string {
  if (!ip.includes(":")) return ip;
  const address = ip.toLowerCase();
  const [, dotted, high = "", low = ""] =
    /^[0:]*:ffff:(?:(\d+\.\d+\.\d+\.\d+)|([\da-f]{1,4}):([\da-f]{1,4}))$/.exec(address) ?? [];
  if (dotted !== undefined) return dotted;
  if (high !== "") return [high, low].flatMap(bytesOf).join(".");
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? [] : tail.split(":");
    while (groups.length + after.length < 8) groups.push("0");
    groups.push(...after);
  }
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":");
}

function bytesOf(group: string): number[] {
  const bits = Number.parseInt(group, 16);
  return [bits >> 8, bits & 255];
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
