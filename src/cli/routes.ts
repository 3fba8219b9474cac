import { domainToASCII } from "node:url";
import { hostOf, isExample } from "./addresses.ts";

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

/** What users ask for: the page, a player's paths, which have a query at times, and what AIOStreams' own pages ask. */
const PATHS = ["/", "/stremio/manifest.json?x", "/api/v1/health"];

/**
 * Why the routes do not lead every request for the public domain to the Worker; `undefined` when they do.
 *
 * @param domain in lower case, as DNS has it; `undefined` where it is an example or no host name, and then the two are not compared.
 */
export function faultOfRoutes(domain: string | undefined, routes: readonly Route[]): Fault | undefined {
  const rules = routes.map((route) => (typeof route === "string" ? { pattern: route, zone_name: "" } : route));
  const write = (host: string) => `Write routes = [{ pattern = "${domain ?? host}", custom_domain = true }].`;
  const example = rules.map(({ pattern }) => hostOf(`${pattern}`)).find((host) => isExample(host.replace(/\*/g, ".")));
  if (example !== undefined) {
    const todo = domain === undefined ? "Put the same host name there as in PRIMARY_DOMAIN." : write(domain);
    return { text: `still has its example value "${example}"`, todo };
  }
  const notAHost = rules.find(({ pattern, custom_domain }) => custom_domain && /[/*]/.test(pattern));
  if (notAHost) {
    const text = `must be a host name without /* where custom_domain is true, found "${notAHost.pattern}"`;
    return { text, todo: write(hostOf(notAHost.pattern)) };
  }
  const bare = rules.find(isBare);
  if (bare) {
    const text = `must have custom_domain = true beside the pattern "${bare.pattern}"`;
    return { text, todo: write(hostOf(bare.pattern)) };
  }
  if (domain === undefined) return undefined;
  const isLed = (path: string) =>
    rules.some(({ pattern, custom_domain }) =>
      custom_domain ? asciiOf(pattern) === domain : matches(pattern, domain + path),
    );
  const missed = PATHS.filter((path) => !isLed(path));
  if (missed.length === 0) return undefined;
  const found = rules.map(({ pattern }) => pattern).join(", ") || "none";
  const isOtherHost = !rules.some(({ pattern }) => matches(pattern.replace(/(?<![/:])\/.*/, "/*"), `${domain}/`));
  if (isOtherHost) {
    return { text: `must name PRIMARY_DOMAIN (${domain}), found ${found}`, todo: "Make the two the same." };
  }
  const text = `must match every path, but ${missed.join(" and ")} would pass the Worker by, found ${found}`;
  return { text, todo: write(domain) };
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
