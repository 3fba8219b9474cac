import { expect, it } from "vitest";
import { answerToClient } from "../../../src/proxy/headers.ts";
import { closeWebSocket, isWebSocketRequest } from "../../../src/proxy/websocket.ts";
import { backendOf, configWith } from "../sample.ts";

it.each([
  ["GET", "websocket", true],
  ["GET", "WebSocket", true],
  ["GET", "h2c", false],
  ["GET", "websocket, h2c", false],
  ["GET", undefined, false],
  ["POST", "websocket", false],
  ["HEAD", "websocket", false],
])("a WebSocket is asked for by a GET that says so: %s, Upgrade: %s", (method, protocol, isOne) => {
  const headers = new Headers(protocol === undefined ? {} : { Upgrade: protocol });
  expect(isWebSocketRequest({ method, headers })).toBe(isOne);
});

it("a 101 reaches the client with its headers, the session cookie and its socket", async () => {
  const config = configWith({ SERVED_BY_HEADER: "X-Served-By" });
  const { 0: ours, 1: theirs } = new WebSocketPair();
  theirs.accept();
  const headers = { "Sec-WebSocket-Protocol": "chat" };
  const response = new Response(null, { status: 101, webSocket: ours, headers });
  const { status, headers: own, webSocket } = answerToClient(response, backendOf(config, "a"), "lb=a", config);
  expect([status, own.get("Sec-WebSocket-Protocol"), own.get("X-Served-By")]).toEqual([101, "chat", "a"]);
  expect(own.getSetCookie()).toEqual(["lb=a"]);
  const received = new Promise((resolve) => webSocket?.addEventListener("message", ({ data }) => resolve(data)));
  webSocket?.accept();
  theirs.send("hello");
  expect(await received).toBe("hello");
  webSocket?.close();
});

it("an answer without a socket can be thrown away too", () => {
  expect(() => closeWebSocket(new Response("film"))).not.toThrow();
});
