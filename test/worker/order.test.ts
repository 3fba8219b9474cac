import { describe, expect, it } from "vitest";
import { boundTo, HINTS_ONLY, IDS, type LoadBalancer, startLoadBalancer, takeDown } from "../support/fixture.ts";
import type { Options } from "../support/worker.ts";

/** Has every backend answer with these statuses in turn, or break its connections where one is 0. Returns who was asked, in order. */
function recordOrder(lb: LoadBalancer, statuses: Readonly<Record<string, readonly number[]>>): string[] {
  const order: string[] = [];
  for (const backend of lb.backends) {
    let asked = 0;
    backend.onRequest = ({ socket }, response) => {
      order.push(backend.id);
      const status = (statuses[backend.id] ?? [503])[asked++] ?? 503;
      if (status === 0) socket.resetAndDestroy();
      else response.writeHead(status).end(backend.id);
    };
  }
  return order;
}

async function orderOf(lb: LoadBalancer, options: Options): Promise<string[]> {
  const order = recordOrder(lb, {});
  expect((await lb.worker.fetch("/", options)).status).toBe(503);
  return order;
}

describe.concurrent("the order in which backends are asked", () => {
  it("is the client's own, and each is asked once", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, MAX_RETRIES: 10 });
    const orders = new Set<string>();
    for (let i = 0; i < 30; i++) {
      const order = await orderOf(lb, { ip: `192.0.2.${i}` });
      expect([...order].sort()).toEqual(IDS);
      expect(await orderOf(lb, { ip: `192.0.2.${i}` }), "the same again").toEqual(order);
      orders.add(order.join());
    }
    expect(orders.size, "whoever fails, its clients spread over the others").toBe(6);
  });

  it.each(IDS)(
    "begins with the backend of the client's session, and goes on as it does without one: %s",
    async (id) => {
      await using lb = await startLoadBalancer(HINTS_ONLY);
      for (let i = 0; i < 5; i++) {
        const ip = `192.0.2.${i}`;
        const order = await orderOf(lb, { ip });
        expect(await orderOf(lb, boundTo(id, { ip }))).toEqual([id, ...order.filter((other) => other !== id)]);
      }
    },
  );

  it("ends with those that broke a connection, once more each", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, MAX_RETRIES: 10 });
    const first = recordOrder(lb, { cf: [0, 200] });
    expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 200, text: "cf" });
    expect(first).toEqual(["cf", expect.stringMatching(/duck|koyeb/), expect.stringMatching(/duck|koyeb/), "cf"]);

    const broken = { cf: [0, 0, 0], duck: [0, 0, 0], koyeb: [0, 0, 0] };
    const second = recordOrder(lb, broken);
    expect((await lb.worker.fetch("/", boundTo("cf"))).status).toBe(502);
    expect(second).toHaveLength(6);
    expect([...second.slice(0, 3)].sort()).toEqual(IDS);
    expect(second.slice(3)).toEqual(second.slice(0, 3));
  });

  it("has a suspect behind those that broke a connection, but before nobody", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 100 });
    lb.cf.mode = { kind: "hang" };
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf"); // It is suspect for two seconds from now on.
    const others = expect.stringMatching(/duck|koyeb/);
    const get = recordOrder(lb, { cf: [200], duck: [0, 200], koyeb: [0, 200] });
    const post = () => recordOrder(lb, { cf: [200], duck: [0, 200], koyeb: [0, 200] });
    expect((await lb.worker.fetch("/", boundTo("cf"))).text).toMatch(/duck|koyeb/);
    expect(get).toEqual([others, others, get[0]]);
    // A POST that broke a connection is not sent there again.
    const order = post();
    expect(await lb.worker.fetch("/", boundTo("cf", { method: "POST" }))).toMatchObject({ status: 200, text: "cf" });
    expect(order).toEqual([others, others, "cf"]);
    expect(lb.worker.log.filter(({ event }) => event === "ejected")).toEqual([]);
  });

  it("leaves out who is down, as long as another answers", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, ["cf"], { kind: "well" });
    const order = recordOrder(lb, { duck: [503], koyeb: [200, 200], cf: [200] });
    expect((await lb.worker.fetch("/", boundTo("cf"))).text).toBe("koyeb");
    expect((await lb.worker.fetch("/", boundTo("duck"))).text).toBe("koyeb");
    expect(order).not.toContain("cf");
    expect(lb.cf.checks).toBe(0);
  });
});

describe.concurrent("MAX_RETRIES", () => {
  it.each([
    [0, 1],
    [1, 2],
    [2, 3],
    [10, 3],
  ])("%i allows %i attempts at three backends that answer", async (MAX_RETRIES, attempts) => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, MAX_RETRIES });
    const order = recordOrder(lb, {});
    expect((await lb.worker.fetch("/", boundTo("cf"))).status).toBe(503);
    expect(order).toHaveLength(attempts);
  });

  it.each([
    [0, 1],
    [3, 4],
  ])("%i allows %i attempts at three that break every connection", async (MAX_RETRIES, attempts) => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, MAX_RETRIES });
    const order = recordOrder(lb, { cf: [0, 0], duck: [0, 0], koyeb: [0, 0] });
    expect((await lb.worker.fetch("/", boundTo("cf"))).status).toBe(502);
    expect(order).toHaveLength(attempts);
  });

  it("lets a lone backend be asked once more when its connection breaks, and no more often", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, BACKEND_DUCK: "", BACKEND_KOYEB: "" });
    recordOrder(lb, { cf: [0, 200] });
    expect(await lb.worker.fetch("/")).toMatchObject({ status: 200, text: "cf" });
    const order = recordOrder(lb, { cf: [0, 0, 200] });
    expect((await lb.worker.fetch("/")).status).toBe(502);
    expect(order).toEqual(["cf", "cf"]);
    expect(await lb.worker.fetch("/")).toMatchObject({ status: 200, text: "cf" });
  });
});
