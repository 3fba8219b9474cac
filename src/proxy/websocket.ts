/** All that is special about a WebSocket. Once its 101 has been handed on, frames pass without running any code. */

/** Whether a request asks for a WebSocket: only a GET opens one (RFC 6455, section 4.1). */
export function isWebSocketRequest(request: Pick<Request, "method" | "headers">): boolean {
  return request.method === "GET" && request.headers.get("Upgrade")?.toLowerCase() === "websocket";
}

/** Closes the socket of an answer that is thrown away, if it has one. */
export function closeWebSocket({ webSocket }: Response): void {
  webSocket?.accept();
  webSocket?.close();
}
