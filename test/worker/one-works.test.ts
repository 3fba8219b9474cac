import { describe, expect, it } from "vitest";
import type { Echo, Mode } from "../support/backend.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, HINTS_ONLY, IDS, type LoadBalancer, startLoadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { handshake } from "../support/raw-http.ts";

const BODY = noise(10_000);
const EMPTY = noise(0);

const WAYS: readonly [string, (lb: LoadBalancer) => Promise<unknown>][] = [
  ["are killed", ({ cf, duck }) => Promise.all([cf.kill(), duck.kill()])],
  ...Object.entries<Mode>({
    "answer 500": { kind: "status", status: 500 },
    "answer 503 behind good health routes": { kind: "status", status: 503, healthStatus: 200 },
    "answer 521": { kind: "status", status: 521 },
    "reset every connection": { kind: "reset" },
    "reset every connection once they have the whole request": { kind: "reset-after-body" },
    "are frozen": { kind: "frozen" },
    "are silent, and their health routes fail": { kind: "hang", healthStatus: 503 },
  }).map(([name, mode]): [string, (lb: LoadBalancer) => Promise<unknown>] => [
    name,
    async ({ cf, duck }) => {
      cf.mode = mode;
      duck.mode = mode;
    },
  ]),
];

/** One request of each kind by a client of each backend, all at once. */
async function everything({ worker }: LoadBalancer): Promise<void> {
  const requests = IDS.flatMap((id) =>
    ["GET", "POST", "PUT", "DELETE"].map(async (method) => {
      const body = method === "GET" || method === "DELETE" ? EMPTY : BODY;
      const answer = await worker.fetch("/", boundTo(id, { method, ...(body.length > 0 && { body }) }));
      expect(answer.status, `${method} of a client of ${id}: ${answer.text}`).toBe(200);
      const echo = JSON.parse(answer.text) as Echo;
      expect(echo).toMatchObject({ id: "koyeb", method, sha256: sha256(body) });
    }),
  );
  const sockets = IDS.map(async (id) => {
    const { statusCode, headers } = await handshake(worker, "/socket", boundTo(id));
    expect([statusCode, headers["x-served-by-backend"]]).toEqual([101, "koyeb"]);
  });
  await Promise.all([...requests, ...sockets]);
}

describe.concurrent("while one backend works, every request succeeds", () => {
  it.each(WAYS)("the others %s", async (_, breakOthers) => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    for (const id of IDS) await lb.servedBy(boundTo(id)); // The connections that are open already break as well.
    await breakOthers(lb);
    const before = lb.koyeb.seen.length;
    await everything(lb);
    expect(lb.koyeb.seen.length - before, "each was carried out once").toBe(5 * IDS.length);
    await everything(lb);
  });
});
