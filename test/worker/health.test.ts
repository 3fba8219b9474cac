import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { describe, it } from "vitest";
import {
  boundTo,
  CHECKS_ON_REQUEST,
  type LoadBalancer,
  PATIENT,
  SECRET,
  startLoadBalancer,
} from "../support/fixture.ts";

const LINGERING = { wrappers: [join(import.meta.dirname, "lingering.js")] };
const ROUTE = "/healthz?full=1";
const VARS = { ...PATIENT, BACKEND_DOWN_TIME: 3_600_000, HEALTH_CHECK_PATH: ROUTE };

/** `cf` answers users 503, and so has itself checked; its health route does this. */
function answerChecks(lb: LoadBalancer, answer: (request: IncomingMessage, response: ServerResponse) => void): void {
  lb.cf.onRequest = (request, response) => {
    if (request.url === ROUTE) answer(request, response);
    else response.writeHead(503).end();
  };
}

const ejections = ({ worker }: LoadBalancer) => worker.log.filter(({ event }) => event === "ejected");

describe.concurrent("a health check", () => {
  it("asks HEALTH_CHECK_PATH, follows no redirect, and carries nothing of the user's request", async ({ expect }) => {
    await using lb = await startLoadBalancer(VARS);
    const checks: IncomingMessage[] = [];
    answerChecks(lb, (request, response) => {
      checks.push(request);
      response.writeHead(302, { Location: `${lb.duck.url}/login` }).end();
    });
    const headers = { Authorization: SECRET, Cookie: `aiostreams_backend=cf; session=${SECRET}` };
    await lb.worker.fetch(`/${SECRET}`, { ip: "192.0.2.1", headers, method: "POST", body: SECRET });
    await expect.poll(() => ejections(lb)).toMatchObject([{ reason: "check: bad status", status: 302 }]);
    expect(checks.map(({ method, url }) => `${method} ${url}`)).toEqual(Array(2).fill(`GET ${ROUTE}`));
    for (const { rawHeaders } of checks) expect(rawHeaders.join()).not.toMatch(new RegExp(`${SECRET}|192\\.0\\.2`));
    expect([...lb.duck.seen, ...lb.koyeb.seen].map(({ url }) => url)).toEqual([`/${SECRET}`]);
  });

  it("asks again at once when its connection was stale, and ejects no backend for it", async ({ expect }) => {
    await using lb = await startLoadBalancer(VARS);
    let checks = 0;
    answerChecks(lb, ({ socket }, response) => {
      if (++checks === 1) socket.resetAndDestroy();
      else response.end();
    });
    await lb.worker.fetch("/", boundTo("cf"));
    await expect.poll(() => checks).toBe(2);
    lb.cf.onRequest = undefined;
    await expect.poll(() => lb.isUp("cf")).toBe(true);
    expect(ejections(lb)).toEqual([]);
  });

  it("gives up after three seconds, its body included, and frees its connection", async ({ expect }) => {
    await using lb = await startLoadBalancer({ ...VARS, HEALTH_CHECK_EXPECT: "fine" }, LINGERING);
    let isOpen: boolean | undefined;
    answerChecks(lb, ({ socket }, response) => {
      isOpen = true;
      socket.on("close", () => {
        isOpen = false;
      });
      response.write("f");
    });
    await lb.worker.fetch("/", boundTo("cf"));
    await expect.poll(() => ejections(lb)).toMatchObject([{ reason: "check: no answer" }]);
    await expect.poll(() => isOpen).toBe(false);
  });

  it("reads 64 KiB of an answer, and no more", async ({ expect }) => {
    await using lb = await startLoadBalancer({ ...VARS, HEALTH_CHECK_EXPECT: "fine" }, LINGERING);
    const open = new Set<IncomingMessage["socket"]>();
    answerChecks(lb, ({ socket }, response) => {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
      response.write("not ".repeat(32 * 1024)); // It never ends.
    });
    await lb.worker.fetch("/", boundTo("cf"));
    await expect.poll(() => ejections(lb)).toMatchObject([{ reason: "check: unexpected answer", status: 200 }]);
    await expect.poll(() => open.size).toBe(0);
  });

  it("by age begins beside the first request, after its own attempt, and makes no user wait", async ({ expect }) => {
    await using lb = await startLoadBalancer({ PROBE_AFTER: 60_000, HEALTH_CHECK_PATH: ROUTE });
    const asked: (string | undefined)[] = [];
    lb.cf.onRequest = ({ url }, response) => {
      asked.push(url);
      if (url !== ROUTE) response.end("cf");
    };
    expect((await lb.worker.fetch("/first", boundTo("cf"))).text).toBe("cf");
    await expect.poll(() => asked).toEqual(["/first", ROUTE]);
    expect((await lb.worker.fetch("/next", boundTo("duck"))).status).toBe(200);
    await expect
      .poll(() => [lb.duck, lb.koyeb].map(({ seen }) => seen.some(({ url }) => url === ROUTE)))
      .toEqual([true, true]);
  });
});

/** What a URL does to the backend that it is asked of. */
const ATTACKS: readonly ((request: IncomingMessage, response: ServerResponse) => void)[] = [
  (_, response) => void response.writeHead(500).end(),
  (_, response) => void response.writeHead(521).end(),
  () => {}, // It hangs.
  ({ socket }) => void socket.resetAndDestroy(),
  ({ socket }) => void socket.end("no HTTP at all\r\n\r\n"),
  ({ socket }) =>
    void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
];

it("outlier ejection takes no backend from others for what one client's requests do to it", async ({ expect }) => {
  await using lb = await startLoadBalancer({ ...CHECKS_ON_REQUEST, PROBE_AFTER: 60_000 });
  const leaves = new AbortController();
  lb.cf.onRequest = (request, response) => {
    const attack = /^\/attack\/(\d+)/.exec(request.url ?? "")?.[1];
    if (attack === undefined) response.end("cf");
    else ATTACKS[Number(attack)]?.(request, response);
  };
  const attack = boundTo("cf", { ip: "203.0.113.66", signal: leaves.signal });
  const attacks = ATTACKS.flatMap((_, i) => Array.from({ length: 5 }, () => lb.worker.fetch(`/attack/${i}`, attack)));
  const ends = Promise.allSettled(attacks);
  for (let i = 0; i < 50; i++) {
    const answer = await lb.worker.fetch("/", boundTo("cf", { ip: `192.0.2.${i}` }));
    expect(answer).toMatchObject({ text: "cf", session: undefined });
  }
  leaves.abort();
  await ends;
  expect(ejections(lb)).toEqual([]);
});
