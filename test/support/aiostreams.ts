import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Certificate } from "./certificate.ts";

/** Its users: uuid to password, and to the SECRET_KEY with which the configuration was encrypted. */
export type Database = Map<string, { password: string; secretKey: string }>;

/** AIOStreams allows five calls of its user API in five seconds; with Redis all backends count together. */
export class RateLimit {
  #beganMs = 0;
  #calls = 0;
  /** How many calls it has refused. */
  refusals = 0;

  /** Seconds until the next call is allowed; 0 when this one is. */
  count(nowMs: number): number {
    if (nowMs - this.#beganMs >= 5_000) [this.#beganMs, this.#calls] = [nowMs, 0];
    this.#calls += 1;
    if (this.#calls <= 5) return 0;
    this.refusals += 1;
    return Math.ceil((this.#beganMs + 5_000 - nowMs) / 1_000);
  }
}

export interface Settings {
  database: Database;
  secretKey: string;
  version: string;
  commit: string;
  baseUrl: string | undefined;
  /** What a configuration has to hold before it is saved, if anything. */
  addonPassword: string | undefined;
  rateLimit: RateLimit;
  /** Answers a request in place of AIOStreams; one that answers `false` leaves it to AIOStreams. */
  instead: (request: IncomingMessage, response: ServerResponse) => boolean;
}

/** A small backend with the routes of AIOStreams 2.33 that a deployment is judged by, and its answers' shapes. */
export class SampleAiostreams {
  readonly settings: Settings;
  readonly #server: Server;
  /** Method and path of every request so far. */
  readonly seen: string[] = [];
  /** Every password, path and header of a user that went over the wire: none of them is for anybody's eyes. */
  readonly secrets = new Set<string>();

  constructor(settings: Settings, certificate: Certificate | undefined) {
    this.settings = settings;
    const listener: RequestListener = (request, response) => void this.#listen(request, response);
    this.#server = certificate ? createTlsServer(certificate, listener) : createServer(listener);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async start(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  /** As a killed process does it: connections break off, and the port is closed. */
  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #listen(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "" } = request;
    this.seen.push(`${method} ${url}`);
    if (!this.settings.instead(request, response)) await this.answer(request, response);
  }

  /** Answers as AIOStreams does. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = "" } = request;
    if (url === "/api/v1/health") return send(response, 200, { success: true, detail: "OK" });
    if (url === "/api/v1/status") return send(response, 200, { success: true, data: this.#status() });
    if (url === "/api/v1/user") return this.#answerUser(request, response);
    const [, uuid, secret] = /^\/stremio\/([^/]+)\/([^/]+)\/manifest\.json$/.exec(url) ?? [];
    if (uuid !== undefined && secret !== undefined) return this.#answerManifest(uuid, secret, response);
    response.writeHead(404, { "Content-Type": "text/html" }).end("<!doctype html><title>AIOStreams</title>");
  }

  #status(): object {
    const { version, commit, baseUrl, addonPassword } = this.settings;
    // In earnest it has some 280 KB, most of them about presets.
    const presets = Array.from({ length: 700 }, (_, i) => ({ id: `preset-${i}`, description: "x".repeat(350) }));
    return {
      version,
      commit,
      tag: `v${version}`,
      settings: { baseUrl, protected: addonPassword !== undefined, presets },
    };
  }

  async #answerUser(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { database, secretKey, addonPassword, rateLimit } = this.settings;
    const waitSeconds = rateLimit.count(Date.now());
    if (waitSeconds > 0) {
      response.setHeader("Retry-After", waitSeconds);
      return fail(response, 429, "RATE_LIMIT_EXCEEDED");
    }
    if (request.method === "POST") {
      const { password, config } = JSON.parse(await textOf(request));
      if (!config || !password) return fail(response, 400, "MISSING_REQUIRED_FIELDS");
      if (addonPassword !== undefined && config.accessKey !== addonPassword) {
        return fail(response, 401, "ADDON_PASSWORD_INVALID");
      }
      const uuid = randomUUID();
      database.set(uuid, { password, secretKey });
      const data = { uuid, encryptedPassword: encrypt(password, secretKey) };
      this.secrets.add(password).add(data.encryptedPassword);
      return send(response, 201, { success: true, detail: "User was successfully created", data });
    }
    const [, base64 = ""] = /^Basic (.+)$/.exec(request.headers.authorization ?? "") ?? [];
    this.secrets.add(base64);
    const [uuid = "", password] = Buffer.from(base64, "base64").toString().split(":");
    const user = database.get(uuid);
    if (user?.password !== password) return fail(response, 400, "USER_INVALID_DETAILS");
    if (request.method === "DELETE") {
      database.delete(uuid);
      return send(response, 200, { success: true, detail: "User deleted successfully" });
    }
    if (user?.secretKey !== secretKey) return fail(response, 500, "ENCRYPTION_ERROR");
    send(response, 200, {
      success: true,
      data: { userData: { uuid }, encryptedPassword: encrypt(password ?? "", secretKey) },
    });
  }

  #answerManifest(uuid: string, secret: string, response: ServerResponse): void {
    const { database, secretKey } = this.settings;
    if (!database.has(uuid)) fail(response, 400, "USER_INVALID_DETAILS");
    else if (!secret.endsWith(marked(secretKey))) fail(response, 500, "ENCRYPTION_ERROR");
    else send(response, 200, { id: `sample.${uuid}`, name: "AIOStreams", version: "2.33.2", resources: [], types: [] });
  }
}

/** What AIOStreams answers when something is wrong. */
export function fail(response: ServerResponse, status: number, code: string): void {
  send(response, status, { success: false, detail: null, data: null, error: { code, message: `Sample of ${code}` } });
}

export function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

/** Not secret at all, but only of use where the same key is. */
function encrypt(password: string, secretKey: string): string {
  return Buffer.from(password).toString("base64url") + marked(secretKey);
}

function marked(secretKey: string): string {
  return createHash("sha256").update(secretKey).digest("base64url");
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}
