import type { Backend, Config } from "../config.ts";
import { type Health, healthOf, isDown } from "../health/findings.ts";

/** What is known of the client when its backend is chosen. */
export interface Client {
  /** The backend that its session cookie names, if it names one. */
  readonly bound: Backend | undefined;
  /** Its address as Cloudflare saw it; empty where there is none. */
  readonly ip: string;
}

/** Who asks: the backend that the session cookie names, and the address that Cloudflare vouches for. */
export function clientOf(headers: Headers, config: Config): Client {
  const cookies = config.stickySessions ? headers.get("Cookie") : null;
  const id = cookies === null ? undefined : readCookie(cookies, config.sessionCookieName);
  return {
    bound: id === undefined ? undefined : config.backends.find((backend) => backend.id === id),
    ip: headers.get("CF-Connecting-IP") ?? "",
  };
}

/**
 * The value of the first cookie of exactly this name in a `Cookie` header (RFC 6265, section 5.4), or `undefined`.
 * The value is returned as it stands, never decoded: whatever a client forged, it can only fail to name a backend.
 */
export function readCookie(header: string, name: string): string | undefined {
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals !== -1 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
}

/** The `Set-Cookie` value that binds a client to a backend (RFC 6265, section 4.1). */
export function sessionCookie(backend: Backend, config: Config): string {
  const { sessionCookieName, sessionCookieTtlSeconds } = config;
  return `${sessionCookieName}=${backend.id}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=${sessionCookieTtlSeconds}`;
}

/**
 * Whether an answer below 500 from `backend` moves the client's session to it: when it has none, or when the backend that it
 * is bound to may no longer serve it. One failed request moves nobody: its backend is still up.
 */
export function movesSession(client: Client, backend: Backend, config: Config, health: Health): boolean {
  const { bound } = client;
  if (!config.stickySessions || bound === backend) return false;
  return bound === undefined || !mayServe(bound, config, health);
}

function mayServe(backend: Backend, { backends }: Config, health: Health): boolean {
  const down = (id: string) => isDown(healthOf(health, id));
  return !down(backend.id) && (!backend.isBackup || backends.every(({ id, isBackup }) => isBackup || down(id)));
}
