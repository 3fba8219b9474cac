/**
 * The text that a client's place in the hash depends on: its IPv4 address, or the /64 network of its IPv6 address,
 * since a household's devices and their privacy addresses (RFC 8981) share that. An IPv4-mapped address counts as IPv4
 * (RFC 4291, section 2.5.5.2). Text that is no address stands for itself.
 */
export function clientKey(ip: string): string {
  if (!ip.includes(":")) return ip;
  const address = ip.toLowerCase();
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  if (mapped?.[1]) return mapped[1];
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? 0 : tail.split(":").length;
    while (groups.length + after < 8) groups.push("0");
    if (tail !== "") groups.push(...tail.split(":"));
  }
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":");
}

/** A 32-bit hash of a text: FNV-1a over its UTF-16 code units, finished so that near texts come out far apart. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix(hash);
}

/**
 * A backend's weight for a client: the highest one serves it (highest random weight, Thaler and Ravishankar 1998).
 * It depends on nothing but the pair, so a backend that leaves or joins moves no client between two others.
 */
export function weight(keyHash: number, backendSeed: number): number {
  return mix(keyHash ^ backendSeed);
}

/** The finalizer of MurmurHash3 (Appleby): every bit of the input changes every bit of the result half of the time. */
function mix(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
