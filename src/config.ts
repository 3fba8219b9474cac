import { sessionCookie } from "./affinity.ts";
import { hashText } from "./rendezvous.ts";

/** One configured server. */
export interface Backend {
  /** The `<NAME>` of its `BACKEND_<NAME>` variable in lower case; all that a client or a log ever sees of it. */
  readonly id: string;
  /** Scheme, host and port, without a trailing slash: a path can be appended as it came. */
  readonly origin: string;
  /** Its own share of every rendezvous weight. It comes from the id, so that a server may move house without moving its clients. */
  readonly seed: number;
  /** The `Set-Cookie` value that binds a client to it. */
  readonly setCookie: string;
}

export interface Config {
  readonly primaryDomain: string;
  /** `https://` and the primary domain: how every address of the service begins. */
  readonly publicOrigin: string;
  /** In the order of their ids. */
  readonly backends: readonly Backend[];
  readonly stickySessions: boolean;
  readonly sessionCookieName: string;
  readonly downTimeMs: number;
  readonly maxRetries: number;
  readonly backendTimeoutMs: number;
  readonly healthCheckPath: string;
  readonly probeAfterMs: number;
  readonly retryNonIdempotent: boolean;
  /** The path of the status page; empty means that there is none. */
  readonly statusPath: string;
  /** The response header that carries the backend's id; empty means that there is none. */
  readonly servedByHeader: string;
}

/** One thing that is wrong with one variable. */
export interface Fault {
  readonly variable: string;
  /** What the variable must be; fit for the public. */
  readonly allowed: string;
  /** What it was; for the log only, since a host name is not for the public. */
  readonly found: unknown;
}

/** The configuration cannot be used; `faults` holds everything that is wrong with it, not just the first thing. */
export class ConfigError extends Error {
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    super(faults.map(({ variable, allowed }) => `${variable} ${allowed}`).join("\n"));
    this.name = "ConfigError";
    this.faults = faults;
  }
}

const DEFAULTS = {
  PRIMARY_DOMAIN: undefined,
  STICKY_SESSIONS: true,
  SESSION_COOKIE_NAME: "aiostreams_backend",
  SESSION_COOKIE_TTL: 86_400,
  BACKEND_DOWN_TIME: 30_000,
  MAX_RETRIES: 3,
  BACKEND_TIMEOUT: 100_000,
  HEALTH_CHECK_PATH: "/api/v1/health",
  PROBE_AFTER: 5_000,
  RETRY_NON_IDEMPOTENT: true,
  STATUS_PATH: "",
  SERVED_BY_HEADER: "",
} as const;

type Variable = keyof typeof DEFAULTS;
type Vars = Readonly<Record<string, unknown>>;

/** Empty, or a path that reaches the Worker as it is written: no dot segments, and nothing that is percent-encoded on its way. */
const STATUS_PATH = /^(\/(?!\/)(?!(.*\/)?\.\.?(\/|$))[\w/.~-]+)?$/;

const BACKEND_PREFIX = "BACKEND_";

/** Whether the name is that of a backend: `BACKEND_<NAME>`, but not a setting that happens to begin like one. */
export function isBackendVariable(name: string): boolean {
  return name.startsWith(BACKEND_PREFIX) && !(name in DEFAULTS);
}

/** Whether the Worker reads a variable of this name. */
export function isKnownVariable(name: string): boolean {
  return name in DEFAULTS || isBackendVariable(name);
}

/**
 * Parses the Worker's variables. Strings, numbers and booleans are all accepted, as TOML and the dashboard give them;
 * variables that the Worker does not know are left alone, since `env` also holds bindings and secrets of other kinds.
 *
 * @throws {ConfigError} listing every fault at once.
 */
export function parseConfig(vars: Vars): Config {
  const faults: Fault[] = [];
  const read = <T>(variable: Variable, allowed: string, parse: (found: unknown) => T | undefined, standIn: T): T => {
    const found = vars[variable] ?? DEFAULTS[variable];
    const value = parse(typeof found === "string" ? found.trim() : found);
    if (value === undefined) faults.push({ variable, allowed, found });
    return value ?? standIn;
  };
  const wholeNumber = (variable: Variable, min: number, max: number): number =>
    read(variable, `must be a whole number from ${min} to ${max}`, (found) => parseWholeNumber(found, min, max), min);
  const boolean = (variable: Variable): boolean => read(variable, "must be true or false", parseBoolean, false);

  const primaryDomain = read(
    "PRIMARY_DOMAIN",
    "is required and must be a host name without scheme, port or path, such as aiostreams.example.com",
    parseHostName,
    "",
  );
  const stickySessions = boolean("STICKY_SESSIONS");
  const sessionCookieName = read(
    "SESSION_COOKIE_NAME",
    "must be a cookie name: letters, digits and any of !#$%&'*+-.^_`|~",
    (found) => matching(found, /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/), // the token of RFC 6265, section 4.1.1
    "",
  );
  const sessionCookieTtlSeconds = wholeNumber("SESSION_COOKIE_TTL", 1, 34_560_000);
  const healthCheckPath = read(
    "HEALTH_CHECK_PATH",
    "must be a path that begins with one slash, such as /api/v1/health",
    (found) => matching(found, /^\/(?!\/)[!-"$-~]*$/),
    "",
  );
  const settings = {
    downTimeMs: wholeNumber("BACKEND_DOWN_TIME", 0, 3_600_000),
    maxRetries: wholeNumber("MAX_RETRIES", 0, 10),
    backendTimeoutMs: wholeNumber("BACKEND_TIMEOUT", 1, 3_600_000),
    healthCheckPath,
    probeAfterMs: wholeNumber("PROBE_AFTER", 1, 3_600_000),
    retryNonIdempotent: boolean("RETRY_NON_IDEMPOTENT"),
    statusPath: read(
      "STATUS_PATH",
      "must be empty, or begin with one slash, consist of letters, digits, /, -, _, . and ~, and be neither / nor HEALTH_CHECK_PATH",
      (found) => (found && found === healthCheckPath.replace(/\?.*/, "") ? undefined : matching(found, STATUS_PATH)),
      "",
    ),
    servedByHeader: read(
      "SERVED_BY_HEADER",
      "must be empty or a header name that begins with X-, such as X-Served-By",
      // A token (RFC 9110, section 5.6.2). Behind X- there is no header that a client would choke on, such as Content-Length.
      (found) => matching(found, /^(X-[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?$/i),
      "",
    ),
  };
  const backends = parseBackends(vars, primaryDomain, faults).map(({ id, origin }) =>
    Object.freeze({
      id,
      origin,
      seed: hashText(id),
      setCookie: sessionCookie(sessionCookieName, id, sessionCookieTtlSeconds),
    }),
  );

  if (faults.length > 0) throw new ConfigError(faults);
  return Object.freeze({
    primaryDomain,
    publicOrigin: `https://${primaryDomain}`,
    backends: Object.freeze(backends),
    stickySessions,
    sessionCookieName,
    ...settings,
  });
}

function parseBackends(vars: Vars, primaryDomain: string, faults: Fault[]): { id: string; origin: string }[] {
  const backends: { id: string; origin: string; variable: string }[] = [];
  for (const variable of Object.keys(vars).filter(isBackendVariable).sort()) {
    const found = vars[variable];
    if (typeof found === "string" && found.trim() === "") continue;
    const fault = (allowed: string) => faults.push({ variable, allowed, found });
    const id = variable.slice(BACKEND_PREFIX.length).toLowerCase();
    const url = typeof found === "string" ? parseOrigin(found.trim()) : undefined;
    const twin = backends.find((other) => other.id === id || other.origin === url?.origin);
    if (!/^[a-z0-9_-]+$/.test(id)) fault("must have a name of letters, digits, _ or - after BACKEND_");
    else if (!url) fault("must be host, host:port or http(s)://host[:port], without path or credentials");
    else if (url.hostname === primaryDomain) fault("must not be PRIMARY_DOMAIN itself: requests would run in circles");
    else if (twin) fault(`must not be the same backend as ${twin.variable}`);
    else backends.push({ id, origin: url.origin, variable });
  }
  if (backends.length === 0 && !faults.some((fault) => isBackendVariable(fault.variable))) {
    faults.push({ variable: "BACKEND_<NAME>", allowed: "is required: name at least one backend", found: undefined });
  }
  return backends.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function parseWholeNumber(found: unknown, min: number, max: number): number | undefined {
  const value = typeof found === "string" && /^\d{1,15}$/.test(found) ? Number(found) : found;
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max ? value : undefined;
}

function parseBoolean(found: unknown): boolean | undefined {
  if (typeof found === "boolean") return found;
  const text = typeof found === "string" ? found.toLowerCase() : "";
  return text === "true" ? true : text === "false" ? false : undefined;
}

function matching(found: unknown, pattern: RegExp): string | undefined {
  return typeof found === "string" && pattern.test(found) ? found : undefined;
}

function parseHostName(found: unknown): string | undefined {
  if (typeof found !== "string" || /[:[\]]/.test(found)) return undefined;
  return parseOrigin(found)?.hostname;
}

/** The origin that `host`, `host:port` or `http(s)://host[:port]` names; a lone trailing slash is no path. */
function parseOrigin(text: string): { origin: string; hostname: string } | undefined {
  const match = /^(?:(https?):\/\/)?(\[[0-9a-f:.]+\]|[\p{L}\p{N}._-]+)(?::(\d+))?\/?$/iu.exec(text);
  if (!match) return undefined;
  const [, scheme = "https", host = "", port = ""] = match;
  const url = URL.parse(`${scheme}://${host}${port && `:${port}`}`);
  // The URL parser reads a bare number as an IPv4 address: "30000" would become the backend 0.0.117.48.
  if (!url || url.port === "0" || (/^[\d.]+$/.test(url.hostname) && url.hostname !== host)) return undefined;
  const hostname = url.hostname.replace(/\.$/, "");
  if (hostname === "") return undefined;
  return { origin: `${url.protocol}//${hostname}${url.port && `:${url.port}`}`, hostname };
}
