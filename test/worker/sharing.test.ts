import { describe, it } from "vitest";
import { type CacheMode, CacheService } from "../support/cache-service.ts";
import { boundTo, CHECKS_ON_REQUEST, IDS, SECRET, startLoadBalancer } from "../support/fixture.ts";

/** A cache, and no isolate as yet. */
const DATA_CENTRE = { isolates: 0, hasCache: true };

describe.concurrent("the isolates of a data centre", () => {
  it("share that a backend is ejected, and that it has recovered, and no secret and no host", async ({ expect }) => {
    await using dc = await startLoadBalancer(CHECKS_ON_REQUEST, DATA_CENTRE);
    const [finder, other] = await Promise.all([dc.isolate({ BACKEND_DOWN_TIME: 0 }), dc.isolate()]);
    const secretive = { headers: { Authorization: SECRET } };
    /** What the other one knows of `cf`, after one more request to each. */
    const changes = async () => {
      await Promise.all([finder.fetch("/", boundTo("cf", secretive)), other.fetch("/", boundTo("duck", secretive))]);
      return dc.changes("cf", other);
    };
    expect(await changes()).toEqual([]);
    await dc.cf.kill();
    await expect.poll(changes).toEqual(["ejected"]);
    expect(await dc.servedBy(boundTo("cf"), other)).not.toBe("cf");
    await dc.cf.start();
    await expect.poll(changes).toEqual(["ejected", "recovered"]);
    expect(other.log).toMatchObject([{ shared: true }, { shared: true }]);
    expect(finder.output).not.toContain("shared");

    const written = dc.cache.operations.map(({ url, text }) => url + text).join();
    expect(written).not.toContain(SECRET);
    for (const host of ["127.0.0.1", ...dc.backends.map(({ port }) => String(port))])
      expect(written).not.toContain(host);
  });

  it("leave the cache alone with SHARE_HEALTH=false", async ({ expect }) => {
    await using dc = await startLoadBalancer({ SHARE_HEALTH: "false" }, DATA_CENTRE);
    const isolate = await dc.isolate();
    await dc.cf.kill();
    await dc.servedBy(boundTo("cf"), isolate);
    await expect.poll(() => dc.changes("cf", isolate)).toEqual(["ejected"]);
    expect(dc.cache.operations).toEqual([]);
  });
});

const TROUBLES: readonly CacheMode[] = [
  { kind: "hang" },
  { kind: "stall" },
  { kind: "status", status: 500 },
  { kind: "reset" },
  { kind: "contents", text: "\0\xff" },
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
    for (const { operations } of caches.slice(0, -1)) expect(operations.length).toBeGreaterThan(0);
    await lb.cf.kill();
    for (const isolate of isolates) expect(await lb.servedBy(boundTo("cf"), isolate)).not.toBe("cf");
    for (const isolate of isolates) await expect.poll(() => lb.changes("cf", isolate)).toEqual(["ejected"]);
  } finally {
    await Promise.all(caches.map((cache) => cache.stop()));
  }
});
