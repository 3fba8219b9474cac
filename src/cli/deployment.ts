import { join, relative } from "node:path";
import { type Backend, type Config, ConfigError, isBackendVariable, isKnownVariable, parseConfig } from "../config.ts";

export const WRANGLER_TOML = join(import.meta.dirname, "../../wrangler.toml");

type Vars = Readonly<Record<string, unknown>>;

/** One thing in wrangler.toml that has to change before a deployment. */
export interface Complaint {
  readonly variable: string;
  /** What is wrong, what is allowed, and what was found; it follows the variable's name. */
  readonly text: string;
  readonly todo: string;
}

/** A backend, and the variable that a person has to change to change it. */
export interface DeployedBackend extends Backend {
  readonly variable: string;
}

/** What wrangler.toml would deploy. */
export interface Deployment {
  readonly complaints: readonly Complaint[];
  /** What can be used in spite of the complaints; `undefined` when no backend or no public domain is left. */
  readonly config: Config | undefined;
  /** The backends of `config`; those that still have an example's host name are not among them. */
  readonly backends: readonly DeployedBackend[];
  /** Whether PRIMARY_DOMAIN is still an example's. */
  readonly isDomainExample: boolean;
}

/**
 * Reads a wrangler.toml.
 *
 * @throws with a text for people when there is no such file, or when it is no TOML that Wrangler takes.
 */
export async function readDeployment(path: string): Promise<Deployment> {
  // Not at the top: Wrangler takes a second to load, in which a program can say something already.
  // It warns on standard error; but that there is a newer Wrangler it says on standard output, which may be JSON.
  process.env.WRANGLER_LOG ??= "warn";
  const { unstable_readConfig } = await import("wrangler");
  const { vars, routes = [] } = (() => {
    try {
      return unstable_readConfig({ config: path });
    } catch (error) {
      const { message, location } = error as Error & { location?: { line?: number } };
      const line = location?.line === undefined ? "" : ` (line ${location.line})`;
      throw new Error(`${shortened(path)} cannot be used${line}: ${message}`, { cause: error });
    }
  })();
  const patterns = routes.map((route: string | { pattern: string }) =>
    typeof route === "string" ? route : route.pattern,
  );
  return judgeDeployment(vars, patterns);
}

/** Everything that would keep these variables and routes from working, all at once, and what is usable all the same. */
export function judgeDeployment(vars: Vars, routePatterns: readonly string[]): Deployment {
  const complaints: Complaint[] = [];
  const examples = Object.keys(vars).filter((name) => isHostVariable(name) && isExample(addressOf(vars[name])));
  for (const { variable, allowed, found } of issuesOf(vars)) {
    const text = `${allowed}${found === undefined ? "" : `, found ${JSON.stringify(found)}`}`;
    complaints.push({ variable, text, todo: "Change it in wrangler.toml." });
  }
  for (const variable of Object.keys(vars).filter((name) => !isKnownVariable(name))) {
    const todo = "Correct its name, or remove it from wrangler.toml.";
    complaints.push({ variable, text: "is no variable of this Worker: is it misspelt?", todo });
  }
  for (const variable of examples) {
    const text = `still has its example value "${hostOf(addressOf(vars[variable]))}"`;
    complaints.push({ variable, text, todo: "Put your own host name there in wrangler.toml." });
  }
  const domain = addressOf(vars.PRIMARY_DOMAIN).toLowerCase();
  if (domain && !routePatterns.some((pattern) => pattern.replace(/\/\*?$/, "").toLowerCase() === domain)) {
    const found = routePatterns.join(", ") || "none";
    const text = `must name PRIMARY_DOMAIN (${hostOf(domain)}), found ${found}`;
    complaints.push({ variable: "routes", text, todo: "Make the two the same in wrangler.toml." });
  }

  const config = usableConfig(vars, examples.filter(isBackendVariable));
  return {
    complaints,
    config,
    backends: (config?.backends ?? []).map((backend) => ({ ...backend, variable: variableOf(backend, vars) })),
    isDomainExample: examples.includes("PRIMARY_DOMAIN"),
  };
}

function issuesOf(vars: Vars): ConfigError["issues"] {
  try {
    parseConfig(vars);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.issues;
    throw error;
  }
}

/** The configuration without what is wrong in it: the defaults take its place, and a wrong backend is left out. */
function usableConfig(vars: Vars, leftOut: readonly string[]): Config | undefined {
  const wrong = new Set([...leftOut, ...issuesOf(vars).map(({ variable }) => variable)]);
  const usable = Object.fromEntries(Object.entries(vars).filter(([name]) => !wrong.has(name)));
  return issuesOf(usable).length > 0 ? undefined : parseConfig(usable);
}

function variableOf({ id }: Backend, vars: Vars): string {
  return Object.keys(vars).find((name) => name.toLowerCase() === `backend_${id}`) ?? `BACKEND_${id.toUpperCase()}`;
}

function isHostVariable(name: string): boolean {
  return name === "PRIMARY_DOMAIN" || isBackendVariable(name);
}

/** The address of a value, without the options that may follow it. */
function addressOf(value: unknown): string {
  return (
    String(value ?? "")
      .trim()
      .split(/\s/)[0] ?? ""
  );
}

/** RFC 2606 keeps these names for examples: nobody has a backend there. */
function isExample(address: string): boolean {
  return /(^|[./@])example(\.(com|net|org))?\.?(:\d+)?\/?$/i.test(address);
}

/** What of an address may be shown: a value that is wrong may hold credentials, or a user's path. */
function hostOf(address: string): string {
  return address
    .replace(/^\w+:\/\//, "")
    .replace(/^.*@/, "")
    .replace(/[/?#].*$/, "");
}

/** A path as a person would type it. */
export function shortened(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}
