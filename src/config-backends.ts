import { parseOrigin, TOKEN, textOf } from "./config-values.ts";
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

export type Vars = Readonly<Record<string, unknown>>;

/** Notes that a variable is wrong, and what it must be. */
export type Report = (variable: string, allowed: string) => void;

/**
 * A header as a request may carry it: no control characters, and nothing that has no place in a byte. It is none that would
 * break the connection to the backend (RFC 9110, sections 7.2, 7.6.1 and 8.6), that only Cloudflare may set, or that the Worker
 * vouches for.
 */
const HEADER_LINE = new RegExp(
  "^(?!(Host|Connection|Keep-Alive|Proxy-.*|TE|Trailer|Transfer-Encoding|Upgrade|Content-Length|CF-Connecting-IP|X-Forwarded-.*):)" +
    `(${TOKEN}):[ \\t]*([\\t -~\\x80-\\xff]*)$`,
  "i",
);

/** Whether the name is that of a backend's request headers: `HEADERS_<NAME>`, a secret. */
export function isHeadersVariable(name: string): boolean {
  return name.startsWith("HEADERS_");
}

/** The backends of these variables, in their order. */
export function parseBackends(
  vars: Vars,
  variables: readonly string[],
  primaryDomain: string,
  report: Report,
): Backend[] {
  const headers = parseAllHeaders(vars, report);
  const given = variables.filter((variable) => textOf(vars[variable]) !== "");
  const backends: Backend[] = [];
  for (const variable of given) {
    const id = idOf(variable);
    const value = vars[variable];
    const [address = "", ...words] = typeof value === "string" ? value.trim().split(/\s+/) : [];
    const url = parseOrigin(address);
    // nginx's words. Sorted, so that they may stand in any order.
    const options = /^( backup)?(?: weight=0*([1-9]\d?|100))?$/.exec(["", ...words.sort()].join(" "));
    const twin = backends.find((other) => other.id === id || other.origin === url?.origin);
    if (!url || !options) {
      report(variable, "must be host, host:port or http(s)://host[:port], then any of: weight=1 to weight=100, backup");
    } else if (!/^[\w-]+$/.test(id)) {
      report(variable, "must have a name of letters, digits, _ or - after BACKEND_");
    } else if (url.hostname === primaryDomain) {
      report(variable, "must not be PRIMARY_DOMAIN itself: requests would loop");
    } else if (twin) {
      report(variable, `must not have the name, in any case, or the address of another backend: ${twin.id}`);
    } else {
      const [, backup, weight = "1"] = options;
      backends.push(
        Object.freeze({
          id,
          origin: url.origin,
          weight: Number(weight),
          isBackup: backup !== undefined,
          headers: headers.get(id) ?? [],
          seed: hashText(id),
        }),
      );
    }
  }
  if (backends.length === given.length && backends.every(({ isBackup }) => isBackup)) {
    report("BACKEND_<NAME>", "is required: at least one backend that is no backup");
  }
  return backends;
}

/**
 * The headers of every `HEADERS_<NAME>`, by the id of its backend. A secret may outlive its backend, and one that is misspelt
 * must not take the others down: the doctor and the preflight find it.
 */
function parseAllHeaders(vars: Vars, report: Report): ReadonlyMap<string, Backend["headers"]> {
  const all = new Map<string, Backend["headers"]>();
  for (const variable of Object.keys(vars).filter(isHeadersVariable)) {
    const id = idOf(variable);
    const headers = parseHeaders(textOf(vars[variable]));
    if (!headers) {
      report(
        variable,
        "must be lines of Name: value, each name once; not Host, Content-Length, X-Forwarded-*, CF-Connecting-IP or a header of the connection",
      );
    } else if (all.has(id)) report(variable, "must not have the name, in any case, of another HEADERS_<NAME>");
    else all.set(id, headers);
  }
  return all;
}

/** Lines of `Name: value` (RFC 9110, section 5.5); a newline that was typed at a prompt arrives as a backslash and an n. */
function parseHeaders(text: string | undefined): Backend["headers"] | undefined {
  if (text === undefined) return undefined;
  const headers = new Map<string, [string, string]>();
  for (const line of text.split(/\s*(?:\n|(?:\\r)?\\n)\s*/)) {
    if (line === "") continue;
    const [, , name = "", value = ""] = HEADER_LINE.exec(line) ?? [];
    const key = name.toLowerCase();
    if (!name || headers.has(key)) return undefined;
    headers.set(key, [name, value]);
  }
  return [...headers.values()];
}

/** The id of a backend, from the name of either variable that speaks of it. */
function idOf(variable: string): string {
  return variable.slice("BACKEND_".length).toLowerCase(); // `HEADERS_` is as long.
}
