import { readFileSync } from "node:fs";
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
export const MANIFEST_PATH = "/stremio/manifest.json";
export const PAGE_PATH = "/stremio/configure";
/** Each WebSocket gets a message a second that names its backend, and gets back what it sends. */
export const LIVE_PATH = "/api/v1/live";
/** Where the load balancer shows its status page in the demo; a deployment has none unless it names a path. */
export const STATUS_PATH = "/lb-status-demo";

function serve(id: string, port: number): void {
  let controlUrl = "";
  const page = readFileSync(join(import.meta.dirname, "page.html"), "utf8");

  const backend = new Backend(id, (request, response) => {
    backend.seen.length = 0;
    response.setHeader(SERVED_BY, id);
    const path = request.url?.split("?")[0];
    if (path === "/" || path === PAGE_PATH) {
      const values: Record<string, string> = { id, controlUrl, SERVED_BY, MANIFEST_PATH, LIVE_PATH, STATUS_PATH };
      response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" });
      response.end(page.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] ?? ""));
    } else if (path === MANIFEST_PATH) {
      const manifest = { id: "com.example.aiostreams-demo", version: "1.0.0", name: `AIOStreams sample (${id})` };
      response.writeHead(200, { "Content-Type": "application/json", "Access-Control-Allow-Origin": "*" });
      response.end(`${JSON.stringify({ ...manifest, types: ["movie", "series"], resources: ["stream"] })}\n`);
    } else {
      response.writeHead(404, { "Content-Type": "text/plain" });
      response.end(`The sample backend ${id} has nothing at this address.\n`);
    }
  });

  setInterval(() => {
    const message = JSON.stringify({ backend: id, atMs: Date.now() });
    for (const webSocket of backend.webSockets) webSocket.send(message);
  }, 1_000);

  void backend.start(port).then(() =>
    obeyOrders<Order>((order) => {
      controlUrl = order.controlUrl;
      backend.mode = order.mode;
    }),
  );
}

if (import.meta.main) serve(process.argv[2] ?? "", Number(process.argv[3]));
