import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { boundTo, changesOf, HINTS_ONLY, type LoadBalancer, startLoadBalancer } from "../support/fixture.ts";
import { PLATFORM } from "../support/platform.ts";
import { head, rawConnection } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import type { StartOptions } from "../support/worker.ts";

const BOUND_TO_CF = { Cookie: "aiostreams_backend=cf" };

const HALF_A_SECOND = () => sleep(500);

/** Sends a request, waits so long for its answer, and goes away. Returns whether it was answered. */
async function impatient(lb: LoadBalancer, patience: () => Promise<void> = HALF_A_SECOND): Promise<boolean> {
  const socket = await rawConnection(lb.worker, head("GET", "/", BOUND_TO_CF));
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
  });
  await patience();
  socket.resetAndDestroy();
  return answer.startsWith("HTTP/1.1 200");
}

describe.concurrent.each<[string, StartOptions]>([
  ["Cloudflare, where an invocation ends with its client", PLATFORM],
  ["plain workerd, where it goes on", {}],
])("clients that leave after half a second: on %s", (_, platform) => {
  it("do not keep a frozen backend in service", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY, platform);
    lb.cf.mode = { kind: "frozen" };
    const answered: Promise<boolean>[] = [];
    await until("it is ejected", async () => {
      answered.push(impatient(lb));
      await sleep(50);
      return changesOf(lb, "cf").includes("ejected");
    });
    // Two seconds after the first of them was sent there, it is suspect.
    expect(await Promise.all(answered)).toContain(true);
    for (let i = 0; i < 10; i++) expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    expect(lb.cf.seen.length).toBeLessThan(answered.length);
  });

  it("have it found out even where all who come after them are clients of another", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 600 }, platform);
    lb.cf.mode = { kind: "frozen" };
    expect(await impatient(lb, () => until("it is there", () => lb.cf.seen.length === 1))).toBe(false);
    expect(lb.cf.checks).toBe(0);
    await until("somebody passes by", async () => {
      expect(await lb.servedBy(boundTo("duck"))).toBe("duck");
      return lb.cf.checks === 1;
    });
    await until("it is ejected", () => changesOf(lb, "cf").includes("ejected"));
    expect(lb.cf.checks).toBe(1);
  });

  it("do not take the check along that one of them has caused", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 100 }, platform);
    lb.cf.mode = { kind: "frozen" };
    expect(await impatient(lb, () => until("it is being checked", () => lb.cf.checks === 1))).toBe(false);
    await until("it is ejected", () => changesOf(lb, "cf").includes("ejected"));
  });

  it("are no failure of a backend that is only slow", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 100 }, platform);
    lb.cf.mode = { kind: "hang", healthy: true };
    const patience = () => until("it has been checked", () => lb.cf.checks > 1);
    await Promise.all(Array.from({ length: 20 }, () => impatient(lb, patience)));
    lb.cf.mode = { kind: "well" };
    expect(await lb.isUp("cf")).toBe(true);
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("are no failure of a backend that answers others", async () => {
    await using lb = await startLoadBalancer({ ...HINTS_ONLY, PROBE_AFTER: 60_000 }, platform);
    lb.cf.onRequest = ({ url }, response) => {
      if (url !== "/") response.end(JSON.stringify({ id: "cf" }));
    };
    const leaving = Array.from({ length: 20 }, () => impatient(lb));
    for (let i = 0; i < 20; i++) expect(await lb.isUp("cf")).toBe(true);
    expect(await Promise.all(leaving)).not.toContain(true);
    expect(await lb.isUp("cf")).toBe(true);
    expect(lb.cf.checks).toBe(0);
    expect(lb.worker.log).toEqual([]);
  });
});
