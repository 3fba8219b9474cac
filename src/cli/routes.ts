import { domainToASCII } from "node:url";

/** A route as wrangler.toml holds it; a text is the pattern alone. */
export type Route =
  | string
  | {
      readonly pattern: string;
      readonly custom_domain?: boolean;
      readonly zone_id?: string;
      readonly zone_name?: string;
    };

/** Whether a route names a host and not what it belongs to, which Wrangler refuses before it reads anything else. */
export function isBare(route: unknown): route is { readonly pattern: string } {
  if (typeof route !== "object" || route === null || !("pattern" in route) || typeof route.pattern !== "string")
    return false;
  return !["custom_domain", "zone_id", "zone_name"].some((name) => name in route);
}

/** What is wrong, and what to do about it. */
interface Fault {
  readonly text: string;
  readonly todo: string;
}

/**
 * Why the routes do not lead every request for the public domain to the Worker; `undefined` when they do.
 *
 * @param domain in lower case, as DNS has it.
 */
export function faultOfRoutes(domain: string, routes: readonly Route[]): Fault | undefined {
  const right = `routes = [{ pattern = "${domain}", custom_domain = true }]`;
  const rules = routes.map((route) => (typeof route === "string" ? { pattern: route, zone_name: "" } : route));
  const notAHost = rules.find(({ pattern, custom_domain }) => custom_domain && /[/*]/.test(pattern));
  if (notAHost) {
    const text = `must be a host name without /* where custom_domain is true, found "${notAHost.pattern}"`;
    return { text, todo: `Write ${right} in wrangler.toml.` };
  }
  const bare = rules.find(isBare);
  if (bare) {
    const text = `must have custom_domain = true beside the pattern "${bare.pattern}"`;
    return { text, todo: `Write ${right} in wrangler.toml.` };
  }
  const ruleFor = (path: string) =>
    rules.find(({ pattern, custom_domain }) =>
      custom_domain ? asciiOf(pattern) === domain : matches(pattern, domain + path),
    );
  if (ruleFor("/stremio/manifest.json?x")) return undefined;
  const onlyRoot = ruleFor("/");
  if (onlyRoot) {
    const text = `must match every path, but "${onlyRoot.pattern}" matches the path / alone`;
    return { text, todo: `Write ${right} in wrangler.toml.` };
  }
  const found = rules.map(({ pattern }) => pattern).join(", ") || "none";
  const text = `must name PRIMARY_DOMAIN (${domain}), found ${found}`;
  return { text, todo: "Make the two the same in wrangler.toml." };
}

/**
 * Whether a pattern matches `host/path`: each `*` stands for any text, and without a path only `/` matches
 * (https://developers.cloudflare.com/workers/configuration/routing/routes/#matching-behavior).
 */
function matches(pattern: string, address: string): boolean {
  const [, host = "", path] = /^(?:https:\/\/)?([^/]*)(\/.*)?$/i.exec(pattern) ?? [];
  const whole = asciiOf(host) + (path ?? (host.endsWith("*") ? "" : "/"));
  const literals = whole.split("*").map((literal) => literal.replace(/[^\w/-]/g, "\\$&"));
  return new RegExp(`^${literals.join(".*")}$`).test(address);
}

/** A host name as DNS has it, in lower case; wildcards stay. */
function asciiOf(host: string): string {
  return domainToASCII(host.trim());
}
