import { once } from "node:events";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { Backend } from "../support/backend.ts";
import { addresses, IDS, type LoadBalancer, PATIENT, sharedLoadBalancer } from "../support/fixture.ts";
import { handshake, head, rawConnection, rawFetch } from "../support/raw-http.ts";
import { PRIMARY_DOMAIN, type Worker } from "../support/worker.ts";

// What is not here: requests that are malformed, and methods that the runtime does not know. It answers these itself, before the
// Worker runs.

/** Sends these bytes and resolves to all that comes back until the connection ends or has been quiet for so long. */
async function converse(worker: Worker, text: string, quietMs = 1_000): Promise<string> {
  const socket = await rawConnection(worker, text);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.setTimeout(quietMs, () => socket.destroy());
  await once(socket, "close");
  return Buffer.concat(chunks).toString("latin1");
}

/** The statuses of the answers in what a connection carried. */
function statuses(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.[01] (\d{3}) /gm)].map(([, status]) => Number(status));
}

async function expectUntroubled(lb: LoadBalancer): Promise<void> {
  expect(lb.worker.log, "no backend is ejected, and no request fails over").toEqual([]);
  for (const id of IDS) await expect.poll(() => lb.isUp(id)).toBe(true);
}

describe("hostile input", () => {
  const lb = sharedLoadBalancer(PATIENT);
  /** A backend that no variable names: what reaches it was sent where it must not go. */
  const stranger = new Backend("stranger");
  const seen = () => lb.backends.flatMap((backend) => backend.seen);

  beforeAll(async () => {
    await stranger.start();
    return () => stranger.kill();
  });

  afterEach(async () => {
    expect(stranger.connections.size, "a host that is not configured is never connected to").toBe(0);
    expect(stranger.seen).toEqual([]);
    await expectUntroubled(lb);
  });

  it("gets no request through that is hidden in the body of another", async () => {
    const hidden = head("GET", "/hidden", { Connection: "close" });
    const framings: [framing: string, body: string][] = [
      ["Content-Length: 3\r\nContent-Length: 5", `abc${hidden}`],
      ["Content-Length: 3, 3", `abc${hidden}`],
      ["Content-Length: +3", `abc${hidden}`],
      ["Content-Length: 0x3", `abc${hidden}`],
      ["Content-Length: -1", hidden],
      [`Content-Length: ${5 + hidden.length}\r\nTransfer-Encoding: chunked`, `0\r\n\r\n${hidden}`],
      ["Content-Length: 4\r\nTransfer-Encoding: chunked", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: xchunked", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: chunked, identity", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding : chunked", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: chunked", `3\r\nabcX0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: chunked", `fffffffffffffffff\r\n${hidden}`],
      [`Content-Length: ${hidden.length}`, hidden],
    ];
    const texts = ["GET", "HEAD", "POST"].flatMap((method) =>
      framings.map(([framing, body]) => `${head(method, "/first").slice(0, -2)}${framing}\r\n\r\n${body}`),
    );
    await Promise.all(texts.map((text) => converse(lb.worker, text)));
    expect(seen().map(({ url }) => url)).toContain("/first");
    expect(seen().map(({ url }) => url)).not.toContain("/hidden");
  });

  it("leads nowhere by the target of a request or its Host, whatever their form", async () => {
    const address = `127.0.0.1:${stranger.port}`;
    const targets = ["http://", "https://", "http://user:password@", "//", "/\\", "/@", "@", ""];
    const hosts = [PRIMARY_DOMAIN, address, `${PRIMARY_DOMAIN}@${address}`, `${address}#@${PRIMARY_DOMAIN}`];
    const texts = [...targets.map((before) => `${before}${address}`), "*"].flatMap((target) =>
      hosts.map((host) => head("GET", target, { Host: host, Connection: "close" })),
    );
    for (const text of await Promise.all(texts.map((text) => converse(lb.worker, text)))) {
      for (const status of statuses(text)) expect([200, 400, 421]).toContain(status);
    }
    const headers = { "X-Forwarded-Host": address, "X-Host": address };
    expect((await lb.worker.fetch("/", { headers })).status).toBe(200);
  });

  it("chooses no backend by an address that it writes itself: that of Cloudflare counts", async () => {
    const [ip = "", ...others] = addresses(8);
    const home = await lb.servedBy({ ip });
    expect(new Set((await lb.homes(others)).values()).size).toBeGreaterThan(1);
    for (const other of others) {
      const headers = { "X-Forwarded-For": other, "X-Real-IP": other, "X-Client-IP": other, Forwarded: `for=${other}` };
      expect(await lb.servedBy({ ip, headers })).toBe(home);
    }
  });

  it("ends at a backend's root where a path has dot segments", async () => {
    for (const path of ["/../../etc/passwd", "/a/../../../etc/passwd"]) {
      expect((await rawFetch(lb.worker, "GET", path)).status).toBe(200);
    }
    expect(seen().map(({ url }) => url)).toEqual(["/etc/passwd", "/etc/passwd"]);
  });

  it.each([
    { "Sec-WebSocket-Key": "" },
    { "Sec-WebSocket-Version": "12" },
    { "Sec-WebSocket-Version": "" },
    { "Sec-WebSocket-Key": "\xff\xfe" },
    { Connection: "close" },
  ])("holds no backend's socket open by a broken WebSocket handshake: %j", async (headers) => {
    const response = await handshake(lb.worker, "/", { headers });
    expect([101, 200, 400, 426]).toContain(response.statusCode);
    response.destroy();
    await expect.poll(() => lb.backends.every(({ webSockets }) => webSockets.size === 0)).toBe(true);
  });
});

describe("a backend that refuses what is too large", () => {
  const lb = sharedLoadBalancer(PATIENT, { startBackend: (id) => new Backend(id, undefined, 16 * 1024).start() });

  it("has its 431 relayed, and stays up", async () => {
    const headers = { Connection: "close", "X-Large": "a".repeat(32 * 1024) };
    for (const request of [head("GET", "/", headers), `${head("POST", "/", { ...headers, "Content-Length": 3 })}abc`]) {
      for (let i = 0; i < 5; i++) expect(statuses(await converse(lb.worker, request, 30_000))).toEqual([431]);
    }
    await expectUntroubled(lb);
  });
});
