import { afterEach, describe, expect, it, vi } from "vitest";
import { answerToClient } from "../../../src/proxy/headers.ts";
import { closeWebSocket, copyOf101, isWebSocketRequest } from "../../../src/proxy/websocket.ts";
import { backendOf, configWith } from "../sample.ts";

/** A backend's 101, and the backend's end of the socket. */
function upgrade(headers: Record<string, string> = {}) {
  const { 0: ours, 1: theirs } = new WebSocketPair();
  theirs.accept();
  return { response: new Response(null, { status: 101, webSocket: ours, headers }), theirs };
}

const sockets: WebSocket[] = [];
const opened = ({ webSocket }: Response): WebSocket => {
  if (!webSocket) throw new Error("no socket");
  webSocket.accept();
  sockets.push(webSocket);
  return webSocket;
};
const messageOf = (socket: WebSocket) =>
  new Promise((resolve) => socket.addEventListener("message", ({ data }) => resolve(data), { once: true }));

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

describe("a WebSocket request", () => {
  it.each([
    ["GET", "websocket", true],
    ["GET", "WebSocket", true],
    ["GET", "h2c", false],
    ["GET", "websocket, h2c", false],
    ["GET", undefined, false],
    ["POST", "websocket", false],
    ["HEAD", "websocket", false],
  ])("is a GET that says so: %s, Upgrade: %s", (method, protocol, isOne) => {
    const headers = protocol === undefined ? {} : { Upgrade: protocol };
    expect(isWebSocketRequest(new Request("https://aiostreams.example.com/", { method, headers }))).toBe(isOne);
  });
});

describe("a 101", () => {
  it("is copied with its headers, which can be changed, and its socket", async () => {
    const { response, theirs } = upgrade({ "Sec-WebSocket-Protocol": "chat" });
    const copy = copyOf101(response);
    copy.headers.set("X-Own", "1");
    expect([copy.status, copy.headers.get("Sec-WebSocket-Protocol")]).toEqual([101, "chat"]);
    const received = messageOf(opened(copy));
    theirs.send("hello");
    expect(await received).toBe("hello");
  });

  it("carries the session cookie like any other answer", async () => {
    const config = configWith({ SERVED_BY_HEADER: "X-Served-By" });
    const { response, theirs } = upgrade();
    const answer = answerToClient(response, backendOf(config, "a"), "lb=a", config);
    expect([answer.status, answer.headers.getSetCookie(), answer.headers.get("X-Served-By")]).toEqual([
      101,
      ["lb=a"],
      "a",
    ]);
    const received = messageOf(theirs);
    opened(answer).send("hello");
    expect(await received).toBe("hello");
  });

  it("that is thrown away has its socket closed", async () => {
    const { response, theirs } = upgrade();
    const closed = vi.fn();
    theirs.addEventListener("close", closed);
    closeWebSocket(response);
    await vi.waitFor(() => expect(closed).toHaveBeenCalledTimes(1));
  });

  it("without a socket can be thrown away too", () => {
    expect(() => closeWebSocket(new Response("film"))).not.toThrow();
  });
});
