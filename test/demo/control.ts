import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface ControlOptions {
  /** The port of the page: a browser gets in from there only. */
  readonly pagePort: number;
  /** What the page shows. */
  readonly snapshot: () => unknown;
  /** Does what a button says; resolves to `false` if there is no such backend or action. */
  readonly command: (id: string, action: string) => Promise<boolean>;
}

/**
 * The other end of the page's buttons, on a port of its own, since it has to work when no sample backend does.
 * `GET /events` streams a snapshot a second and at each `push`; `POST /backends/<id>/<action>` does what the button says.
 */
export class Control {
  readonly #options: ControlOptions;
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  readonly #watchers = new Set<ServerResponse>();
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(options: ControlOptions) {
    this.#options = options;
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
    const event = `data: ${JSON.stringify(this.#options.snapshot())}\n\n`;
    for (const watcher of this.#watchers) watcher.write(event);
  }

  stop(): void {
    clearInterval(this.#heartbeat);
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer({ method, url = "", headers: { origin } }: IncomingMessage, response: ServerResponse): Promise<void> {
    const end = (status: number, text = "") =>
      response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" }).end(text);
    // Only a browser sends an Origin, and with every request that another site could make it send.
    if (origin !== undefined) {
      const { pagePort } = this.#options;
      const isPage = [`http://localhost:${pagePort}`, `http://127.0.0.1:${pagePort}`].includes(origin);
      if (!isPage) return void end(403, "Only the demo's page may do this.");
      response.setHeader("Access-Control-Allow-Origin", origin);
    }
    if (method === "GET" && url === "/events") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
      this.#watchers.add(response);
      response.on("close", () => this.#watchers.delete(response));
      return this.push();
    }
    if (method !== "POST") return void end(405, "Use POST.");
    const [, id = "", action = ""] = /^\/backends\/(\w+)\/(\w+)$/.exec(url) ?? [];
    try {
      if (await this.#options.command(id, action)) end(204);
      else end(404, "No such backend or action.");
    } catch (error) {
      end(500, String(error));
    }
  }
}
