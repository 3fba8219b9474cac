/** One thing that is wrong with one variable. */
export interface ConfigIssue {
  readonly variable: string;
  /** What the variable must be; fit for the public. */
  readonly allowed: string;
  /** What it was; for the log only, since a host name is not for the public. It holds no credentials and no secret path. */
  readonly found: string | undefined;
}

/** How a variable that is no backend is read. */
export interface Variable<Key extends string, T> {
  /** Its name in `Config`. */
  readonly key: Key;
  /** `undefined` means that it is required. */
  readonly defaultValue: string | number | boolean | undefined;
  readonly allowed: string;
  /** The value, or `undefined` for one that is not allowed. Text comes without blanks around it. */
  readonly parse: (found: unknown) => T | undefined;
}

/** The token of RFC 9110, section 5.6.2, and RFC 6265, section 4.1.1. */
export const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";

/** What is said of a value that is secret, wherever it is wrong. */
export const NOT_SHOWN = "(not shown)";

/** A wrong value as the log may hold it: no credentials, no path of an address (it may be a user's), and not the status page's. */
export function redacted(variable: string, found: unknown): string | undefined {
  if (variable === "STATUS_PATH") return NOT_SHOWN;
  if (typeof found === "object") return "object";
  const text = found === undefined ? undefined : String(found).replace(/^(https?:\/\/)?.*@/s, "$1…@");
  const isOurs = variable.startsWith("HEALTH_CHECK_");
  return isOurs ? text : text?.replace(/([^/:]\/|[?#])\S+/g, "$1…");
}

/** A variable of `VARIABLES`, so that its key and the type of its value are known to the compiler. */
export function variable<const Key extends string, T>(
  key: Key,
  defaultValue: Variable<Key, T>["defaultValue"],
  allowed: string,
  parse: Variable<Key, T>["parse"],
): Variable<Key, T> {
  return { key, defaultValue, allowed, parse };
}

export function integer<const Key extends string>(key: Key, defaultValue: number, min: number, max: number) {
  const parse = (found: unknown) => parseInteger(found, min, max);
  return variable(key, defaultValue, `must be a whole number from ${min} to ${max}`, parse);
}

export function boolean<const Key extends string>(key: Key, defaultValue: boolean) {
  return variable(key, defaultValue, "must be true or false", parseBoolean);
}

/** `pattern`: what the whole text has to be, as a regular expression. */
export function text<const Key extends string>(key: Key, defaultValue: string, allowed: string, pattern: string) {
  const whole = new RegExp(`^(?:${pattern})$`);
  const parse = (found: unknown) => (typeof found === "string" && whole.test(found) ? found : undefined);
  return variable(key, defaultValue, allowed, parse);
}

/** Digits alone: no sign, no fraction, no exponent. */
export function parseInteger(found: unknown, min: number, max: number): number | undefined {
  const value = typeof found === "string" && /^\d{1,15}$/.test(found) ? Number(found) : found;
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max ? value : undefined;
}

export function parseText(found: unknown): string | undefined {
  const text = typeof found === "object" ? undefined : String(found);
  return text !== undefined && text.length <= 200 ? text : undefined;
}

function parseBoolean(found: unknown): boolean | undefined {
  if (typeof found === "boolean") return found;
  const text = typeof found === "string" ? found.toLowerCase() : "";
  return text === "true" ? true : text === "false" ? false : undefined;
}

/** A host name or an IPv4 address, in lower case and as DNS has it. */
export function parseHostName(found: unknown): string | undefined {
  if (typeof found !== "string" || /[:[\]]/.test(found)) return undefined;
  return parseOrigin(found)?.hostname;
}

/** The origin that `host`, `host:port` or `http(s)://host[:port]` names; a lone trailing slash is no path. */
export function parseOrigin(address: string): { origin: string; hostname: string } | undefined {
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
