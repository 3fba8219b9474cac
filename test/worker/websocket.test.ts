import { once } from "node:events";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import type { RawData, WebSocket } from "ws";
import { noise } from "../support/bytes.ts";
import { boundTo, loadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";
import { handshake, head, rawConnection, UPGRADE } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import type { WebSocketOptions } from "../support/worker.ts";

type Closed = [code: number, reason: Buffer];

async function next(webSocket: WebSocket): Promise<{ data: Buffer; isBinary: boolean }> {
  const [data, isBinary] = (await once(webSocket, "message")) as [RawData, boolean];
  return { data: data as Buffer, isBinary };
}

describe("a WebSocket", () => {
  const lb = loadBalancer({ PROBE_AFTER: 200 });

  it("carries text frames as text, both ways", async () => {
    const webSocket = await lb.worker.webSocket("/socket");
    for (const message of ["hello", "", "žluťoučký kůň 🎬", "x".repeat(100_000)]) {
      webSocket.send(message);
      const { data, isBinary } = await next(webSocket);
      expect({ text: data.toString(), isBinary }).toEqual({ text: message, isBinary: false });
    }
    webSocket.close();
  });

  it("carries binary frames of 700 KB byte for byte, both ways", async () => {
    const webSocket = await lb.worker.webSocket("/socket");
    for (const bytes of [noise(700_000), noise(700_001), noise(1), noise(0)]) {
      webSocket.send(bytes);
      const { data, isBinary } = await next(webSocket);
      expect({ sha256: sha256(data), isBinary }).toEqual({ sha256: sha256(bytes), isBinary: true });
    }
    webSocket.close();
  });

  it("keeps frames in their order", async () => {
    const webSocket = await lb.worker.webSocket("/socket");
    const received: string[] = [];
    webSocket.on("message", (data) => received.push(String(data)));
    const sent = Array.from({ length: 500 }, (_, i) => `${i}`);
    for (const message of sent) webSocket.send(message);
    await until("all frames are back", () => received.length === sent.length);
    expect(received).toEqual(sent);
    webSocket.close();
  });

  it.each([
    [1000, "done"],
    [1001, ""],
    [1008, "policy"],
    [1011, "the server failed"],
    [3000, "registered"],
    [4001, "žádný důvod"],
    [4999, "x".repeat(123)],
  ])("brings the backend's close code and reason to the client: %i %j", async (code, reason) => {
    const webSocket = await lb.worker.webSocket("/socket");
    webSocket.send(`close:${code}:${reason}`);
    const [closeCode, closeReason] = (await once(webSocket, "close")) as Closed;
    expect({ code: closeCode, reason: closeReason.toString() }).toEqual({ code, reason });
  });

  it.each([
    [1000, "bye"],
    [1001, "away"],
    [4000, ""],
    [4321, "the client's own"],
  ])("brings the client's close code and reason to the backend: %i %j", async (code, reason) => {
    const webSocket = await lb.worker.webSocket("/socket", boundTo("cf"));
    const [atBackend] = lb.cf.webSockets;
    if (!atBackend) throw new Error("the backend has no socket");
    const closed = once(atBackend, "close") as Promise<Closed>;
    webSocket.close(code, reason);
    const [closeCode, closeReason] = await closed;
    expect({ code: closeCode, reason: closeReason.toString() }).toEqual({ code, reason });
  });

  it("has the subprotocol that the backend chose", async () => {
    const webSocket = await lb.worker.webSocket(
      "/socket",
      boundTo<WebSocketOptions>("cf", { protocols: ["v2.stream", "v1.stream"] }),
    );
    expect(webSocket.protocol).toBe("v2.stream");
    expect(lb.cf.seen[0]?.headers["sec-websocket-protocol"]?.replaceAll(" ", "")).toBe("v2.stream,v1.stream");
    webSocket.close();
  });

  it("is asked for with the path and query as they were written", async () => {
    const webSocket = await lb.worker.webSocket("/a%2Fb//socket?x=1&x=2", boundTo("cf"));
    expect(lb.cf.seen[0]?.url).toBe("/a%2Fb//socket?x=1&x=2");
    webSocket.close();
  });

  it.each([
    ["refuses connections", () => lb.cf.kill()],
    [
      "resets the connection",
      () => {
        lb.cf.mode = { kind: "reset" };
      },
    ],
    [
      "answers 500",
      () => {
        lb.cf.mode = { kind: "status", status: 500 };
      },
    ],
    [
      "answers 503",
      () => {
        lb.cf.mode = { kind: "status", status: 503 };
      },
    ],
    [
      "cannot be reached by Cloudflare (521)",
      () => {
        lb.cf.mode = { kind: "status", status: 521 };
      },
    ],
    [
      "is silent, its health route too",
      () => {
        lb.cf.mode = { kind: "hang", healthStatus: 503 };
      },
    ],
  ])("opens on another backend when the first %s", async (_, fail) => {
    await fail();
    const webSocket = await lb.worker.webSocket(
      "/socket",
      boundTo<WebSocketOptions>("cf", { protocols: ["v1.stream"] }),
    );
    webSocket.send("still there?");
    expect(String((await next(webSocket)).data)).toBe("still there?");
    expect(webSocket.protocol).toBe("v1.stream");
    expect(lb.cf.webSockets.size).toBe(0);
    webSocket.close();
  });

  it("moves the session to the backend that it has opened on", async () => {
    await lb.cf.kill();
    const { headers } = await handshake(lb.worker, "/socket", boundTo("cf"));
    expect(headers["set-cookie"]).toEqual([expect.stringMatching(/^aiostreams_backend=(duck|koyeb);/)]);
  });

  it("is answered 502 when every backend refuses", async () => {
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    expect((await handshake(lb.worker, "/socket")).statusCode).toBe(502);
  });

  it.each([400, 401, 403, 404, 426])(
    "that a backend answers %i gets just that, and nobody is ejected",
    async (status) => {
      lb.cf.mode = { kind: "status", status };
      const response = await handshake(lb.worker, "/socket", boundTo("cf"));
      expect(response.statusCode).toBe(status);
      expect(await text(response)).toBe("no");
      expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
      lb.cf.mode = { kind: "well" };
      expect(await lb.isUp("cf")).toBe(true);
    },
  );

  it("that a backend answers with a page gets the page", async () => {
    lb.cf.mode = { kind: "status", status: 200 };
    const response = await handshake(lb.worker, "/socket", boundTo("cf"));
    expect(response.statusCode).toBe(200);
    expect(await text(response)).toBe("no");
  });

  it("ejects nobody when its client hangs up in the middle of the handshake", async () => {
    lb.cf.mode = { kind: "hang", healthy: true };
    const { headers } = boundTo("cf", { headers: UPGRADE });
    const socket = await rawConnection(lb.worker, head("GET", "/socket", headers));
    await until("the backend has been asked", () => lb.cf.seen.length > 0);
    const [connection] = lb.cf.connections;
    socket.resetAndDestroy();
    await until("the backend is let go", () => connection?.destroyed === true);
    lb.cf.mode = { kind: "well" };
    await expectAllUp();
  });

  it("ejects nobody when its client hangs up without a word", async () => {
    const webSocket = await lb.worker.webSocket("/socket", boundTo("cf"));
    webSocket.terminate();
    await until("the backend's end is closed", () => lb.cf.webSockets.size === 0);
    await expectAllUp();
  });

  it("ejects nobody when its backend's end is cut", async () => {
    const webSocket = await lb.worker.webSocket("/socket", boundTo("cf"));
    webSocket.on("error", () => {});
    const closed = once(webSocket, "close") as Promise<Closed>;
    for (const socket of lb.cf.connections) socket.resetAndDestroy();
    const [code] = await closed;
    expect(code).toBe(1006); // RFC 6455, section 7.1.5: no close frame came, and none may be made up.
    await expectAllUp();
  });

  it.each([1001, 1011, 1012, 4500])("ejects nobody when its backend closes it with %i", async (code) => {
    const webSocket = await lb.worker.webSocket("/socket", boundTo("cf"));
    webSocket.send(`close:${code}:`);
    await once(webSocket, "close");
    await expectAllUp();
  });

  it("stays open when its backend is ejected meanwhile", async () => {
    const webSocket = await lb.worker.webSocket("/socket", boundTo("cf"));
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.worker.fetch("/", boundTo("cf"));
    expect(await lb.isUp("cf")).toBe(false);
    webSocket.send("and I?");
    expect(String((await next(webSocket)).data)).toBe("and I?");
    webSocket.close();
  });

  it("is one of many at a time", async () => {
    const webSockets = await Promise.all(
      Array.from({ length: 50 }, () => lb.worker.webSocket("/socket", boundTo("cf"))),
    );
    const answers = webSockets.map(async (webSocket, i) => {
      webSocket.send(`${i}`);
      return String((await next(webSocket)).data);
    });
    expect(await Promise.all(answers)).toEqual(webSockets.map((_, i) => `${i}`));
    for (const webSocket of webSockets) webSocket.close();
  });

  async function expectAllUp(): Promise<void> {
    for (const id of ["cf", "duck", "koyeb"] as const) expect(await lb.isUp(id)).toBe(true);
    expect(lb.worker.log).toEqual([]);
  }
});
