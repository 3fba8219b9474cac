import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { boundTo, IDS, type Id, type LoadBalancer, startLoadBalancer } from "../support/fixture.ts";

const ATTACK = "/attack";
const ATTACK_MS = 1_500;
const SLOW_MS = 400;

/** What a URL does to the backend that it is asked of. */
const KINDS = {
  "a 500": (_, response) => void response.writeHead(500).end(),
  "a 503": (_, response) => void response.writeHead(503).end(),
  "a 521": (_, response) => void response.writeHead(521).end(),
  "a hang": () => {},
  "a reset": ({ socket }) => void socket.resetAndDestroy(),
  garbage: ({ socket }) => void socket.end("no HTTP at all\r\n\r\n"),
  "a 101 that nobody asked for": ({ socket }) =>
    void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
} satisfies Record<string, (request: IncomingMessage, response: ServerResponse) => void>;

type Kind = keyof typeof KINDS;

/** Two on each backend; one of them asks for what takes long, so that it is answered seldom. */
const BYSTANDERS = IDS.flatMap((id, i) => [
  { id, ip: `192.0.2.${i}`, isSlow: false },
  { id, ip: `198.51.100.${i}`, isSlow: true },
]);

interface Sight {
  readonly url: string;
  readonly boundTo: Id;
  readonly servedBy: string;
  readonly session: string | undefined;
  readonly ms: number;
}

/** One client asks fifty times a second for what breaks some backends, while others go about their business. */
async function attack(lb: LoadBalancer, isOver = inAWhile()): Promise<Sight[]> {
  const sights: Sight[] = [];
  const leaves = new AbortController();
  const attacker = async () => {
    const options = boundTo("cf", { ip: "203.0.113.66", signal: leaves.signal });
    while (!isOver()) {
      lb.worker.fetch(ATTACK, options).catch(() => {});
      await sleep(20);
    }
    leaves.abort();
  };
  const bystander = async ({ id, ip, isSlow }: (typeof BYSTANDERS)[number]) => {
    while (!leaves.signal.aborted) {
      const url = `/${isSlow ? "slow" : "fast"}/${ip}/${sights.length}`;
      const startedMs = performance.now();
      const { text, session } = await lb.worker.fetch(url, boundTo(id, { ip }));
      sights.push({ url, boundTo: id, servedBy: text, session, ms: performance.now() - startedMs });
      if (!isSlow) await sleep(30);
    }
  };
  await Promise.all([attacker(), ...BYSTANDERS.map(bystander)]);
  return sights;
}

function inAWhile(): () => boolean {
  const startedMs = performance.now();
  return () => performance.now() - startedMs > ATTACK_MS;
}

/** Has backends answer every URL with their id, but for that of the attack; and reset some of the connections that are reused. */
function prepare(lb: LoadBalancer, kind: Kind, attacked: readonly Id[], isStale = () => false): Set<string> {
  const broken = new Set<string>();
  for (const backend of lb.backends) {
    const known = new Set<Socket>();
    backend.onRequest = async (request, response) => {
      const { url = "", socket } = request;
      const isReused = known.has(socket);
      known.add(socket);
      if (isReused && isStale()) {
        broken.add(url);
        return void socket.resetAndDestroy();
      }
      if (url === ATTACK && attacked.includes(backend.id as Id)) return KINDS[kind](request, response);
      if (url.startsWith("/slow")) await sleep(SLOW_MS);
      response.end(backend.id);
    };
  }
  return broken;
}

/** A machine that is too busy to answer a check within a second makes a suspect of a good backend. */
function hasStoodStill(sights: readonly Sight[]): boolean {
  return sights.some(({ ms }) => ms > 900);
}

function expectNobodyEjected({ worker }: LoadBalancer): void {
  expect(worker.log.filter(({ event }) => event === "ejected")).toEqual([]);
}

const kinds = Object.keys(KINDS) as Kind[];

describe.concurrent.each(kinds)("a URL that is answered with %s, asked fifty times a second", (kind) => {
  it.each([
    ["by one backend", ["cf"] as const],
    ["by every backend", IDS],
  ])("%s moves nobody else", async (_, attacked) => {
    for (let triesLeft = 4; ; triesLeft--) {
      await using lb = await startLoadBalancer();
      prepare(lb, kind, attacked);
      const sights = await attack(lb);
      if (triesLeft > 0 && hasStoodStill(sights)) continue;
      expectNobodyEjected(lb);
      expect(sights.filter(({ boundTo, servedBy }) => boundTo !== servedBy)).toEqual([]);
      expect(sights.filter(({ session }) => session !== undefined)).toEqual([]);
      return;
    }
  });
});

describe.concurrent("one reused connection in twenty that is stale", () => {
  it("moves only the request that it breaks, and no session", async () => {
    await using lb = await startLoadBalancer({ PROBE_AFTER: 60_000 });
    let reused = 0;
    const broken = prepare(lb, "a 500", [], () => ++reused % 20 === 0);
    const sights = await attack(lb, () => broken.size >= 10);
    expectNobodyEjected(lb);
    expect(sights.filter(({ url, boundTo, servedBy }) => boundTo !== servedBy && !broken.has(url))).toEqual([]);
    expect(sights.filter(({ servedBy }) => !(IDS as readonly string[]).includes(servedBy))).toEqual([]);
    expect(sights.filter(({ session }) => session !== undefined)).toEqual([]);
  });
});
