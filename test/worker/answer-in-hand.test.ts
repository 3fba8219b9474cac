import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Backend, Mode } from "../support/backend.ts";
import { boundTo, changesOf, HINTS_ONLY, type Id, startLoadBalancer, takeDown } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

const OTHERS: readonly Id[] = ["duck", "koyeb"];
const HONEST: Mode = { kind: "status", status: 500, healthStatus: 200 };

describe.concurrent("an honest 500 of the last backend that is up", () => {
  it("is relayed after a second at most, not after those that are known to be dead: silent ones", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, OTHERS, { kind: "frozen" });
    lb.cf.mode = HONEST;
    const answers = await Promise.all(Array.from({ length: 5 }, () => lb.worker.fetch("/", boundTo("cf"))));
    // Their checks take three seconds, a blind attempt would take a hundred.
    expect([lb.duck, lb.koyeb].map(({ checks }) => checks)).toEqual([1, 1]);
    expect([lb.duck, lb.koyeb].map(isBeingChecked)).toEqual([true, true]);
    for (const answer of answers) expect(answer).toMatchObject({ status: 500, text: "cf says 500" });
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);

    // A check that has been silent for so long has had its time, whoever asked.
    const next = lb.worker.fetch("/", boundTo("cf"));
    expect(await next).toMatchObject({ status: 500 });
    expect([lb.duck, lb.koyeb].map(isBeingChecked)).toEqual([true, true]);
  });

  it("is relayed at once beside those that refuse connections, and they get no user's request", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, OTHERS, { kind: "reset" });
    lb.cf.mode = HONEST;
    const startedMs = performance.now();
    for (let i = 0; i < 20; i++) {
      expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 500, text: "cf says 500" });
    }
    // Twenty seconds, if each of them waited for one.
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("is not all that there is when one of the others turns out to be up again", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, OTHERS, { kind: "frozen" });
    lb.koyeb.mode = { kind: "well" };
    lb.cf.mode = HONEST;
    expect(await lb.servedBy(boundTo("cf"))).toBe("koyeb");
    expect(lb.duck.seen).toEqual([]);
    expect(isBeingChecked(lb.duck), "it did not wait for the other").toBe(true);
  });
});

describe.concurrent("an answer in hand ends the patience", () => {
  it("with a suspect: it is not asked", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 100 });
    await takeDown(lb, ["koyeb"], { kind: "reset" });
    lb.duck.mode = { kind: "frozen" };
    expect(await lb.servedBy(boundTo("duck"))).toBe("cf"); // It is suspect from now on.
    lb.cf.mode = HONEST;
    expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 500, text: "cf says 500" });
    expect(isBeingChecked(lb.duck)).toBe(true);
    expect(lb.duck.seen).toHaveLength(1);
    expect(changesOf(lb, "duck")).toEqual([]);
  });

  it("with an attempt that is silent: it is let go when all others have answered", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 100 });
    lb.cf.mode = { kind: "frozen" };
    for (const id of OTHERS) lb[id].mode = HONEST;
    expect((await lb.worker.fetch("/", boundTo("cf"))).text).toMatch(/(duck|koyeb) says 500/);
    expect(isBeingChecked(lb.cf)).toBe(true);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("but not with a backend that is up", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    lb.cf.mode = HONEST;
    for (const id of OTHERS) lb[id].mode = { kind: "slow", ms: 2_000 };
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
  });
});

describe.concurrent("a connection of the last backend that is up", () => {
  it("breaks, and none of thirty users waits", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, OTHERS, { kind: "frozen" });
    let broken = 0;
    lb.cf.onRequest = ({ socket }, response) => {
      if (broken++ === 0) socket.resetAndDestroy();
      else response.end("cf");
    };
    const users = Array.from({ length: 30 }, async (_, i) => {
      await sleep(10 * i);
      return (await lb.worker.fetch("/", { ip: `192.0.2.${i}` })).text;
    });
    expect(await Promise.all(users)).toEqual(Array(30).fill("cf"));
    expect(broken).toBe(31);
    // Whoever waits, waits for these checks.
    expect([lb.duck, lb.koyeb].map(({ checks, seen }) => checks + seen.length)).toEqual([0, 0]);
    await until("it has been checked", () => lb.cf.checks === 1);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("breaks at a POST, which is told so and is not sent to those whose checks were silent", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 100 });
    await takeDown(lb, OTHERS, { kind: "frozen" }, { kind: "frozen" });
    let carriedOut = 0;
    lb.cf.onRequest = (request) => {
      carriedOut++;
      request.resume().on("end", () => request.socket.resetAndDestroy());
    };
    const answer = await lb.worker.fetch("/", boundTo("cf", { method: "POST", body: "a=1" }));
    expect(answer.status).toBe(502);
    expect(carriedOut).toBe(1);
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
  });
});

/** Whether a check of it is open: it is frozen, and its only connection waits. */
function isBeingChecked({ mode, connections, checks }: Backend): boolean {
  return mode.kind === "frozen" && checks > 0 && connections.size > 0;
}
