import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { healthOf, isDown, newHealth, sent, takeFinding } from "../../../src/health/findings.ts";
import { checkAll, hint, tend } from "../../../src/health/monitor.ts";
import { Subrequests } from "../../../src/health/subrequests.ts";
import { backendOf, configWith, invocationOf } from "../sample.ts";
import { found } from "./given.ts";
import { bad, good, hanging, START_MS, World } from "./world.ts";

const config = configWith({ SHARE_HEALTH: false });
const HOSTS = ["a.example.net", "b.example.net", "c.example.net"];

let world: World;
let health: ReturnType<typeof newHealth>;

/** A request passes, in an invocation of its own. */
function request(settings = config) {
  const invocation = invocationOf(settings, { health });
  tend(invocation, Date.now());
  return invocation;
}
const checkedHosts = () => world.checks.map(({ host }) => host);
const know = (id: string, ...args: Parameters<typeof found>) =>
  takeFinding(healthOf(health, id), found(...args), args[1], false);

beforeEach(() => {
  world = new World();
  health = newHealth(START_MS);
});

afterEach(() => world.end());

describe("a request that passes", () => {
  it("begins the checks that are due, side by side, in waitUntil", async () => {
    for (const host of HOSTS) world.routes.set(host, hanging);
    const { pending } = request();
    expect(checkedHosts()).toEqual(HOSTS);
    expect(pending).toHaveLength(3);
  });

  it("begins none that is under way, and none that is not due", async () => {
    world.routes.set("a.example.net", hanging);
    request();
    await world.pass(400);
    request();
    expect(checkedHosts()).toEqual(HOSTS);
  });

  it("renews the findings once they are as old as HEALTH_CHECK_INTERVAL", async () => {
    request();
    await world.pass(29_999);
    request();
    expect(world.checks).toHaveLength(3);
    await world.pass(1);
    request();
    expect(world.checks).toHaveLength(6);
  });

  it("makes no check by age where the interval is 0", async () => {
    request(configWith({ SHARE_HEALTH: false, HEALTH_CHECK_INTERVAL: 0 }));
    await world.pass(100_000);
    request(configWith({ SHARE_HEALTH: false, HEALTH_CHECK_INTERVAL: 0 }));
    expect(world.checks).toEqual([]);
  });

  it("has a silent backend checked, though the client that was waiting has left", async () => {
    request();
    await world.pass(10_000);
    sent(healthOf(health, "b"), Date.now());
    await world.pass(999);
    request();
    expect(world.checksOf("b.example.net")).toEqual([0]);
    await world.pass(1);
    request();
    expect(world.checksOf("b.example.net")).toEqual([0, 11_000]);
  });

  it("begins six checks at most, and leaves the rest to the next requests", async () => {
    const names = Array.from({ length: 30 }, (_, n) => `BACKEND_N${n}`);
    const more = Object.fromEntries(names.map((name, n) => [name, `n${n}.example.net`]));
    const many = configWith({ ...more, SHARE_HEALTH: false });
    const counts: number[] = [];
    for (let n = 0; n < 6; n++) {
      request(many);
      await world.pass(1_000);
      counts.push(world.checks.length);
    }
    expect(counts).toEqual([6, 12, 18, 24, 30, 33]);
    expect(new Set(checkedHosts()).size).toBe(33);
  });

  it("leaves its own failures their check and what it finds its sharing, though many checks by age are due", async () => {
    const more = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`BACKEND_N${n}`, `n${n}.example.net`]));
    const many = configWith(more);
    const invocation = invocationOf(many, { health: newHealth(START_MS) });
    tend(invocation, Date.now());
    await world.pass(1_000);
    hint(backendOf(many, "n9"), invocation);
    await world.pass(1_000);
    expect([world.writes > 0, world.checksOf("n9.example.net").length]).toEqual([true, 1]);
  });

  it("never has more connections waiting than the attempts leave free", async () => {
    for (const host of HOSTS) world.routes.set(host, hanging);
    const subrequests = new Subrequests(4, 5);
    tend(invocationOf(config, { health, subrequests }), Date.now());
    await world.pass(2_999);
    expect(checkedHosts()).toEqual(["a.example.net"]);
    await world.pass(1);
    expect(checkedHosts()).toEqual(["a.example.net", "b.example.net"]);
  });

  it("makes no check that another one has begun while it waited for a connection", async () => {
    world.routes.set("a.example.net", hanging);
    world.routes.set("b.example.net", hanging);
    tend(invocationOf(config, { health, subrequests: new Subrequests(4, 5) }), Date.now());
    await world.pass(2_900);
    request();
    expect(world.checksOf("b.example.net")).toHaveLength(1);
    await world.pass(200);
    expect(world.checksOf("b.example.net")).toHaveLength(1);
  });

  it("leaves a check due that its invocation has no subrequests for, and finds nothing", async () => {
    tend(invocationOf(config, { health, subrequests: new Subrequests(49, 3) }), Date.now());
    await world.pass(100);
    expect(world.checks).toEqual([]);
    expect(config.backends.map(({ id }) => healthOf(health, id).finding)).toEqual([undefined, undefined, undefined]);
    request();
    expect(checkedHosts()).toEqual(HOSTS);
  });
});

describe("what a check finds", () => {
  it("is known to the whole isolate, and reported once", async () => {
    world.routes.set("b.example.net", bad);
    const { counters } = request();
    await world.pass(1);
    expect(isDown(healthOf(health, "b"))).toBe(true);
    expect(world.log).toEqual([
      { event: "ejected", reason: "check: bad status", backend: "b", status: 404, ray: "ray" },
    ]);
    expect(counters.ejections).toBe(1);
    await world.pass(30_000);
    request();
    await world.pass(1);
    expect(world.log).toHaveLength(1);
  });

  it("brings a backend back once BACKEND_DOWN_TIME has passed", async () => {
    const often = configWith({ SHARE_HEALTH: false, BACKEND_DOWN_TIME: 5_000 });
    world.routes.set("b.example.net", bad);
    request(often);
    await world.pass(4_999);
    world.routes.set("b.example.net", good);
    request(often);
    await world.pass(1);
    expect(isDown(healthOf(health, "b"))).toBe(true);
    request(often);
    await world.pass(1);
    expect(world.log.at(-1)).toEqual({ event: "back", reason: "check: good", backend: "b", status: 200, ray: "ray" });
  });

  it("of a frozen backend comes after three seconds, whoever has left meanwhile", async () => {
    world.routes.set("b.example.net", hanging);
    request();
    await world.pass(3_000);
    expect(healthOf(health, "b").finding).toMatchObject({ result: "no answer", tookMs: 3_000 });
    expect(world.log).toMatchObject([{ event: "ejected", reason: "check: no answer" }]);
  });
});

describe("a backup", () => {
  const spare = configWith({
    SHARE_HEALTH: false,
    BACKEND_C: "c.example.net backup",
    BACKEND_D: "d.example.net backup",
  });
  const downPrimaries = () => {
    world.routes.set("a.example.net", bad);
    world.routes.set("b.example.net", bad);
    know("a", "bad status", START_MS);
    know("b", "bad status", START_MS);
  };

  it("is left asleep while another backend is up", async () => {
    know("a", "bad status", START_MS);
    for (let n = 0; n < 10; n++, await world.pass(30_000)) request(spare);
    expect(new Set(checkedHosts())).toEqual(new Set(["a.example.net", "b.example.net"]));
  });

  it("is checked by age like any other while no other is up", async () => {
    downPrimaries();
    request(spare);
    await world.pass(30_000);
    request(spare);
    await world.pass(1);
    expect([world.checksOf("c.example.net"), world.checksOf("d.example.net")]).toEqual([
      [0, 30_000],
      [0, 30_000],
    ]);
  });

  it("sleeps again once another backend is back", async () => {
    downPrimaries();
    request(spare);
    world.routes.set("a.example.net", good);
    await world.pass(30_000);
    request(spare);
    await world.pass(30_000);
    request(spare);
    expect(world.checksOf("c.example.net")).toEqual([0, 30_000]);
  });

  it("is not woken by a person who looks at the status page", async () => {
    await checkAll(invocationOf(spare, { health }), 1_000, 1_000);
    expect(checkedHosts()).toEqual(["a.example.net", "b.example.net"]);
  });
});

describe("a look at all backends", () => {
  it("checks those whose finding is not fresh, and ends with the checks", async () => {
    know("a", "good", START_MS - 999);
    know("b", "good", START_MS - 1_000);
    await checkAll(invocationOf(config, { health }), 1_000, 2_000);
    expect(checkedHosts()).toEqual(["b.example.net", "c.example.net"]);
    expect(healthOf(health, "c").finding).toMatchObject({ result: "good" });
    expect(world.nowMs).toBe(0);
  });

  it("waits for nobody longer than it may, but the check goes on", async () => {
    world.routes.set("b.example.net", hanging);
    const invocation = invocationOf(config, { health });
    let isOver = false;
    checkAll(invocation, 1_000, 1_500).then(() => {
      isOver = true;
    });
    await world.pass(1_499);
    expect(isOver).toBe(false);
    await world.pass(1);
    expect(isOver).toBe(true);
    await Promise.all([world.pass(1_500), ...invocation.pending]);
    expect(healthOf(health, "b").finding).toMatchObject({ result: "no answer" });
  });
});
