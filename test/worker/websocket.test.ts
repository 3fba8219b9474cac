import { once } from "node:events";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import type { RawData, WebSocket } from "ws";
import type { Backend } from "../support/backend.ts";
import { noise } from "../support/bytes.ts";
import { boundTo, changesOf, HINTS_ONLY, IDS, loadBalancer, takeDown } from "../support/fixture.ts";
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
      "is silent, and its check finds it dead",
      () => {
        lb.cf.mode = { kind: "hang", healthStatus: 503 };
      },
    ],
    [
      "is silent, and so is its check",
      () => {
        lb.cf.mode = { kind: "hang" };
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

  it("moves the session to the backend that it has opened on, once the client's own is found dead", async () => {
    await takeDown(lb, ["cf"], { kind: "well" });
    const { statusCode, headers } = await handshake(lb.worker, "/socket", boundTo("cf"));
    expect(statusCode).toBe(101);
    expect(headers["set-cookie"]).toEqual([expect.stringMatching(/^aiostreams_backend=(duck|koyeb);/)]);
  });

  it("moves no session while the client's own backend is up, although it has opened on another", async () => {
    for (let i = 0; i < 3; i++) {
      lb.cf.mode = { kind: "status", status: 503, healthStatus: 200 };
      const { statusCode, headers } = await handshake(lb.worker, "/socket", boundTo("cf"));
      expect(statusCode).toBe(101);
      expect(headers["x-served-by-backend"]).not.toBe("cf");
      expect(headers["set-cookie"]).toBeUndefined();
    }
  });

  it("is answered 502 when every backend refuses", async () => {
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    expect((await handshake(lb.worker, "/socket")).statusCode).toBe(502);
  });

  it.each([400, 401, 403, 404, 426])(
    "that a backend answers %i gets just that, and nobody is ejected",
    async (status) => {
      lb.cf.mode = { kind: "status", status, healthStatus: 200 };
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
    await until("it is ejected", () => changesOf(lb, "cf").length > 0);
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
    for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
    expect(lb.worker.log).toEqual([]);
  }
});

describe("a WebSocket handshake that is not answered", () => {
  const lb = loadBalancer({ PROBE_AFTER: 100, ...HINTS_ONLY });

  it("is sent to no second backend while the check has not found the first one dead", async () => {
    lb.cf.mode = { kind: "frozen" };
    const answer = handshake(lb.worker, "/socket", boundTo("cf"));
    // A GET is sent elsewhere as well, after a second without an answer to the check.
    const { text } = await lb.worker.fetch("/", boundTo("cf"));
    expect(JSON.parse(text).id).not.toBe("cf");
    expect(webSocketsSeen(lb.duck, lb.koyeb)).toEqual([]);
    lb.cf.mode = { kind: "well" };
    expect((await answer).headers["x-served-by-backend"]).toBe("cf");
    expect(webSocketsSeen(lb.duck, lb.koyeb)).toEqual([]);
  });

  it("is waited for while the check is good", async () => {
    lb.cf.mode = { kind: "slow", ms: 1_000 };
    expect((await handshake(lb.worker, "/socket", boundTo("cf"))).headers["x-served-by-backend"]).toBe("cf");
    expect(lb.cf.checks).toBeGreaterThan(0);
    expect(webSocketsSeen(lb.duck, lb.koyeb)).toEqual([]);
  });

  function webSocketsSeen(...backends: Backend[]): string[] {
    return backends.flatMap(({ seen }) => seen.filter(({ headers }) => headers.upgrade).map(({ url }) => url));
  }
});

const SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";

describe("a 101 that nobody asked for", () => {
  const lb = loadBalancer();

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
      const { status } = await lb.worker.fetch("/", boundTo("cf", options));
      expect(status).toBe(200);
      expect(asked).toBeGreaterThan(0);
    }
    expect(changesOf(lb, "cf")).toEqual([]);
  });

  it("is answered 502 where every backend sends one, and their connections are let go", async () => {
    for (const backend of lb.backends) {
      backend.onRequest = ({ socket }) => void socket.write(`${SWITCHING}Upgrade: websocket\r\n\r\n`);
    }
    for (let i = 0; i < 5; i++) expect((await lb.worker.fetch("/")).status).toBe(502);
    for (const backend of lb.backends) backend.onRequest = undefined;
    expect((await lb.worker.fetch("/")).status).toBe(200);
    for (const id of IDS) expect(changesOf(lb, id)).toEqual([]);
  });
});
