import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ACTIONS, type Action, type Snapshot } from "./stack.ts";

/** What the page's buttons reach: they have to work when no sample backend does. */
export interface Controlled {
  snapshot(): Snapshot;
  /** Whether there is a backend of this id. */
  has(id: string): boolean;
  command(id: string, action: Action): Promise<void>;
}

/**
 * The other end of the page's buttons, on a port of its own. `GET /events` streams a snapshot a second and at each
 * `push`; `POST /backends/<id>/<action>` does what the button says. A browser gets in from the demo's page only.
 */
export class Control {
  readonly #server: Server;
  readonly #watchers = new Set<ServerResponse>();
  readonly #controlled: Controlled;
  readonly #pageOrigins: readonly string[];
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(controlled: Controlled, pagePort: number) {
    this.#controlled = controlled;
    this.#pageOrigins = [`http://localhost:${pagePort}`, `http://127.0.0.1:${pagePort}`];
    this.#server = createServer((request, response) => void this.#answer(request.method, request, response));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.#heartbeat = setInterval(() => this.push(), 1_000);
  }

  /** Shows every page that is open how things stand now. */
  push(): void {
    const event = `data: ${JSON.stringify(this.#controlled.snapshot())}\n\n`;
    for (const watcher of this.#watchers) watcher.write(event);
  }

  stop(): void {
    clearInterval(this.#heartbeat);
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(
    method: string | undefined,
    { url = "", headers }: { url?: string | undefined; headers: { origin?: string | undefined } },
    response: ServerResponse,
  ): Promise<void> {
    // Only a browser sends an Origin, and with every request that another site could make it send.
    if (headers.origin !== undefined) {
      if (!this.#pageOrigins.includes(headers.origin)) return end(response, 403, "Only the demo's page may do this.");
      response.setHeader("Access-Control-Allow-Origin", headers.origin);
    }
    if (method === "GET" && url === "/events") return this.#watch(response);
    const [, id = "", action = ""] = /^\/backends\/(\w+)\/(\w+)$/.exec(url) ?? [];
    if (!this.#controlled.has(id) || !isAction(action)) return end(response, 404, "No such backend or action.");
    if (method !== "POST") return end(response, 405, "Use POST.");
    try {
      await this.#controlled.command(id, action);
      end(response, 204);
    } catch (error) {
      end(response, 500, String(error));
    }
  }

  #watch(response: ServerResponse): void {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    this.#watchers.add(response);
    response.on("close", () => this.#watchers.delete(response));
    this.push();
  }
}

function isAction(text: string): text is Action {
  return (ACTIONS as readonly string[]).includes(text);
}

function end(response: ServerResponse, status: number, text = ""): void {
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" }).end(text);
}
