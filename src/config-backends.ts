import { type ConfigIssue, NOT_SHOWN, parseInteger, parseOrigin, redacted, TOKEN } from "./config-values.ts";
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

type Vars = Readonly<Record<string, unknown>>;

/** A header as a request may carry it: no control characters, and nothing that has no place in a byte. */
const HEADER_LINE = new RegExp(`^(${TOKEN}):[ \\t]*([\\t\\x20-\\x7e\\x80-\\xff]*)$`);

/**
 * Headers that would break the connection to the backend (RFC 9110, sections 7.2, 7.6.1 and 8.6), that only Cloudflare may
 * set, or that the Worker vouches for.
 */
const NOT_CONFIGURABLE =
  /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|cf-connecting-ip|x-forwarded-.*)$/i;

/** Whether the name is that of a backend's request headers: `HEADERS_<NAME>`, a secret. */
export function isHeadersVariable(name: string): boolean {
  return name.startsWith("HEADERS_");
}

/** The backends of these variables, in the order of their ids; what is wrong with them is added to `issues`. */
export function parseBackends(
  vars: Vars,
  variables: readonly string[],
  primaryDomain: string,
  issues: ConfigIssue[],
): Backend[] {
  const headers = parseAllHeaders(vars, variables, issues);
  const backends: (Backend & { variable: string })[] = [];
  for (const variable of variables) {
    const found = vars[variable];
    if (typeof found === "string" && found.trim() === "") continue;
    const issue = (allowed: string) => issues.push({ variable, allowed, found: redacted(variable, found) });
    const id = idOf(variable);
    const [address = "", ...optionTexts] = typeof found === "string" ? found.trim().split(/\s+/) : [];
    const url = parseOrigin(address);
    const options = parseOptions(optionTexts);
    const namesake = backends.find((other) => other.id === id);
    const duplicate = backends.find((other) => other.origin === url?.origin);
    if (!/^[a-z0-9_-]+$/.test(id)) issue("must have a name of letters, digits, _ or - after BACKEND_");
    else if (!url) issue("must be host, host:port or http(s)://host[:port], without path or credentials");
    else if (!options) issue("may have these options after its address, each once: weight=1 to weight=100, backup");
    else if (url.hostname === primaryDomain) issue("must not be PRIMARY_DOMAIN itself: requests would loop");
    else if (namesake) issue(`is the same name as ${namesake.variable}: upper and lower case do not count`);
    else if (duplicate) issue(`must not be the same backend as ${duplicate.variable}`);
    else {
      const { origin } = url;
      backends.push({ id, origin, ...options, headers: headers.get(id) ?? [], seed: hashText(id), variable });
    }
  }
  if (!issues.some(({ variable }) => variables.includes(variable))) {
    const missing = (allowed: string) => issues.push({ variable: "BACKEND_<NAME>", allowed, found: undefined });
    if (backends.length === 0) missing("is required: name at least one backend");
    else if (backends.every(({ isBackup }) => isBackup))
      missing("is required: at least one backend must not be a backup");
  }
  return backends.sort((a, b) => (a.id < b.id ? -1 : 1)).map(({ variable: _, ...backend }) => Object.freeze(backend));
}

/** The headers of every `HEADERS_<NAME>`, by the id of its backend. */
function parseAllHeaders(
  vars: Vars,
  backendVariables: readonly string[],
  issues: ConfigIssue[],
): ReadonlyMap<string, Backend["headers"]> {
  // One that is empty for a while, for maintenance, keeps its headers.
  const ids = backendVariables.map(idOf);
  const all = new Map<string, Backend["headers"]>();
  for (const variable of Object.keys(vars).filter(isHeadersVariable)) {
    const id = idOf(variable);
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

/** The id of a backend, from the name of either variable that speaks of it. */
function idOf(variable: string): string {
  return variable.slice(variable.indexOf("_") + 1).toLowerCase();
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
