import { beforeEach, describe, expect, it } from "vitest";
import type { Backend } from "../../../src/config.ts";
import {
  beginCheck,
  type Finding,
  type Health,
  healthOf,
  newHealth,
  outdone,
  takeFinding,
} from "../../../src/health/findings.ts";
import { type AskedBackends, downCandidates, nextCandidate } from "../../../src/selection/candidates.ts";
import { found } from "../health/given.ts";
import { backendOf, configWith } from "../sample.ts";

const config = configWith({ BACKEND_D: "d.example.net backup", BACKEND_E: "e.example.net backup" });
const [a, b, c, d, e] = config.backends as [Backend, Backend, Backend, Backend, Backend];
const NOW_MS = 100_000;

let health: Health;
let asked: AskedBackends;
let client: { bound: Backend | undefined; ip: string };
let patience: { hasAnswer: boolean; isIdempotent: boolean };

const next = () => nextCandidate(config, health, client, asked, patience, NOW_MS);
const down = (backend: Backend, result: Finding["result"] = "bad status") =>
  takeFinding(healthOf(health, backend.id), found(result, 1_000), 1_000, false);
const suspect = (backend: Backend) => beginCheck(healthOf(health, backend.id), NOW_MS - 1_000, 4_000);

/** Asks one after the other, as long as there is one; each gives such an answer. */
function askAll(answer: "done" | "may be asked again"): (Backend | undefined)[] {
  const order: Backend[] = [];
  for (let backend = next(); backend && order.length < 20; backend = next()) {
    order.push(backend);
    asked.set(backend, asked.has(backend) ? "done" : answer);
  }
  return order;
}

beforeEach(() => {
  health = newHealth(0);
  asked = new Map();
  client = { bound: undefined, ip: "192.0.2.1" };
  patience = { hasAnswer: false, isIdempotent: true };
});

describe("the next candidate", () => {
  it("is the one that the session cookie names", () => {
    for (const bound of [a, b, c]) {
      client.bound = bound;
      expect(next()).toBe(bound);
    }
  });

  it("is another one when the one that the cookie names is down, or was asked", () => {
    client.bound = a;
    down(a);
    expect([b, c]).toContain(next());
    health = newHealth(0);
    asked.set(a, "done");
    expect([b, c]).toContain(next());
  });

  it("is another one when the one that the cookie names is suspect", () => {
    client.bound = a;
    suspect(a);
    expect([b, c]).toContain(next());
  });

  it("is a backup only when no other backend is up", () => {
    for (const backend of [a, b, c]) asked.set(backend, "done");
    expect([d, e]).toContain(next());
    asked.clear();
    for (const backend of [a, b, c]) down(backend);
    expect([d, e]).toContain(next());
  });

  it("is another backend than the backup that the cookie names, as soon as one is up", () => {
    client.bound = d;
    expect([a, b, c]).toContain(next());
    for (const backend of [a, b, c]) down(backend);
    expect(next()).toBe(d);
  });

  it("is a backup before a backend that threw a network error, and that before a suspect", () => {
    asked.set(a, "may be asked again");
    down(b);
    suspect(c);
    down(e);
    expect(askAll("done")).toEqual([d, a, c]);
  });

  it("is a backend that threw a network error once more, and then no more", () => {
    for (const backend of [b, c, d, e]) down(backend);
    expect(askAll("may be asked again")).toEqual([a, a]);
  });

  it("is no backend again when the request may not be carried out twice", () => {
    patience.isIdempotent = false;
    expect(new Set(askAll("may be asked again")).size).toBe(5);
    expect(next()).toBeUndefined();
  });

  it("is no backend again that is not up any more", () => {
    asked.set(a, "may be asked again").set(b, "may be asked again");
    down(a);
    suspect(b);
    for (const backend of [c, d, e]) down(backend);
    expect(next()).toBeUndefined();
  });

  it("is a suspect when nobody better is left, the cookie's before the others", () => {
    for (const backend of [a, b, c, d]) suspect(backend);
    client.bound = c;
    expect(next()).toBe(e);
    asked.set(e, "done");
    expect(next()).toBe(c);
  });

  it("is no suspect once an answer is in hand", () => {
    patience.hasAnswer = true;
    for (const backend of config.backends) suspect(backend);
    expect(next()).toBeUndefined();
  });

  it("is a backend that is up, also with an answer in hand", () => {
    patience.hasAnswer = true;
    for (const backend of [a, b, c]) asked.set(backend, "done");
    expect([d, e]).toContain(next());
  });

  it("is none that is down", () => {
    for (const backend of config.backends) down(backend);
    expect(next()).toBeUndefined();
  });

  it("is nobody that is out for its failures", () => {
    for (const user of "vwxyz") outdone(healthOf(health, "a"), user, 1_000, 1_000, 30_000);
    client.bound = a;
    expect([b, c]).toContain(next());
  });

  it("is not the same for all clients", () => {
    const first = new Set(
      Array.from({ length: 50 }, (_, n) =>
        nextCandidate(config, health, { bound: undefined, ip: `192.0.2.${n}` }, asked, patience, NOW_MS),
      ),
    );
    expect(first).toEqual(new Set([a, b, c]));
  });

  it("is there for a client without an address", () => {
    client.ip = "";
    expect([a, b, c]).toContain(next());
  });
});

describe("the backends that are tried blindly", () => {
  const blind = () => downCandidates(config, health, client, asked, NOW_MS);

  it("are those that are down and were not asked", () => {
    expect(blind()).toEqual([]);
    for (const backend of [a, b, d]) down(backend);
    asked.set(b, "done").set(c, "may be asked again");
    expect(new Set(blind())).toEqual(new Set([a, d]));
  });

  it("include those that are out for their failures", () => {
    for (const user of "vwxyz") outdone(healthOf(health, "a"), user, 1_000, 1_000, 30_000);
    expect(blind()).toEqual([a]);
  });

  it("come in the client's own order, its cookie's first, those that were silent last", () => {
    const weightless = blindOrder("bad status");
    expect(new Set(weightless)).toEqual(new Set([a, b, c, d, e]));
    health = newHealth(0);
    const [first, second, ...rest] = weightless as [Backend, Backend, ...Backend[]];
    down(first, "no answer");
    for (const backend of [second, ...rest]) down(backend, "network error");
    expect(blind()).toEqual([second, ...rest, first]);
    client.bound = rest[0];
    expect(blind()[0]).toBe(rest[0]);
  });

  it("come last as well whose check is silent now, whatever the one before found", () => {
    const [first, ...rest] = blindOrder("bad status") as [Backend, ...Backend[]];
    beginCheck(healthOf(health, first.id), NOW_MS, 4_000);
    expect(blind()).toEqual([...rest, first]);
  });

  it("come with the cookie's among those that were silent, when it was", () => {
    down(a, "no answer");
    down(b, "no answer");
    down(c);
    client.bound = b;
    expect(blind()).toEqual([c, b, a]);
  });

  function blindOrder(result: Finding["result"]): Backend[] {
    for (const backend of config.backends) down(backend, result);
    return blind();
  }
});

it("gives a heavier backend more clients", () => {
  const weighted = configWith({ BACKEND_A: "a.example.net weight=8" });
  const heavy = backendOf(weighted, "a");
  const firsts = Array.from({ length: 200 }, (_, n) =>
    nextCandidate(weighted, health, { bound: undefined, ip: `198.51.100.${n}` }, asked, patience, NOW_MS),
  );
  expect(firsts.filter((backend) => backend === heavy).length).toBeGreaterThan(130);
});
