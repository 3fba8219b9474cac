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
  if (found === undefined) return undefined;
  const given = textOf(found) ?? "object";
  // `Name: value` may be a header that was meant for another variable.
  if (/^(STATUS_PATH$|HEADERS_)/.test(variable) || /\S:\s/.test(given)) return NOT_SHOWN;
  const text = given.replace(/.*@/s, "…@");
  // The slashes of `scheme://` begin no path.
  return text.replace(/(?<!^\w+:(?=\/\/)\/?)[/\\?#]\S+/g, "/…");
}

/**
 * A variable of `VARIABLES`, so that its key and the type of its value are known to the compiler. `pattern`: what its text has to
 * be. `parse`: the value of such a text, which is the text itself unless it says otherwise.
 */
export function variable<const Key extends string, T = string>(
  key: Key,
  defaultValue: Variable<Key, T>["defaultValue"],
  allowed: string,
  pattern: RegExp,
  parse = (text: string) => text as T | undefined,
): Variable<Key, T> {
  return { key, defaultValue, allowed, parse: (text) => (pattern.test(text) ? parse(text) : undefined) };
}

/** Digits alone: no sign, no fraction, no exponent. `zero`: what is said where 0 is allowed although it is below `min`. */
export function integer<const Key extends string>(key: Key, defaultValue: number, min: number, max: number, zero = "") {
  return variable(key, defaultValue, `must be ${zero}a whole number from ${min} to ${max}`, /^\d+$/, (text) => {
    const value = Number(text);
    return (value >= min || (zero && value === 0)) && value <= max ? value : undefined;
  });
}

export function boolean<const Key extends string>(key: Key, defaultValue: boolean) {
  return variable(key, defaultValue, "must be true or false", /^(true|false)$/i, (text) => /true/i.test(text));
}

/** The URL that `host`, `host:port` or `http(s)://host[:port]` names; a lone trailing slash is no path. */
export function parseOrigin(address: string): URL | undefined {
  // The dot that may end a host name is left out: with it and without it, that is one host. No label is empty.
  const match = /^(?:(https?):\/\/)?(?!\.|.*\.\.)(\[[0-9a-f:.]+\]|[\p{L}\p{N}._-]+?)\.?(:0*[1-9]\d*)?\/?$/iu.exec(
    address,
  );
  if (!match) return undefined;
  const [, scheme = "https", host, port = ""] = match;
  const url = URL.parse(`${scheme}://${host}${port}`);
  // The URL parser reads a bare number as an IPv4 address: "30000" would become the backend 0.0.117.48.
  return url && (url.hostname === host || /[^\d.]/.test(url.hostname)) ? url : undefined;
}
