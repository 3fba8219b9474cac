import { describe, expect, it } from "vitest";
import type { Echo } from "../support/backend.ts";
import { DataCentre, Traffic } from "../support/data-centre.ts";
import { boundTo, changesOf, type Id } from "../support/fixture.ts";
import { handshake } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import type { Options, Worker } from "../support/worker.ts";
import type { Vars } from "../support/workerd.ts";

const AN_HOUR_MS = 3_600_000;

/** Three backends with these options behind their addresses, and a Worker without a cache. */
async function start(options: Partial<Record<Id, string>>, vars: Vars = {}): Promise<[DataCentre, Worker]> {
  const dc = await DataCentre.start();
  const addresses = dc.backends.map(({ id, url }) => [
    `BACKEND_${id.toUpperCase()}`,
    `${url} ${options[id as Id] ?? ""}`,
  ]);
  return [dc, await dc.isolate({ ...Object.fromEntries(addresses), PROBE_AFTER: 100, ...vars }, {})];
}

async function idOf(worker: Worker, options: Options = {}): Promise<string> {
  const { status, text } = await worker.fetch("/", options);
  expect(status, text).toBe(200);
  return (JSON.parse(text) as Echo).id;
}

function clients(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `203.0.${i >> 8}.${i & 255}`);
}

/** The backend of each of so many clients. */
async function homes(worker: Worker, count: number): Promise<string[]> {
  const found: string[] = [];
  const ips = clients(count);
  for (let i = 0; i < count; i += 50) {
    found.push(...(await Promise.all(ips.slice(i, i + 50).map((ip) => idOf(worker, { ip })))));
  }
  return found;
}

/** Has requests find each of these backends dead. */
async function findDead(worker: Worker, ...ids: Id[]): Promise<void> {
  await until("they are ejected", async () => {
    for (const id of ids) await idOf(worker, boundTo(id));
    return ids.every((id) => changesOf({ worker }, id).at(-1) === "ejected");
  });
}

describe.concurrent("a backup", () => {
  it("is reached by nothing at all while another backend is up", async () => {
    const vars = { HEALTH_CHECK_INTERVAL: 1_000, BACKEND_DOWN_TIME: 200, STATUS_PATH: "/status" };
    const [dc, worker] = await start({ koyeb: "backup" }, vars);
    await using _dc = dc;
    const visit = async () => {
      expect(await homes(worker, 60)).not.toContain("koyeb");
      expect(await idOf(worker, { method: "POST", body: "x".repeat(2_000_000) })).not.toBe("koyeb");
      expect((await handshake(worker, "/socket")).headers["x-served-by-backend"]).not.toBe("koyeb");
      expect((await worker.fetch("/status")).status).toBe(200);
      const { text, session } = await worker.fetch("/", boundTo("koyeb"));
      expect(session).toMatch(/cf|duck/);
      expect(JSON.parse(text).id).toBe(session);
      const { headers } = await handshake(worker, "/socket", boundTo("koyeb"));
      expect(headers["x-served-by-backend"]).not.toBe("koyeb");
      expect(headers["set-cookie"]?.[0]).toMatch(/^aiostreams_backend=(cf|duck);/);
    };
    await visit();
    await dc.cf.kill();
    await findDead(worker, "cf");
    await visit();
    await using _traffic = Traffic.begin(worker, boundTo("koyeb"));
    const { checks } = dc.duck;
    await until("another one is checked by its age", () => dc.duck.checks >= checks + 2);
    expect({ checks: dc.koyeb.checks, seen: dc.koyeb.seen, connections: dc.koyeb.connections.size }).toEqual({
      checks: 0,
      seen: [],
      connections: 0,
    });
  });

  it.each([
    ["GET", {}],
    ["POST", { method: "POST", body: "carried out once" }],
  ])("takes over within the request that finds the last other one dead: %s", async (_, options) => {
    const [dc, worker] = await start({ koyeb: "backup" });
    await using _dc = dc;
    await Promise.all([dc.cf.kill(), dc.duck.kill()]);
    expect(await idOf(worker, boundTo("cf", options))).toBe("koyeb");
    expect(dc.koyeb.seen).toHaveLength(1);
  });

  it("takes over within the WebSocket handshake that finds the last other one dead", async () => {
    const [dc, worker] = await start({ koyeb: "backup" });
    await using _dc = dc;
    await Promise.all([dc.cf.kill(), dc.duck.kill()]);
    const { statusCode, headers } = await handshake(worker, "/socket", boundTo("cf"));
    expect([statusCode, headers["x-served-by-backend"]]).toEqual([101, "koyeb"]);
  });

  it("serves while all others are suspect, and no session moves before they are down", async () => {
    const [dc, worker] = await start({ koyeb: "backup" }, { BACKEND_DOWN_TIME: AN_HOUR_MS });
    await using _dc = dc;
    for (const backend of [dc.cf, dc.duck]) backend.mode = { kind: "hang" };
    {
      await using cf = Traffic.begin(worker, boundTo("cf"));
      await using duck = Traffic.begin(worker, boundTo("duck"));
      // Those that began to wait when nobody was suspect yet are answered later, and by then all may be down.
      const keeps = ({ passed }: Traffic) =>
        passed.some(({ text, session }) => JSON.parse(text).id === "koyeb" && session === undefined);
      await until("both keep their sessions", () => keeps(cf) && keeps(duck));
    }
    await findDead(worker, "cf", "duck");
    for (const id of ["cf", "duck"]) expect((await worker.fetch("/", boundTo(id))).session).toBe("koyeb");
  });

  it("gives its clients back, with their sessions, once another backend is up, and sleeps again", async () => {
    const [dc, worker] = await start({ koyeb: "backup" }, { BACKEND_DOWN_TIME: 200, HEALTH_CHECK_INTERVAL: 1_000 });
    await using _dc = dc;
    const before = await homes(worker, 30);
    await Promise.all([dc.cf.kill(), dc.duck.kill()]);
    await findDead(worker, "cf", "duck");
    expect((await worker.fetch("/", boundTo("cf"))).session).toBe("koyeb");
    expect(await homes(worker, 30)).toEqual(before.map(() => "koyeb"));

    await dc.duck.start();
    await until("duck is back", async () => (await idOf(worker, boundTo("koyeb"))) === "duck");
    expect((await worker.fetch("/", boundTo("koyeb"))).session).toBe("duck");
    expect(await homes(worker, 30)).toEqual(before.map(() => "duck"));
    await dc.cf.start();
    await until("cf is back", async () => (await idOf(worker, boundTo("cf"))) === "cf");
    expect(await homes(worker, 30)).toEqual(before);

    const asked = [dc.koyeb.checks, dc.koyeb.seen.length];
    await using _traffic = Traffic.begin(worker, boundTo("duck"));
    const { checks } = dc.duck;
    await until("another one is checked by its age", () => dc.duck.checks >= checks + 2);
    expect([dc.koyeb.checks, dc.koyeb.seen.length]).toEqual(asked);
  });

  it("in service is checked like any other: by its age, ejected when it is dead, and back when it is well", async () => {
    const [dc, worker] = await start({ koyeb: "backup" }, { BACKEND_DOWN_TIME: 200, HEALTH_CHECK_INTERVAL: 1_000 });
    await using _dc = dc;
    await Promise.all([dc.cf.kill(), dc.duck.kill()]);
    await using _traffic = Traffic.begin(worker);
    await until("it is checked by its age", () => dc.koyeb.checks >= 3);
    dc.koyeb.mode = { kind: "status", status: 503 };
    await until("it is ejected", () => changesOf({ worker }, "koyeb").at(-1) === "ejected");
    dc.koyeb.mode = { kind: "well" };
    await until("it is back", () => changesOf({ worker }, "koyeb").at(-1) === "back");
    expect(await idOf(worker)).toBe("koyeb");
  });

  it("whose host was asleep is waited for by all who come meanwhile, for as long as it takes to start", async () => {
    const [dc, worker] = await start({ koyeb: "backup" });
    await using _dc = dc;
    // The platform of a sleeping app accepts connections, and answers neither users nor checks before it has started.
    dc.koyeb.mode = { kind: "frozen" };
    await Promise.all([dc.cf.kill(), dc.duck.kill()]);
    const answered: string[] = [];
    const ask = async (options: Options) => void answered.push(await idOf(worker, options));
    const requests = [ask(boundTo("cf")), ask(boundTo("duck", { method: "POST", body: "x".repeat(1_000) }))];
    await until("its check has had no answer", () => changesOf({ worker }, "koyeb").length > 0);
    requests.push(ask(boundTo("cf")), ask({ method: "PUT", body: "x" }), ask(boundTo("koyeb")));
    await until("it is checked again", () => dc.koyeb.checks >= 2);
    await until("all have come", () => dc.koyeb.seen.length === requests.length);
    expect(answered).toEqual([]);
    dc.koyeb.mode = { kind: "well" };
    await Promise.all(requests);
    expect(answered).toEqual(requests.map(() => "koyeb"));
    await until("it is up", () => changesOf({ worker }, "koyeb").at(-1) === "back");
  });
});

describe.concurrent("weights", () => {
  it("give each backend its share of clients", async () => {
    const [dc, worker] = await start({ cf: "weight=1", duck: "weight=2", koyeb: "weight=5" });
    await using _dc = dc;
    expectShares(await homes(worker, 400), { cf: 50, duck: 100, koyeb: 250 });
  });

  it("give several backups their shares of all clients once the last primary is dead", async () => {
    const [dc, worker] = await start({ duck: "backup weight=3", koyeb: "backup" });
    await using _dc = dc;
    expectShares(await homes(worker, 50), { cf: 50 });
    await dc.cf.kill();
    await findDead(worker, "cf");
    expectShares(await homes(worker, 400), { duck: 300, koyeb: 100 });
  });

  it("spread the clients of a dead backend over those that are left, and move no other", async () => {
    const [dc, worker] = await start({ cf: "weight=4", duck: "weight=1", koyeb: "weight=3" });
    await using _dc = dc;
    const before = await homes(worker, 400);
    await dc.cf.kill();
    await findDead(worker, "cf");
    const after = await homes(worker, 400);
    expect(after.filter((id, i) => id !== before[i])).toHaveLength(before.filter((id) => id === "cf").length);
    expectShares(after, { duck: 100, koyeb: 300 });
  });

  it("move no client that has a session", async () => {
    const [dc, worker] = await start({ cf: "weight=1", duck: "weight=100", koyeb: "weight=100" });
    await using _dc = dc;
    for (const ip of clients(20)) expect(await idOf(worker, boundTo("cf", { ip }))).toBe("cf");
  });

  /** The addresses are fixed and so is the hash: what is right once is right always. */
  function expectShares(found: readonly string[], expected: Readonly<Partial<Record<Id, number>>>): void {
    expect([...new Set(found)].sort()).toEqual(Object.keys(expected));
    for (const [id, share] of Object.entries(expected)) {
      const count = found.filter((home) => home === id).length;
      expect(Math.abs(count - share) / share, `${id} has ${count} of ${share}`).toBeLessThan(0.2);
    }
  }
});
