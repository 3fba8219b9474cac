import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { Backend, type Mode } from "../support/backend.ts";
import { obeyOrders } from "../support/backend-process.ts";

/** What the demo tells a sample backend. */
export interface Order {
  readonly mode: Mode;
  /** Where the page finds the buttons' other end. */
  readonly controlUrl: string;
}

/** The response header in which a sample backend names itself; the Worker passes it on like any other. */
export const SERVED_BY = "X-Demo-Backend";
/** A user's add-on, in the shape of AIOStreams' addresses: `/stremio/<uuid>/<secret>/manifest.json`. */
export const MANIFEST_PATH = "/stremio/6f2b1c9e-0d5a-4c37-9a44-5f0c2d7e8b13/sample-secret/manifest.json";
export const PAGE_PATH = "/stremio/configure";
export const EVENTS_PATH = "/api/v1/events";
export const FILM_PATH = "/api/v1/proxy/film.mkv";
/** Where the load balancer shows its status page in the demo; a deployment has none unless it names a path. */
export const STATUS_PATH = "/lb-status-demo";
/** Each WebSocket gets a message a second that names its backend, and gets back what it sends. */
export const LIVE_PATH = "/api/v1/live";

export const FILM_BYTES = 1024 * 1024;

/** The film: no two neighbouring parts are alike, so that a wrong range shows. */
export function film(): Buffer {
  return Buffer.from(Uint8Array.from({ length: FILM_BYTES }, (_, i) => (i % 251) ^ (i >>> 8)));
}

/** The parts of a `Range` header (RFC 9110, section 14.1.2) that ask for one range of `size` bytes; both ends count. */
export function parseRange(
  header: string,
  size: number,
): { first: number; last: number } | "unsatisfiable" | "ignored" {
  const [, from = "", to = ""] = /^bytes=(\d*)-(\d*)$/.exec(header) ?? [];
  if (from === "" && to === "") return "ignored";
  const first = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const last = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  // An end before the start makes the header invalid, and an invalid one is ignored.
  if (from !== "" && to !== "" && Number(to) < first) return "ignored";
  return first > last ? "unsatisfiable" : { first, last };
}

function serve(id: string): void {
  let controlUrl = "";
  const page = readFileSync(join(import.meta.dirname, "page.html"), "utf8");
  const bytes = film();

  const backend = new Backend(id, (request, response) => {
    backend.seen.length = 0;
    response.setHeader(SERVED_BY, id);
    const path = request.url?.split("?")[0] ?? "";
    if (path === "/" || /^\/stremio\/([^/]+\/[^/]+\/)?configure$/.test(path)) return sendPage(response);
    if (/^\/stremio\/([^/]+\/[^/]+\/)?manifest\.json$/.test(path)) return sendManifest(id, response);
    if (path === EVENTS_PATH) return sendEvents(id, response);
    if (path === FILM_PATH) return sendFilm(bytes, request, response);
    response
      .writeHead(404, { "Content-Type": "text/plain" })
      .end(`The sample backend ${id} has nothing at this address.\n`);
  });

  function sendPage(response: ServerResponse): void {
    const values: Record<string, string> = {
      id,
      controlUrl,
      manifestPath: MANIFEST_PATH,
      livePath: LIVE_PATH,
      servedBy: SERVED_BY,
      statusPath: STATUS_PATH,
    };
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" });
    response.end(page.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] ?? ""));
  }

  setInterval(() => {
    const message = JSON.stringify({ backend: id, atMs: Date.now() });
    for (const webSocket of backend.webSockets) webSocket.send(message);
  }, 1_000);

  const port = Number(process.argv[3]);
  void backend.start(port).then(() =>
    obeyOrders<Order>((order) => {
      controlUrl = order.controlUrl;
      backend.mode = order.mode;
    }),
  );
}

function sendManifest(id: string, response: ServerResponse): void {
  const manifest = {
    id: "com.example.aiostreams-demo",
    version: "1.0.0",
    name: `AIOStreams sample (${id})`,
    description: `Answered by the sample backend ${id}.`,
    types: ["movie", "series"],
    resources: ["stream"],
    catalogs: [],
  };
  response.writeHead(200, { "Content-Type": "application/json", "Access-Control-Allow-Origin": "*" });
  response.end(`${JSON.stringify(manifest)}\n`);
}

/** Server-sent events, one a second for as long as somebody listens. */
function sendEvents(id: string, response: ServerResponse): void {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  let count = 0;
  const send = () => response.write(`data: ${JSON.stringify({ backend: id, count: ++count })}\n\n`);
  send();
  const timer = setInterval(send, 1_000);
  response.on("close", () => clearInterval(timer));
}

function sendFilm(bytes: Buffer, request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("Accept-Ranges", "bytes");
  response.setHeader("Content-Type", "video/x-matroska");
  const range =
    request.method === "GET" && request.headers.range ? parseRange(request.headers.range, bytes.length) : "ignored";
  if (range === "unsatisfiable") {
    return void response.writeHead(416, { "Content-Range": `bytes */${bytes.length}`, "Content-Length": 0 }).end();
  }
  if (range === "ignored") {
    return void response.writeHead(200, { "Content-Length": bytes.length }).end(bytes);
  }
  const part = bytes.subarray(range.first, range.last + 1);
  const contentRange = `bytes ${range.first}-${range.last}/${bytes.length}`;
  response.writeHead(206, { "Content-Range": contentRange, "Content-Length": part.length }).end(part);
}

if (import.meta.main) serve(process.argv[2] ?? "");
