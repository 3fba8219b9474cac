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
  /** The value, or `undefined` for one that is not allowed. */
  readonly parse: (text: string) => T | undefined;
}

/** The token of RFC 9110, section 5.6.2, and RFC 6265, section 4.1.1. */
export const TOKEN = "[\\w!#$%&'*+.^`|~-]+";

/** What is said of a value that is secret, wherever it is wrong. */
export const NOT_SHOWN = "(not shown)";

/** Text, a number or a boolean, as TOML and the dashboard give them, in one form; `undefined` for anything else. */
export function textOf(found: unknown): string | undefined {
  return found === undefined || typeof found === "object" ? undefined : String(found).trim();
}

/** A wrong value as the log may hold it: no credentials, no path of an address (it may be a user's), and nothing secret. */
export function redacted(variable: string, found: unknown): string | undefined {
  if (/^(STATUS_PATH$|HEADERS_)/.test(variable)) return NOT_SHOWN;
  if (found === undefined) return undefined;
  const text = textOf(found) ?? "object";
  const [, scheme = "", rest = ""] = /^((?:https?|ftp):\/\/)?(.*)$/s.exec(text) ?? [];
  return scheme + rest.replace(/^.*@/s, "…@").replace(/([/\\?#])\S+/g, "$1…");
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
  return variable(key, defaultValue, `must be a whole number from ${min} to ${max}`, (text) =>
    parseInteger(text, min, max),
  );
}

export function boolean<const Key extends string>(key: Key, defaultValue: boolean) {
  return variable(key, defaultValue, "must be true or false", (text) => {
    const word = text.toLowerCase();
    return word === "true" || (word === "false" ? false : undefined);
  });
}

/** `pattern`: what the whole text has to be, as a regular expression. */
export function text<const Key extends string>(key: Key, defaultValue: string, allowed: string, pattern: string) {
  const whole = new RegExp(`^${pattern}$`);
  return variable(key, defaultValue, allowed, (text) => (whole.test(text) ? text : undefined));
}

/** Digits alone: no sign, no fraction, no exponent. */
export function parseInteger(text: string, min: number, max: number): number | undefined {
  const value = Number(text);
  return /^\d+$/.test(text) && value >= min && value <= max ? value : undefined;
}

/** A host name or an IPv4 address, in lower case and as DNS has it. */
export function parseHostName(text: string): string | undefined {
  return /[:[\]]/.test(text) ? undefined : parseOrigin(text)?.hostname;
}

/** The URL that `host`, `host:port` or `http(s)://host[:port]` names; a lone trailing slash is no path. */
export function parseOrigin(address: string): URL | undefined {
  // The dot that may end a host name is left out: with it and without it, that is one host.
  const match = /^(?:(https?):\/\/)?(\[[0-9a-f:.]+\]|[\p{L}\p{N}._-]+?)\.?(:\d+)?\/?$/iu.exec(address);
  if (!match) return undefined;
  const [, scheme = "https", host, port = ""] = match;
  const url = URL.parse(`${scheme}://${host}${port}`);
  // The URL parser reads a bare number as an IPv4 address: "30000" would become the backend 0.0.117.48.
  if (!url || url.port === "0" || (/^[\d.]+$/.test(url.hostname) && url.hostname !== host)) return undefined;
  return url.hostname.split(".").includes("") ? undefined : url;
}
