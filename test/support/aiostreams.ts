import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Certificate } from "./certificate.ts";

/** Its users: uuid to password, to the SECRET_KEY with which the configuration was encrypted, and to its access key. */
export type Database = Map<string, { password: string; secretKey: string; accessKey: string | undefined }>;

export interface SampleRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}

export interface SampleAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text as it is; anything else as JSON. */
  readonly body?: unknown;
  /** How long a canned answer is said to have taken. */
  readonly tookMs?: number;
}

export interface Settings {
  database: Database;
  secretKey: string;
  version: string;
  baseUrl: string | undefined;
  /** CONFIG_ACCESS_KEY; `undefined` without AIOSTREAMS_AUTH_REQUIRED. */
  accessKey: string | undefined;
  /** Whether it believes X-Forwarded-For. */
  isTrusting: boolean;
  /** How many requests each client has left; with Redis all backends count together. */
  clients: Map<string, number>;
  /** Answers a request in place of AIOStreams: `undefined` leaves it to AIOStreams, `"nothing"` leaves it unanswered. */
  instead: (request: SampleRequest) => SampleAnswer | "nothing" | undefined;
}

/** The routes of AIOStreams 2.33 that a deployment is judged by, and its answers' shapes. */
export class SampleAiostreams {
  readonly settings: Settings;
  /** Every request so far. */
  readonly seen: SampleRequest[] = [];
  /** Every password, path and header of a user: none of them may be printed. */
  readonly secrets = new Set<string>();

  constructor(database: Database, settings: Partial<Settings> = {}) {
    this.settings = {
      database,
      secretKey: "0".repeat(64),
      version: "2.33.2",
      baseUrl: undefined,
      accessKey: undefined,
      isTrusting: true,
      clients: new Map(),
      instead: () => undefined,
      ...settings,
    };
  }

  answer(request: SampleRequest): SampleAnswer | "nothing" {
    this.seen.push(request);
    const { path, headers } = request;
    const instead = this.settings.instead(request);
    if (instead !== undefined) return instead;
    if (path === "/api/v1/health") return { status: 200, body: { success: true, detail: "OK" } };
    if (path === "/api/v1/status") return { status: 200, body: { success: true, data: this.#status() } };
    if (path === "/api/v1/user") return this.#answerUser(request);
    if (path === "/stremio/manifest.json") return this.#answerOpenManifest(headers.get("X-Forwarded-For") ?? "");
    const [, uuid, secret] = /^\/stremio\/([^/]+)\/([^/]+)\/manifest\.json$/.exec(path) ?? [];
    if (uuid !== undefined && secret !== undefined) return this.#answerManifest(uuid, secret);
    return { status: 404, body: "<!doctype html><title>AIOStreams</title>" };
  }

  #status(): object {
    const { version, baseUrl, accessKey } = this.settings;
    return { version, commit: "f36d0f9", settings: { baseUrl, protected: accessKey !== undefined } };
  }

  #answerOpenManifest(forwardedFor: string): SampleAnswer {
    const { isTrusting, clients } = this.settings;
    const client = isTrusting ? forwardedFor : "the connection's own";
    const left = (clients.get(client) ?? 5) - 1;
    clients.set(client, left);
    return { status: 200, headers: { "RateLimit-Remaining": String(left) }, body: { id: "sample" } };
  }

  #answerUser({ method, headers, body }: SampleRequest): SampleAnswer {
    const { database, secretKey, accessKey } = this.settings;
    if (method === "POST") {
      const { password, config } = JSON.parse(body);
      if (accessKey !== undefined && config.accessKey !== accessKey) return failure(401, "ADDON_PASSWORD_INVALID");
      const uuid = randomUUID();
      database.set(uuid, { password, secretKey, accessKey: config.accessKey });
      const encryptedPassword = encrypt(password, secretKey);
      this.secrets.add(password).add(encryptedPassword);
      return { status: 201, body: { success: true, data: { uuid, encryptedPassword } } };
    }
    const [, base64 = ""] = /^Basic (.+)$/.exec(headers.get("Authorization") ?? "") ?? [];
    this.secrets.add(base64);
    const [uuid = "", password = ""] = Buffer.from(base64, "base64").toString().split(":");
    const user = database.get(uuid);
    if (user?.password !== password) return failure(400, "USER_INVALID_DETAILS");
    if (method === "DELETE") {
      database.delete(uuid);
      return { status: 200, body: { success: true, detail: "User deleted successfully" } };
    }
    if (user.secretKey !== secretKey) return failure(500, "ENCRYPTION_ERROR");
    return { status: 200, body: { success: true, data: { userData: { uuid } } } };
  }

  #answerManifest(uuid: string, secret: string): SampleAnswer {
    const { database, secretKey, accessKey } = this.settings;
    const user = database.get(uuid);
    if (!user) return failure(400, "USER_INVALID_DETAILS");
    if (!secret.endsWith(marked(secretKey))) return failure(500, "ENCRYPTION_ERROR");
    if (accessKey !== undefined && user.accessKey !== accessKey) return failure(400, "USER_INVALID_CONFIG");
    return { status: 200, body: { id: `sample.${uuid}`, name: "AIOStreams" } };
  }
}

/** What AIOStreams answers when something is wrong. */
export function failure(status: number, code: string): SampleAnswer {
  return { status, body: { success: false, data: null, error: { code, message: `Sample of ${code}` } } };
}

/** Serves what `answer` says on a port of 127.0.0.1, by TLS if there is a certificate. */
export async function serve(
  answer: (request: SampleRequest, isTls: boolean) => SampleAnswer | "nothing",
  certificate?: Certificate,
): Promise<{ port: number; server: Server } & Disposable> {
  const listener: RequestListener = (request, response) => void respond(request, response, answer, !!certificate);
  const server = certificate ? createTlsServer(certificate, listener) : createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const dispose = () => {
    server.close();
    server.closeAllConnections();
  };
  return { port: (server.address() as AddressInfo).port, server, [Symbol.dispose]: dispose };
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (request: SampleRequest, isTls: boolean) => SampleAnswer | "nothing",
  isTls: boolean,
): Promise<void> {
  let text = "";
  for await (const chunk of request) text += chunk;
  const { method = "", url: path = "" } = request;
  const given = answer(
    { method, path, headers: new Headers(request.headers as Record<string, string>), body: text },
    isTls,
  );
  if (given === "nothing") return;
  const { status, headers, body = "" } = given;
  response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));
}

/** Not secret at all, but only of use where the same key is. */
function encrypt(password: string, secretKey: string): string {
  return Buffer.from(password).toString("base64url") + marked(secretKey);
}

function marked(secretKey: string): string {
  return createHash("sha256").update(secretKey).digest("base64url");
}
