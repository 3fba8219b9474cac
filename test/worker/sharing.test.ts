import { describe, it } from "vitest";
import type { Behaviour } from "../support/backend.ts";
import { type CacheMode, CacheService } from "../support/cache-service.ts";
import { boundTo, CHECKS_ON_REQUEST, IDS, SECRET, startDataCentre, startLoadBalancer } from "../support/fixture.ts";
import { Traffic } from "../support/traffic.ts";

describe.concurrent("the isolates of a data centre", () => {
  it("share that a backend is ejected, and that it has recovered, and no secret and no host", async ({ expect }) => {
    await using dc = await startDataCentre(CHECKS_ON_REQUEST);
    const [finder, other] = await Promise.all([dc.isolate({ BACKEND_DOWN_TIME: 0 }), dc.isolate()]);
    const secretive = { headers: { Authorization: SECRET } };
    await using _finders = Traffic.begin(finder, boundTo("cf", secretive));
    await using _others = Traffic.begin(other, boundTo("duck", secretive));
    await expect.poll(() => dc.cf.seen.length > 0 && dc.duck.seen.length > 0).toBe(true);
    await dc.cf.kill();
    await expect.poll(() => dc.changes("cf", other)).toEqual(["ejected"]);
    expect(await dc.servedBy(boundTo("cf"), other)).not.toBe("cf");
    await dc.cf.start();
    await expect.poll(() => dc.changes("cf", other)).toEqual(["ejected", "recovered"]);
    expect(other.log).toMatchObject([{ shared: true }, { shared: true }]);
    expect(finder.output).not.toContain("shared");

    const written = dc.cache.operations.map(({ url, text }) => url + text).join();
    expect(written).not.toContain(SECRET);
    for (const host of ["127.0.0.1", ...dc.backends.map(({ port }) => String(port))])
      expect(written).not.toContain(host);
  });

  it("read before the first selection of a cold one, which sends nothing to the dead backend and moves its sessions", async ({
    expect,
  }) => {
    await using dc = await startDataCentre(CHECKS_ON_REQUEST);
    const dead: Behaviour = { kind: "status", status: 503 };
    dc.cf.mode = dead;
    await dc.servedBy(boundTo("cf"), await dc.isolate());
    await expect.poll(() => [...dc.cache.entries.values()].join()).toContain("bad status");
    dc.cf.mode = { kind: "well", health: dead };
    // A cold isolate waits for 100 ms at most, which may not be enough on a busy machine; then another one is asked.
    const session = async () => {
      const isolate = await dc.isolate();
      const asked = dc.cf.seen.length;
      const { session } = await isolate.fetch("/", boundTo("cf"));
      return dc.cf.seen.length === asked ? session : "asked the dead backend";
    };
    await expect.poll(session).toMatch(/duck|koyeb/);
  });

  it("leave the cache alone with SHARE_HEALTH=false", async ({ expect }) => {
    await using dc = await startDataCentre({ SHARE_HEALTH: "false" });
    const isolate = await dc.isolate();
    await dc.cf.kill();
    await dc.servedBy(boundTo("cf"), isolate);
    await expect.poll(() => dc.changes("cf", isolate)).toEqual(["ejected"]);
    expect(dc.cache.operations).toEqual([]);
  });
});

/** What stands there instead of an entry: half of it is nonsense, and the rest is from the future. */
const NONSENSE = JSON.stringify({
  cf: { result: { kind: "bad status", status: 503, tookMs: 5, atMs: Date.now() + 3_600_000 }, ejectionsMs: [-1, "1"] },
  duck: { result: { kind: "worse", status: "503", tookMs: -5, atMs: null } },
  koyeb: [[]],
  __proto__: null,
});

const TROUBLES: readonly CacheMode[] = [
  { kind: "hang" },
  { kind: "stall" },
  { kind: "status", status: 500 },
  { kind: "reset" },
  { kind: "contents", text: "\0\xff" },
  { kind: "contents", text: NONSENSE },
];

it("a cache that is absent, broken or full of nonsense is noticed by no request, and each isolate checks for itself", async ({
  expect,
}) => {
  await using lb = await startLoadBalancer(CHECKS_ON_REQUEST);
  const caches = await Promise.all([...TROUBLES, undefined].map(() => CacheService.start()));
  try {
    for (const [i, mode] of TROUBLES.entries()) if (caches[i]) caches[i].mode = mode;
    await caches.at(-1)?.stop(); // It refuses connections.
    const withCache = caches.map(({ address }) => lb.isolate({}, { cacheService: address }));
    const isolates = [lb.worker, ...(await Promise.all(withCache))];
    for (const isolate of isolates) {
      for (const id of IDS) {
        const { status, session, text } = await isolate.fetch("/", boundTo(id));
        expect([status, session, JSON.parse(text).id]).toEqual([200, undefined, id]);
      }
    }
    for (const { readings } of caches.slice(0, -1)) expect(readings.length).toBeGreaterThan(0);
    await lb.cf.kill();
    for (const isolate of isolates) expect(await lb.servedBy(boundTo("cf"), isolate)).not.toBe("cf");
    for (const isolate of isolates) await expect.poll(() => lb.changes("cf", isolate)).toEqual(["ejected"]);
  } finally {
    await Promise.all(caches.map((cache) => cache.stop()));
  }
});
