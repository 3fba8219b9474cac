import { once } from "node:events";
import { text } from "node:stream/consumers";
import { beforeEach, describe, expect, it } from "vitest";
import type { RawData, WebSocket } from "ws";
import type { Mode } from "../support/backend.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, IDS, PATIENT, sharedLoadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { handshake, head, rawConnection, UPGRADE } from "../support/raw-http.ts";
import type { WebSocketOptions } from "../support/worker.ts";

const WELL: Mode = { kind: "well" };
const lb = sharedLoadBalancer(PATIENT);
let lines: number;
beforeEach(async () => {
  // A success, so that the failures of different tests are not consecutive.
  await expect.poll(() => lb.isUp("cf")).toBe(true);
  for (const { seen } of lb.backends) seen.length = 0;
  lines = lb.worker.log.length;
});

const open = (options: WebSocketOptions = {}) => lb.worker.webSocket("/socket", boundTo("cf", options));
const servers = () => lb.backends.flatMap(({ webSockets }) => [...webSockets]);

async function next(webSocket: WebSocket): Promise<{ data: Buffer; isBinary: boolean }> {
  const [data, isBinary] = (await once(webSocket, "message")) as [RawData, boolean];
  return { data: data as Buffer, isBinary };
}

async function closed(webSocket: WebSocket): Promise<{ code: number; reason: string }> {
  const [code, reason] = (await once(webSocket, "close")) as [number, Buffer];
  return { code, reason: reason.toString() };
}

async function expectNoFailure(): Promise<void> {
  for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
  expect(lb.worker.log.slice(lines)).toEqual([]);
}

describe("a WebSocket", () => {
  it("carries text and binary frames as they are, both ways", async () => {
    const webSocket = await open();
    for (const frame of ["hello", "", "žluťoučký kůň 🎬", "x".repeat(100_000), noise(700_001), noise(1), noise(0)]) {
      webSocket.send(frame);
      const { data, isBinary } = await next(webSocket);
      expect([sha256(data), isBinary]).toEqual([sha256(frame), typeof frame !== "string"]);
    }
    webSocket.close();
  });

  it("keeps frames in their order, as one of many at a time", async () => {
    const sent = Array.from({ length: 100 }, (_, i) => `${i}`);
    const webSockets = await Promise.all(Array.from({ length: 20 }, () => open()));
    for (const webSocket of webSockets) {
      const received: string[] = [];
      webSocket.on("message", (data) => received.push(String(data)));
      for (const message of sent) webSocket.send(message);
      await expect.poll(() => received).toEqual(sent);
      webSocket.close();
    }
  });

  it.each([
    [1000, "done"],
    [1001, ""],
    [1011, "the server failed"],
    [3000, "registered"],
    [4999, "ž".repeat(61)],
  ])("brings close code and reason to the client, and to the backend: %i %j", async (code, reason) => {
    const first = await open();
    const atClient = closed(first);
    first.send(`close:${code}:${reason}`);
    expect(await atClient).toEqual({ code, reason });
    await expect.poll(() => servers().length).toBe(0);

    const second = await open();
    const [server] = servers();
    if (!server) throw new Error("the backend has no socket");
    const atBackend = closed(server);
    second.close(code, reason);
    expect(await atBackend).toEqual({ code, reason });
    await expectNoFailure();
  });

  it("has the subprotocol that the backend chose, and is asked for with the path as it was written", async () => {
    const options = boundTo<WebSocketOptions>("cf", { protocols: ["v2.stream", "v1.stream"] });
    const webSocket = await lb.worker.webSocket("/a%2Fb//socket?x=1&x=2", options);
    expect(webSocket.protocol).toBe("v2.stream");
    expect(lb.cf.seen[0]?.url).toBe("/a%2Fb//socket?x=1&x=2");
    expect(lb.cf.seen[0]?.headers["sec-websocket-protocol"]?.replaceAll(" ", "")).toBe("v2.stream,v1.stream");
    webSocket.close();
  });

  it.each([
    ["resets the connection", { kind: "reset" }],
    ["answers 503", { kind: "status", status: 503 }],
  ] as const)(
    "opens on another backend when the first %s, which moves no session while that is up",
    async (_, mode) => {
      lb.cf.mode = { ...mode, health: WELL };
      const { statusCode, headers } = await handshake(lb.worker, "/socket", boundTo("cf"));
      expect(statusCode).toBe(101);
      expect(headers["x-served-by-backend"]).toMatch(/duck|koyeb/);
      expect(headers["set-cookie"]).toBeUndefined();
      const webSocket = await open({ protocols: ["v1.stream"] });
      expect(webSocket.protocol).toBe("v1.stream");
      webSocket.close();
    },
  );

  it.each([404, 426, 200])("that a backend answers %i gets just that, and no backend is ejected", async (status) => {
    lb.cf.mode = { kind: "status", status, health: WELL };
    const response = await handshake(lb.worker, "/socket", boundTo("cf"));
    expect([response.statusCode, await text(response)]).toEqual([status, `cf says ${status}`]);
    lb.cf.mode = WELL;
    await expectNoFailure();
  });

  it("says nothing about health when its client hangs up in the middle of the handshake, or later", async () => {
    lb.cf.mode = { kind: "hang", health: WELL };
    const before = new Set(lb.cf.connections);
    const socket = await rawConnection(lb.worker, head("GET", "/socket", boundTo("cf", { headers: UPGRADE }).headers));
    await expect.poll(() => lb.cf.seen.length).toBe(1);
    socket.resetAndDestroy();
    await expect.poll(() => [...lb.cf.connections].filter((connection) => !before.has(connection))).toEqual([]);
    lb.cf.mode = WELL;

    const webSocket = await open();
    webSocket.terminate();
    await expect.poll(() => servers().length).toBe(0);
    await expectNoFailure();
  });

  it("says nothing about health when its backend's end is cut, or closed for an error", async () => {
    const webSocket = await open();
    webSocket.on("error", () => {});
    const cut = closed(webSocket);
    for (const server of servers()) server.terminate();
    expect((await cut).code).toBe(1006); // RFC 6455, section 7.1.5: no close frame came, and none may be made up.
    for (const code of [1011, 1012, 4500]) {
      const other = await open();
      other.send(`close:${code}:`);
      expect((await closed(other)).code).toBe(code);
    }
    await expectNoFailure();
  });
});

const SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";

describe("a 101 that was not asked for", () => {
  it.each([
    ["a GET", { method: "GET" }],
    ["a POST", { method: "POST", body: "x" }],
    ["a HEAD", { method: "HEAD" }],
    ["a POST that asks for a WebSocket, which only a GET can", { method: "POST", body: "x", headers: UPGRADE }],
    ["a GET that asks for another protocol", { method: "GET", headers: { Connection: "Upgrade", Upgrade: "h2c" } }],
  ])("is a failure, and the request goes elsewhere: %s", async (_, options) => {
    for (const upgrade of ["Upgrade: websocket\r\n", "Upgrade: h2c\r\n", ""]) {
      let asked = 0;
      lb.cf.onRequest = ({ socket }) => {
        asked++;
        socket.write(`${SWITCHING}${upgrade}\r\n`);
      };
      expect((await lb.worker.fetch("/", boundTo("cf", options))).status).toBe(200);
      expect(asked).toBeGreaterThan(0);
      lb.cf.onRequest = undefined;
      await expect.poll(() => lb.isUp("cf")).toBe(true);
    }
    expect(lb.changes("cf")).toEqual([]);
  });

  it("is answered 502 where every backend sends one, and their connections are let go", async () => {
    for (const backend of lb.backends) {
      backend.onRequest = ({ socket }) => void socket.write(`${SWITCHING}Upgrade: websocket\r\n\r\n`);
    }
    for (let i = 0; i < 3; i++) expect((await lb.worker.fetch("/")).status).toBe(502);
    for (const backend of lb.backends) backend.onRequest = undefined;
    expect((await lb.worker.fetch("/")).status).toBe(200);
    for (const id of IDS) expect(lb.changes(id)).toEqual([]);
  });
});

// The last one, since its backend stays down.
it("an open WebSocket outlives the ejection of its backend; a new one opens elsewhere and moves the session", async () => {
  const webSocket = await open();
  lb.cf.mode = { kind: "status", status: 503 };
  await lb.worker.fetch("/", boundTo("cf"));
  await expect.poll(() => lb.changes("cf").at(-1)).toBe("ejected");
  webSocket.send("and I?");
  expect(String((await next(webSocket)).data)).toBe("and I?");
  webSocket.close();

  const { statusCode, headers } = await handshake(lb.worker, "/socket", boundTo("cf"));
  expect(statusCode).toBe(101);
  expect(headers["set-cookie"]).toEqual([expect.stringMatching(/^aiostreams_backend=(duck|koyeb);/)]);
});
