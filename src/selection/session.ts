import type { Backend, Config } from "../config.ts";
import { type Health, healthOf, stateOf } from "../health/health-state.ts";
import { isStandby, wasNoneUp } from "../health/view.ts";
import { clientKey } from "./rendezvous.ts";

/** A check that is older may be out of date: it costs a client one request elsewhere, never its session. */
const CHECK_MOVES_SESSION_MS = 60_000;

/** What is known of the client when its backend is chosen. */
export interface Client {
  /** The backend that its session cookie names, if it names one. */
  readonly stickyBackend: Backend | undefined;
  /** What it counts as: its address or its network. */
  readonly key: string;
}

/** Who asks. `ip`: the address that Cloudflare vouches for; empty where there is none. */
export function clientOf(headers: Headers, ip: string, config: Config): Client {
  return { stickyBackend: stickyBackendOf(headers, config), key: clientKey(ip) };
}

/**
 * The backend that the first session cookie names that names one, in the `Cookie` header (RFC 6265, section 5.4). A value is
 * never decoded: whatever a client forged, it can only fail to name a backend.
 */
function stickyBackendOf(
  headers: Headers,
  { stickySessions, sessionCookieName, backends }: Config,
): Backend | undefined {
  const cookies = stickySessions ? headers.get("Cookie") : null;
  for (const pair of cookies?.split(";") ?? []) {
    const equals = pair.indexOf("=");
    if (pair.slice(0, equals).trim() !== sessionCookieName) continue;
    const id = pair.slice(equals + 1).trim();
    const named = backends.find((backend) => backend.id === id);
    if (named) return named;
  }
  return undefined;
}

/** The `Set-Cookie` value that binds a client to a backend (RFC 6265, section 4.1). */
export function sessionCookie(backend: Backend, config: Config): string {
  const { sessionCookieName, sessionCookieTtlSeconds } = config;
  return `${sessionCookieName}=${backend.id}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=${sessionCookieTtlSeconds}`;
}

/**
 * Whether a success of `backend` sets the session cookie: when the client has none, or when its sticky backend is on standby,
 * or down by a bad check of the last minute. One failed request rebinds no client: its backend is still available. Nothing is set
 * while no backend is up, and a backup is named only while every primary is down.
 */
export function shouldSetCookie(
  { stickyBackend }: Client,
  backend: Backend,
  { stickySessions, backends }: Pick<Config, "stickySessions" | "backends">,
  health: Health,
  nowMs: number,
): boolean {
  if (!stickySessions || stickyBackend === backend) return false;
  const state = ({ id }: Backend) => stateOf(healthOf(health, id), nowMs);
  if (!backends.some((other) => state(other) === "up")) return false;
  if (backend.isBackup && backends.some((other) => !other.isBackup && state(other) !== "down")) return false;
  if (!stickyBackend || isStandby(stickyBackend, backends, health, nowMs)) return true;
  // A bad one means that it is down. Behind outlier ejection, and in a long term, the last check is good.
  const known = healthOf(health, stickyBackend.id);
  const { result } = known;
  const isDown = result !== undefined && result.kind !== "good" && nowMs - result.atMs < CHECK_MOVES_SESSION_MS;
  return isDown && !wasNoneUp(known, backends, health, nowMs);
}
