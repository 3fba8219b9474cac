import { beforeEach, describe, expect, it } from "vitest";
import { type Backend, parseConfig } from "../../src/config.ts";
import { eject, type Health } from "../../src/health.ts";
import { type Asked, NEVER_AGAIN, nextBackend } from "../../src/selection.ts";

const { backends } = parseConfig({
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_A: "a.example.net",
  BACKEND_B: "b.example.net",
  BACKEND_C: "c.example.net",
});
const [a, b, c] = backends as [Backend, Backend, Backend];

let health: Health;
let asked: Asked;
const next = (bound?: Backend, ip = "192.0.2.1") => nextBackend(backends, { bound, ip }, asked, health);
const down = (backend: Backend) => eject(health, backend.id, { reason: "network error", acquittable: false }, 0, 1_000);

/** The order in which a client without a cookie tries the backends when each stays silent. */
function orderOf(ip: string): Backend[] {
  const order: Backend[] = [];
  const tried: Asked = new Map();
  for (;;) {
    const backend = nextBackend(backends, { bound: undefined, ip }, tried, health);
    if (!backend) return order;
    order.push(backend);
    tried.set(backend, NEVER_AGAIN);
  }
}

beforeEach(() => {
  health = new Map();
  asked = new Map();
});

describe("the next backend", () => {
  it("is the one that the session cookie names", () => {
    expect([a, b, c].map((bound) => next(bound))).toEqual([a, b, c]);
  });

  it("is another one when the one that the cookie names is out", () => {
    down(b);
    expect(next(b)).not.toBe(b);
  });

  it("is one that is up before any that is out", () => {
    down(a);
    down(b);
    expect(next()).toBe(c);
  });

  it("is one that is out, as a last resort, when the others have answered", () => {
    down(a);
    asked.set(b, NEVER_AGAIN).set(c, NEVER_AGAIN);
    expect(next()).toBe(a);
  });

  it("is the bound one among those that are out", () => {
    for (const backend of backends) down(backend);
    expect([a, b, c].map((bound) => next(bound))).toEqual([a, b, c]);
  });

  it("is one that threw a network error only after all others", () => {
    asked.set(a, 1).set(b, NEVER_AGAIN);
    down(c);
    expect(next(a)).toBe(c);
    asked.set(c, NEVER_AGAIN);
    expect(next(a)).toBe(a);
  });

  it("is the one with fewer network errors", () => {
    asked.set(a, 2).set(b, 1).set(c, 2);
    expect(next(a)).toBe(b);
  });

  it("is none once all have answered or stayed silent", () => {
    for (const backend of backends) asked.set(backend, NEVER_AGAIN);
    expect(next(a)).toBeUndefined();
  });

  it("follows the client's own order", () => {
    const order = orderOf("192.0.2.1");
    expect(new Set(order)).toEqual(new Set(backends));
    expect(next()).toBe(order[0]);
    down(order[0] as Backend);
    expect(next()).toBe(order[1]);
  });

  it("is not the same order for all clients", () => {
    const orders = Array.from({ length: 50 }, (_, n) =>
      orderOf(`192.0.2.${n}`)
        .map(({ id }) => id)
        .join(),
    );
    expect(new Set(orders).size).toBe(6);
  });
});
