import { describe, expect, it } from "vitest";
import type { Backend } from "../../../src/config.ts";
import { hashText } from "../../../src/hash.ts";
import { bestCandidate, inClientOrder } from "../../../src/selection/candidates.ts";
import { score } from "../../../src/selection/rendezvous.ts";
import { configWith } from "../sample.ts";

const { backends } = configWith({ BACKEND_B: "b.example.net weight=3", BACKEND_D: "d.example.net backup" });
const [a, b, c, d] = backends as [Backend, Backend, Backend, Backend];
const ips = Array.from({ length: 60 }, (_, n) => `192.0.2.${n}`);
const clientOf = (key: string, stickyBackend?: Backend) => ({ key, stickyBackend });
const byHash = (ip: string, some: readonly Backend[]) =>
  some.toSorted((x, y) => score(hashText(ip), y) - score(hashText(ip), x));

describe("the best candidate", () => {
  const ranks = new Map([
    [a, 2],
    [b, 1],
    [c, 1],
  ]);
  const rankOf = (backend: Backend) => ranks.get(backend);

  it("is by rank, then by the client's own order", () => {
    for (const ip of ips) expect(bestCandidate(backends, clientOf(ip), rankOf)).toBe(byHash(ip, [b, c])[0]);
  });

  it("is the sticky backend within its rank, and in no better one", () => {
    for (const ip of ips) {
      expect(bestCandidate(backends, clientOf(ip, c), rankOf)).toBe(c);
      expect(bestCandidate(backends, clientOf(ip, a), rankOf)).toBe(byHash(ip, [b, c])[0]);
    }
  });

  it("may have the rank 0", () => {
    const once = (backend: Backend) => (backend === a ? 0 : 1);
    for (const ip of ips) expect(bestCandidate(backends, clientOf(ip, b), once)).toBe(a);
  });

  it("is none where none has a rank", () => {
    expect(bestCandidate(backends, clientOf("192.0.2.1", a), () => undefined)).toBeUndefined();
  });

  it("is one for a client without an address too", () => {
    expect(bestCandidate(backends, clientOf(""), () => 1)).toBe(byHash("", backends)[0]);
  });
});

describe("the client's own order", () => {
  it("is by the hash, primaries before backups", () => {
    for (const ip of ips) expect(inClientOrder([d, c, b, a], clientOf(ip))).toEqual([...byHash(ip, [a, b, c]), d]);
  });

  it("begins with the sticky backend, but a backup stays behind the primaries", () => {
    for (const ip of ips) {
      expect(inClientOrder(backends, clientOf(ip, c))).toEqual([c, ...byHash(ip, [a, b]), d]);
      expect(inClientOrder(backends, clientOf(ip, d))).toEqual([...byHash(ip, [a, b, c]), d]);
    }
  });

  it("changes nothing", () => {
    const some = Object.freeze([c, a, b]);
    expect(inClientOrder(some, clientOf("192.0.2.1"))).not.toBe(some);
    expect(some).toEqual([c, a, b]);
  });
});
