import { hashText } from "./hash.ts";

/** One configured backend. */
export interface Backend {
  /** The `<NAME>` of its `BACKEND_<NAME>` variable in lower case; all that a client or a log ever sees of it. */
  readonly id: string;
  /** Scheme, host and port, without a trailing slash: a path can be appended as it came. */
  readonly origin: string;
  /** Its share of clients, beside the weights of the others. */
  readonly weight: number;
  /** Whether it gets traffic only while no other backend is up. */
  readonly isBackup: boolean;
  /** Request headers for this backend alone, over what the client sent; they are secret. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Its own part of every rendezvous score. It comes from the id, so a backend keeps its clients when its address changes. */
  readonly seed: number;
}

/** What the variables say, each under its key in `VARIABLES`, and what follows from them. */
export type Config = { readonly [Name in VariableName as (typeof VARIABLES)[Name]["key"]]: ValueOf<Name> } & {
  /** `https://` and the primary domain: how every address of the service begins. */
  readonly publicOrigin: string;
  /** In the order of their ids. */
  readonly backends: readonly Backend[];
};

type VariableName = keyof typeof VARIABLES;
type ValueOf<Name extends VariableName> = NonNullable<ReturnType<(typeof VARIABLES)[Name]["parse"]>>;
type Vars = Readonly<Record<string, unknown>>;

/** One thing that is wrong with one variable. */
export interface ConfigIssue {
  readonly variable: string;
  /** What the variable must be; fit for the public. */
  readonly allowed: string;
  /** What it was; for the log only, since a host name is not for the public. It holds no credentials and no secret path. */
  readonly found: string | undefined;
}

/** The configuration cannot be used; `issues` holds everything that is wrong with it, not just the first thing. */
export class ConfigError extends Error {
  readonly issues: readonly ConfigIssue[];

  constructor(issues: readonly ConfigIssue[]) {
    super(issues.map(({ variable, allowed }) => `${variable} ${allowed}`).join("\n"));
    this.issues = issues;
  }
}

interface Variable<Key extends string, T> {
  /** Its name in `Config`. */
  readonly key: Key;
  /** `undefined` means that it is required. */
  readonly defaultValue: string | number | boolean | undefined;
  readonly allowed: string;
  /** The value, or `undefined` for one that is not allowed. Text comes without blanks around it. */
  readonly parse: (found: unknown) => T | undefined;
}

const HOUR_MS = 3_600_000;

/** The token of RFC 9110, section 5.6.2, and RFC 6265, section 4.1.1. */
const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";

/** A header as a request may carry it: no control characters, and nothing that has no place in a byte. */
const HEADER_LINE = new RegExp(`^(${TOKEN}):[ \\t]*([\\t\\x20-\\x7e\\x80-\\xff]*)$`);

/** Every variable but the backends themselves: its default, what is allowed, and how it is read. */
export const VARIABLES = {
  PRIMARY_DOMAIN: variable(
    "primaryDomain",
    undefined,
    "is required and must be a host name, such as aiostreams.example.com",
    parseHostName,
  ),
  STICKY_SESSIONS: boolean("stickySessions", true),
  SESSION_COOKIE_NAME: text(
    "sessionCookieName",
    "aiostreams_backend",
    "must be a cookie name of letters, digits and !#$%&'*+-.^_`|~",
    TOKEN,
  ),
  SESSION_COOKIE_TTL: integer("sessionCookieTtlSeconds", 86_400, 1, 34_560_000),
  BACKEND_DOWN_TIME: integer("downTimeMs", 30_000, 0, HOUR_MS),
  MAX_RETRIES: integer("maxRetries", 3, 0, 10),
  BACKEND_TIMEOUT: integer("backendTimeoutMs", 100_000, 1, HOUR_MS),
  HEALTH_CHECK_PATH: text(
    "healthCheckPath",
    "/api/v1/health",
    "must be a path with one leading slash",
    '/(?!/)[!-"$-~]*',
  ),
  /** Empty means that any 2xx is good. Absent, it is AIOStreams' own for AIOStreams' own path, else empty. */
  HEALTH_CHECK_EXPECT: variable("healthCheckExpect", "", "must be text of at most 200 characters, or empty", parseText),
  /** 0 means that nothing is checked by age. */
  HEALTH_CHECK_INTERVAL: variable(
    "healthCheckIntervalMs",
    30_000,
    "must be 0, or a whole number from 1000 to 3600000",
    (found) => parseInteger(found, 0, 0) ?? parseInteger(found, 1_000, HOUR_MS),
  ),
  PROBE_AFTER: integer("probeAfterMs", 1_000, 1, HOUR_MS),
  SHARE_HEALTH: boolean("shareHealth", true),
  RETRY_NON_IDEMPOTENT: boolean("retryNonIdempotent", true),
  /** Empty means that there is no status page. */
  STATUS_PATH: text(
    "statusPath",
    "",
    "must be empty, or a path of letters, digits and /-_.~ with one leading slash, and neither / nor HEALTH_CHECK_PATH",
    // It has to reach the Worker as it is written: no dot segments, and nothing that is percent-encoded on its way.
    "(/(?!/)(?!(.*/)?\\.\\.?(/|$))[\\w/.~-]+)?",
  ),
  /** Empty means that no response header names the backend. */
  SERVED_BY_HEADER: text(
    "servedByHeader",
    "",
    "must be empty, or a header name that begins with X-",
    // Behind X- there is no header that a client would choke on, such as Content-Length.
    `([Xx]-${TOKEN})?`,
  ),
};

const BACKEND_PREFIX = "BACKEND_";
const HEADERS_PREFIX = "HEADERS_";

/** What AIOStreams answers on its health route; a proxy whose application is gone answers something else. */
const AIOSTREAMS_HEALTH = '"success":true';

/**
 * Headers that would break the connection to the backend (RFC 9110, sections 7.2, 7.6.1 and 8.6), that only Cloudflare may
 * set, or that the Worker vouches for.
 */
const NOT_CONFIGURABLE =
  /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|cf-connecting-ip|x-forwarded-.*)$/i;

/** Whether the name is that of a backend: `BACKEND_<NAME>`, but not a setting that happens to begin like one. */
export function isBackendVariable(name: string): boolean {
  return name.startsWith(BACKEND_PREFIX) && !Object.hasOwn(VARIABLES, name);
}

/** Whether the Worker reads a variable of this name. */
export function isKnownVariable(name: string): boolean {
  return Object.hasOwn(VARIABLES, name) || isBackendVariable(name) || name.startsWith(HEADERS_PREFIX);
}

/**
 * Parses the Worker's variables. Strings, numbers and booleans are all accepted, as TOML and the dashboard give them;
 * variables that the Worker does not know are left alone, since `env` also holds bindings and secrets of other kinds.
 *
 * @throws {ConfigError} listing every issue at once.
 */
export function parseConfig(vars: Vars): Config {
  const issues: ConfigIssue[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { key, defaultValue, allowed, parse }] of Object.entries<Variable<string, unknown>>(VARIABLES)) {
    const found = vars[name] ?? defaultValue;
    values[key] = parse(typeof found === "string" ? found.trim() : found);
    if (values[key] === undefined) issues.push({ variable: name, allowed, found: redacted(name, found) });
  }
  const isOwnRoute = values.healthCheckPath === VARIABLES.HEALTH_CHECK_PATH.defaultValue;
  if (vars.HEALTH_CHECK_EXPECT === undefined && isOwnRoute) values.healthCheckExpect = AIOSTREAMS_HEALTH;
  const config = values as Omit<Config, "publicOrigin" | "backends">;
  const { primaryDomain, statusPath, healthCheckPath } = config;
  if (statusPath && statusPath === healthCheckPath?.replace(/\?.*/, "")) {
    issues.push({ variable: "STATUS_PATH", allowed: VARIABLES.STATUS_PATH.allowed, found: NOT_SHOWN });
  }
  const headers = parseAllHeaders(vars, issues);
  const backends = Object.freeze(parseBackends(vars, primaryDomain, headers, issues));
  if (issues.length > 0) throw new ConfigError(issues);
  return Object.freeze({ ...config, publicOrigin: `https://${primaryDomain}`, backends });
}

function parseBackends(
  vars: Vars,
  primaryDomain: string,
  headers: ReadonlyMap<string, Backend["headers"]>,
  issues: ConfigIssue[],
): Backend[] {
  const backends: (Backend & { variable: string })[] = [];
  for (const variable of Object.keys(vars).filter(isBackendVariable).sort()) {
    const found = vars[variable];
    if (typeof found === "string" && found.trim() === "") continue;
    const issue = (allowed: string) => issues.push({ variable, allowed, found: redacted(variable, found) });
    const id = idOf(variable, BACKEND_PREFIX);
    const [address = "", ...optionTexts] = typeof found === "string" ? found.trim().split(/\s+/) : [];
    const url = parseOrigin(address);
    const options = parseOptions(optionTexts);
    const duplicate = backends.find((other) => other.id === id || other.origin === url?.origin);
    if (!/^[a-z0-9_-]+$/.test(id)) issue("must have a name of letters, digits, _ or - after BACKEND_");
    else if (!url) issue("must be host, host:port or http(s)://host[:port], without path or credentials");
    else if (!options) issue("may have these options after its address, each once: weight=1 to weight=100, backup");
    else if (url.hostname === primaryDomain) issue("must not be PRIMARY_DOMAIN itself: requests would loop");
    else if (duplicate) issue(`must not be the same backend as ${duplicate.variable}`);
    else {
      const { origin } = url;
      backends.push({ id, origin, ...options, headers: headers.get(id) ?? [], seed: hashText(id), variable });
    }
  }
  if (!issues.some(({ variable }) => isBackendVariable(variable))) {
    const missing = (allowed: string) => issues.push({ variable: "BACKEND_<NAME>", allowed, found: undefined });
    if (backends.length === 0) missing("is required: name at least one backend");
    else if (backends.every(({ isBackup }) => isBackup))
      missing("is required: at least one backend must not be a backup");
  }
  return backends.sort((a, b) => (a.id < b.id ? -1 : 1)).map(({ variable: _, ...backend }) => Object.freeze(backend));
}

/** The headers of every `HEADERS_<NAME>`, by the id of its backend. */
function parseAllHeaders(vars: Vars, issues: ConfigIssue[]): ReadonlyMap<string, Backend["headers"]> {
  // One that is empty for a while, for maintenance, keeps its headers.
  const ids = Object.keys(vars)
    .filter(isBackendVariable)
    .map((variable) => idOf(variable, BACKEND_PREFIX));
  const all = new Map<string, Backend["headers"]>();
  for (const variable of Object.keys(vars).filter((name) => name.startsWith(HEADERS_PREFIX))) {
    const id = idOf(variable, HEADERS_PREFIX);
    const headers = parseHeaders(vars[variable]);
    const issue = (allowed: string) => issues.push({ variable, allowed, found: NOT_SHOWN });
    if (!headers) {
      issue(
        "must be lines of Name: value, each name once; not Host, Content-Length, CF-Connecting-IP, X-Forwarded-* or a hop-by-hop header",
      );
    } else if (!ids.includes(id)) issue(`must name a backend: there is no BACKEND_${id.toUpperCase()}`);
    else all.set(id, headers);
  }
  return all;
}

/** Lines of `Name: value` (RFC 9110, section 5.5); a newline that was typed at a prompt arrives as a backslash and an n. */
function parseHeaders(found: unknown): Backend["headers"] | undefined {
  if (typeof found !== "string") return undefined;
  const headers = new Map<string, [string, string]>();
  for (const line of found.split(/\r?\n|\\r\\n|\\n/)) {
    if (line.trim() === "") continue;
    const [, name, value] = HEADER_LINE.exec(line.trim()) ?? [];
    if (name === undefined || value === undefined) return undefined;
    if (NOT_CONFIGURABLE.test(name) || headers.has(name.toLowerCase())) return undefined;
    headers.set(name.toLowerCase(), [name, value]);
  }
  return [...headers.values()];
}

function idOf(variable: string, prefix: string): string {
  return variable.slice(prefix.length).toLowerCase();
}

/** The options behind a backend's address, in nginx's words; `undefined` for one that is unknown, out of bounds or given twice. */
function parseOptions(options: readonly string[]): Pick<Backend, "weight" | "isBackup"> | undefined {
  let weight: number | undefined;
  let isBackup = false;
  for (const option of options) {
    if (option === "backup" && !isBackup) {
      isBackup = true;
    } else {
      const given = option.startsWith("weight=") ? parseInteger(option.slice("weight=".length), 1, 100) : undefined;
      if (given === undefined || weight !== undefined) return undefined;
      weight = given;
    }
  }
  return { weight: weight ?? 1, isBackup };
}

const NOT_SHOWN = "(not shown)";

/** A wrong value as the log may hold it: no credentials, no path of an address (it may be a user's), and not the status page's. */
function redacted(variable: string, found: unknown): string | undefined {
  if (variable === "STATUS_PATH") return NOT_SHOWN;
  if (typeof found === "object") return "object";
  const text = found === undefined ? undefined : String(found).replace(/^(\w+:\/\/)?.*@/s, "$1…@");
  const isOurs = variable.startsWith("HEALTH_CHECK_");
  return isOurs ? text : text?.replace(/([^/:]\/|[?#])\S+/g, "$1…");
}

function variable<const Key extends string, T>(
  key: Key,
  defaultValue: Variable<Key, T>["defaultValue"],
  allowed: string,
  parse: Variable<Key, T>["parse"],
): Variable<Key, T> {
  return { key, defaultValue, allowed, parse };
}

function integer<const Key extends string>(key: Key, defaultValue: number, min: number, max: number) {
  const parse = (found: unknown) => parseInteger(found, min, max);
  return variable(key, defaultValue, `must be a whole number from ${min} to ${max}`, parse);
}

function boolean<const Key extends string>(key: Key, defaultValue: boolean) {
  return variable(key, defaultValue, "must be true or false", parseBoolean);
}

/** `pattern`: what the whole text has to be, as a regular expression. */
function text<const Key extends string>(key: Key, defaultValue: string, allowed: string, pattern: string) {
  const whole = new RegExp(`^(?:${pattern})$`);
  const parse = (found: unknown) => (typeof found === "string" && whole.test(found) ? found : undefined);
  return variable(key, defaultValue, allowed, parse);
}

function parseInteger(found: unknown, min: number, max: number): number | undefined {
  const value = typeof found === "string" && /^\d{1,15}$/.test(found) ? Number(found) : found;
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max ? value : undefined;
}

function parseText(found: unknown): string | undefined {
  const text = typeof found === "object" ? undefined : String(found);
  return text !== undefined && text.length <= 200 ? text : undefined;
}

function parseBoolean(found: unknown): boolean | undefined {
  if (typeof found === "boolean") return found;
  const text = typeof found === "string" ? found.toLowerCase() : "";
  return text === "true" ? true : text === "false" ? false : undefined;
}

function parseHostName(found: unknown): string | undefined {
  if (typeof found !== "string" || /[:[\]]/.test(found)) return undefined;
  return parseOrigin(found)?.hostname;
}

/** The origin that `host`, `host:port` or `http(s)://host[:port]` names; a lone trailing slash is no path. */
function parseOrigin(address: string): { origin: string; hostname: string } | undefined {
  const match = /^(?:(https?):\/\/)?(\[[0-9a-f:.]+\]|[\p{L}\p{N}._-]+)(?::(\d+))?\/?$/iu.exec(address);
  if (!match) return undefined;
  const [, scheme = "https", host = "", port = ""] = match;
  const url = URL.parse(`${scheme}://${host}${port && `:${port}`}`);
  // The URL parser reads a bare number as an IPv4 address: "30000" would become the backend 0.0.117.48.
  if (!url || url.port === "0" || (/^[\d.]+$/.test(url.hostname) && url.hostname !== host)) return undefined;
  const hostname = url.hostname.replace(/\.$/, "");
  if (hostname.split(".").includes("")) return undefined;
  return { origin: `${url.protocol}//${hostname}${url.port && `:${url.port}`}`, hostname };
}
