import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { send } from "./aiostreams.ts";
import type { Certificate } from "./certificate.ts";

/** What a deployed Worker shows from outside, without being one, so that it can be made wrong in each of its ways. */
export class SampleWorker {
  readonly #servers: readonly Server[];
  readonly #domain: string;
  /** The backend that answers everything, the backends that it knows, and the path of its status page. */
  backend = "cf";
  ids: readonly string[] = ["cf", "duck", "koyeb"];
  statusPath = "/lb-status-8f3a";
  /** Answers a request in place of the Worker; one that answers `false` leaves it to the Worker. */
  instead: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;

  constructor(domain: string, certificate: Certificate) {
    this.#domain = domain;
    const listener: RequestListener = (request, response) => this.#answer(request, response);
    this.#servers = [createTlsServer(certificate, listener), createServer(listener)];
  }

  /** Those of HTTPS and of HTTP. */
  get ports(): number[] {
    return this.#servers.map((server) => (server.address() as AddressInfo).port);
  }

  async start(): Promise<void> {
    for (const server of this.#servers) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
    }
  }

  stop(): void {
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.instead(request, response)) return;
    const { url = "", headers } = request;
    const cookie = `aiostreams_backend=${this.backend}`;
    if (!("encrypted" in request.socket)) {
      response.writeHead(301, { Location: `https://${this.#domain}${url}` }).end();
    } else if (url.split("?")[0] === this.statusPath) {
      send(response, 200, { backends: this.ids.map((id) => ({ id })) });
    } else {
      if (headers.cookie !== cookie) response.setHeader("Set-Cookie", `${cookie}; Path=/; HttpOnly; Secure`);
      send(response, 200, { success: true, detail: "OK" });
    }
  }
}
