import { type Backend, isHeadersVariable, parseBackends, type Report, type Vars } from "./config-backends.ts";
import {
  boolean,
  type ConfigIssue,
  integer,
  parseOrigin,
  redacted,
  TOKEN,
  textOf,
  type Variable,
  variable,
} from "./config-values.ts";

export { type Backend, type ConfigIssue, isHeadersVariable };

/** What the variables say, each under its key in `VARIABLES`, and what follows from them. */
export type Config = { readonly [Name in VariableName as (typeof VARIABLES)[Name]["key"]]: ValueOf<Name> } & {
  /** `https://` and the primary domain: how every address of the service begins. */
  readonly publicOrigin: string;
  /** In the order of their variables. */
  readonly backends: readonly Backend[];
};

type VariableName = keyof typeof VARIABLES;
type ValueOf<Name extends VariableName> = NonNullable<ReturnType<(typeof VARIABLES)[Name]["parse"]>>;

/** The configuration cannot be used; `issues` holds everything that is wrong with it, not just the first thing. */
export class ConfigError extends Error {
  readonly issues: readonly ConfigIssue[];

  constructor(issues: readonly ConfigIssue[]) {
    super(issues.map(({ variable, allowed }) => `${variable} ${allowed}`).join("\n"));
    this.issues = issues;
  }
}

const HOUR_MS = 3_600_000;

/** Every variable but the backends themselves: its default, what is allowed, and how it is read. */
export const VARIABLES = {
  PRIMARY_DOMAIN: variable(
    "primaryDomain",
    undefined,
    "must be a host name",
    /^[^:]*$/,
    (text) => parseOrigin(text)?.hostname,
  ),
  STICKY_SESSIONS: boolean("stickySessions", true),
  SESSION_COOKIE_NAME: variable(
    "sessionCookieName",
    "aiostreams_backend",
    "must be a cookie name",
    new RegExp(`^${TOKEN}$`),
  ),
  SESSION_COOKIE_TTL: integer("sessionCookieTtlSeconds", 86_400, 1, 34_560_000),
  BACKEND_DOWN_TIME: integer("downTimeMs", 30_000, 0, HOUR_MS),
  MAX_RETRIES: integer("maxRetries", 3, 0, 10),
  BACKEND_TIMEOUT: integer("backendTimeoutMs", 100_000, 1, HOUR_MS),
  HEALTH_CHECK_PATH: variable(
    "healthCheckPath",
    "/api/v1/health",
    "must be a path with one leading slash",
    /^\/(?!\/)[!-"$-~]*$/,
  ),
  /**
   * Empty means that any 2xx is good. The default is what AIOStreams answers on its own health route; a proxy whose application
   * is gone answers something else. It is empty for another route.
   */
  HEALTH_CHECK_EXPECT: variable("healthCheckExpect", '"success":true', "must be at most 200 characters", /^.{0,200}$/s),
  /** 0 means that nothing is checked by age. */
  HEALTH_CHECK_INTERVAL: integer("healthCheckIntervalMs", 30_000, 1_000, HOUR_MS, "0 or "),
  PROBE_AFTER: integer("probeAfterMs", 1_000, 1, HOUR_MS),
  SHARE_HEALTH: boolean("shareHealth", true),
  RETRY_NON_IDEMPOTENT: boolean("retryNonIdempotent", true),
  /** Empty means that there is no status page. */
  STATUS_PATH: variable(
    "statusPath",
    "",
    "must be empty, or a path of letters, digits and /-_.~",
    // It has to reach the Worker as it is written: no dot segments, and nothing that is percent-encoded on its way.
    /^(\/(?!\/)(?!(.*\/)?\.\.?(\/|$))[\w/.~-]+)?$/,
  ),
  /** Empty means that no response header names the backend. */
  SERVED_BY_HEADER: variable(
    "servedByHeader",
    "",
    "must be empty, or a header name that begins with X-",
    // Behind X- there is no header that a client would choke on, such as Content-Length.
    new RegExp(`^(X-${TOKEN})?$`, "i"),
  ),
};

/** Whether the name is that of a backend: `BACKEND_<NAME>`, but not a setting that happens to begin like one. */
export function isBackendVariable(name: string): boolean {
  return name.startsWith("BACKEND_") && !(name in VARIABLES);
}

/** Whether the Worker reads a variable of this name. */
export function isKnownVariable(name: string): boolean {
  return Object.hasOwn(VARIABLES, name) || isBackendVariable(name) || isHeadersVariable(name);
}

/**
 * Parses the Worker's variables. Strings, numbers and booleans are all accepted, as TOML and the dashboard give them;
 * variables that the Worker does not know are left alone, since `env` also holds bindings and secrets of other kinds.
 *
 * @throws {ConfigError} listing every issue at once.
 */
export function parseConfig(vars: Vars): Config {
  const issues: ConfigIssue[] = [];
  const report: Report = (variable, allowed) => {
    issues.push({ variable, allowed, found: redacted(variable, vars[variable]) });
  };
  const values: Record<string, unknown> = {};
  for (const [name, { key, defaultValue, allowed, parse }] of Object.entries<Variable<string, unknown>>(VARIABLES)) {
    const text = textOf(vars[name] ?? defaultValue);
    values[key] = text === undefined ? undefined : parse(text);
    if (values[key] === undefined) report(name, allowed);
  }
  const config = values as Omit<Config, "publicOrigin" | "backends">;
  const { primaryDomain, statusPath, healthCheckPath } = config;
  const isOwnRoute = healthCheckPath === VARIABLES.HEALTH_CHECK_PATH.defaultValue;
  if (vars.HEALTH_CHECK_EXPECT === undefined && !isOwnRoute) values.healthCheckExpect = "";
  if (statusPath && statusPath === healthCheckPath?.split("?")[0]) {
    report("STATUS_PATH", "must not be HEALTH_CHECK_PATH");
  }
  const backendVariables = Object.keys(vars).filter(isBackendVariable).sort();
  const backends = Object.freeze(parseBackends(vars, backendVariables, primaryDomain, report));
  if (issues.length > 0) throw new ConfigError(issues);
  return Object.freeze({ ...config, publicOrigin: `https://${primaryDomain}`, backends });
}
