import {
  type Backend,
  type Config,
  ConfigError,
  isBackendVariable,
  isHeadersVariable,
  isKnownVariable,
  parseConfig,
  VARIABLES,
} from "../config.ts";
import { NOT_SHOWN, parseOrigin } from "../config-values.ts";
import { addressOf, hostOf, isAddress, isExample, whyUnreachable } from "./addresses.ts";
import { faultOfRoutes, type Route } from "./routes.ts";
import { resembledSetting } from "./spelling.ts";

const parseHostName = VARIABLES.PRIMARY_DOMAIN.parse;

type Vars = Readonly<Record<string, unknown>>;

/** As wrangler.toml has it in a comment, so it keeps the status page from no reader of this project. */
const EXAMPLE_STATUS_PATH = "/lb-status-8f3a";

/** One thing in wrangler.toml that is wrong, or should be looked at. */
export interface Complaint {
  readonly variable: string;
  /** What is wrong, what is allowed, and what was found; it follows the variable's name. */
  readonly text: string;
  /** One sentence or two. */
  readonly todo: string;
}

/** A backend, and the variable that a person has to change to change it. */
export interface DeployedBackend extends Backend {
  readonly variable: string;
}

/** What of a wrangler.toml matters here. */
export interface Settings {
  readonly vars: Vars;
  readonly routes?: readonly Route[] | undefined;
  /** Wrangler takes one `route` in place of `routes`. */
  readonly route?: Route | undefined;
  readonly observability?: Observability | undefined;
  /** The whole file, for variables that stand in the wrong table. */
  readonly file?: Readonly<Record<string, unknown>> | undefined;
}

interface Observability {
  readonly enabled?: boolean;
  readonly logs?: { readonly enabled?: boolean; readonly invocation_logs?: boolean };
}

/** What wrangler.toml would deploy. */
export interface Deployment {
  /** What cannot work, neither deployed nor under `npm run dev`. */
  readonly complaints: readonly Complaint[];
  /** Addresses that this computer may reach and Cloudflare cannot: fine under `npm run dev` alone. */
  readonly unreachable: readonly Complaint[];
  /** What works, and is better changed. */
  readonly warnings: readonly Complaint[];
  /** What can be used in spite of the complaints; `undefined` when no backend or no public domain is left. */
  readonly config: Config | undefined;
  /** The backends of `config`; those that still have an example's host name are not among them. */
  readonly backends: readonly DeployedBackend[];
  /** Whether PRIMARY_DOMAIN is still an example's. */
  readonly isDomainExample: boolean;
}

/** Everything that would keep these settings from working, all at once, and what is usable all the same. */
export function judgeDeployment(settings: Settings): Deployment {
  const { vars } = settings;
  const hostVariables = Object.keys(vars).filter((name) => name === "PRIMARY_DOMAIN" || isBackendVariable(name));
  const examples = hostVariables.filter((name) => isExample(addressOf(vars[name])));
  const { file = {} } = settings;
  const misplaced = misplacedVariables(file);
  const config = usableConfig(vars, examples.filter(isBackendVariable));
  return {
    complaints: [
      ...issueComplaints(vars, misplaced),
      ...Object.keys(vars).flatMap((name) => (isKnownVariable(name) ? [] : unknownComplaint(name))),
      ...(file.vars === undefined && misplaced.length > 0 ? [missingTableComplaint(misplaced)] : misplaced),
      ...examples.map((variable) => {
        const text = `still has its example value "${hostOf(addressOf(vars[variable]))}"`;
        const orEmpty = isBackendVariable(variable)
          ? `, or empty it (${variable} = "") if you have no such backend`
          : "";
        return { variable, text, todo: `Put your own host name there in wrangler.toml${orEmpty}.` };
      }),
      ...statusPathComplaints(vars),
      ...routeComplaints(settings),
    ],
    unreachable: hostVariables.flatMap((variable) => {
      const value = vars[variable];
      // Only a backend may have options behind its address: what is no host name at all is complained of already.
      const isWhole = isBackendVariable(variable) || parseHostName(String(value).trim()) !== undefined;
      const text = isWhole && isAddress(value) ? whyUnreachable(addressOf(value)) : undefined;
      const todo = "Put a host name there in wrangler.toml that the whole Internet can look up.";
      return text === undefined ? [] : { variable, text, todo };
    }),
    warnings: warningsOf(settings),
    config,
    backends: (config?.backends ?? []).map((backend) => ({ ...backend, variable: variableOf(backend, vars) })),
    isDomainExample: examples.includes("PRIMARY_DOMAIN"),
  };
}

/** What the Worker itself would refuse. */
function issueComplaints(vars: Vars, misplaced: readonly Complaint[]): Complaint[] {
  return issuesOf(vars).flatMap(({ variable, allowed, found }) => {
    // It is not missing where it only stands in the wrong table.
    const isOf = variable === "BACKEND_<NAME>" ? isBackendVariable : (name: string) => name === variable;
    if (found === undefined && misplaced.some((complaint) => isOf(complaint.variable))) return [];
    const meant = isBackendVariable(variable) ? resembledSetting(variable) : undefined;
    if (meant !== undefined && !isAddress(vars[variable])) {
      const todo = `Did you mean ${meant}? Correct its name in wrangler.toml.`;
      return { variable, text: "is read as a backend, and its value is no address of one", todo };
    }
    const domain = meantDomain(vars);
    if (variable === "PRIMARY_DOMAIN" && domain !== undefined) {
      const text = `must be a host name alone, found ${JSON.stringify(found)}`;
      return { variable, text, todo: `Write PRIMARY_DOMAIN = "${domain}" in wrangler.toml.` };
    }
    const text = `${allowed}${found === undefined || found === NOT_SHOWN ? "" : `, found ${JSON.stringify(found)}`}`;
    const isLoop =
      isBackendVariable(variable) &&
      domain !== undefined &&
      domain === parseOrigin(addressOf(vars[variable]))?.hostname;
    return { variable, text, todo: isLoop ? "Give the backend's own host name." : "Change it in wrangler.toml." };
  });
}

/** The host name that PRIMARY_DOMAIN has, or has around it what does not belong there. */
function meantDomain({ PRIMARY_DOMAIN: value }: Vars): string | undefined {
  const text = String(value ?? "").trim();
  const host =
    parseHostName(text) ?? parseHostName(URL.parse(/^https?:/i.test(text) ? text : `https://${text}`)?.hostname ?? "");
  // The URL parser makes an IPv4 address of a bare number.
  return host !== undefined && /^[\d.]+$/.test(host) && !text.includes(host) ? undefined : host;
}

function unknownComplaint(variable: string): Complaint {
  const meant = resembledSetting(variable);
  const todo =
    meant === undefined
      ? "Correct its name in wrangler.toml, or remove it."
      : `Did you mean ${meant}? Correct its name in wrangler.toml.`;
  return { variable, text: "is no variable of this Worker", todo };
}

/** Variables in another table than [vars], where the Worker does not see them: TOML gives a line to the last table above it. */
function misplacedVariables(table: object, path: readonly string[] = []): Complaint[] {
  return Object.entries(table).flatMap(([name, value]) => {
    if (isKnownVariable(name)) {
      const where = path.length === 0 ? "above the first table" : `in [${path.join(".")}]`;
      const text = `stands ${where}, where the Worker does not see it`;
      return { variable: name, text, todo: "Move the line to the end of [vars] in wrangler.toml." };
    }
    const isVars = name === "vars" && (path.length === 0 || (path.length === 2 && path[0] === "env"));
    if (isVars || typeof value !== "object" || value === null) return [];
    // The items of an array of tables have its name.
    return misplacedVariables(value, Array.isArray(table) ? path : [...path, name]);
  });
}

/** One complaint in place of one for each variable. */
function missingTableComplaint(misplaced: readonly Complaint[]): Complaint {
  const { variable } = misplaced.find((complaint) => complaint.variable === "PRIMARY_DOMAIN") ?? misplaced[0] ?? {};
  const text = `is missing: put it above ${variable}`;
  return { variable: "The line [vars]", text, todo: "Without it the Worker sees no variable of wrangler.toml." };
}

function statusPathComplaints({ STATUS_PATH: path }: Vars): Complaint[] {
  if (typeof path !== "string" || path.trim() !== EXAMPLE_STATUS_PATH) return [];
  const text = "still has its example value, which everybody can read";
  return [{ variable: "STATUS_PATH", text, todo: "Choose another one in wrangler.toml." }];
}

function routeComplaints({ vars, route, routes = [] }: Settings): Complaint[] {
  const domain = meantDomain(vars);
  const fault = domain === undefined ? undefined : faultOfRoutes(domain, route === undefined ? routes : [route]);
  return fault === undefined ? [] : [{ variable: route === undefined ? "routes" : "route", ...fault }];
}

function warningsOf({ vars, observability }: Settings): Complaint[] {
  const variables = new Set(Object.keys(vars).map((name) => name.toUpperCase()));
  const warnings = Object.keys(vars)
    // That one has no backend is a complaint already.
    .filter((name) => isHeadersVariable(name) && variables.has(name.replace("HEADERS_", "BACKEND_").toUpperCase()))
    .map((variable) => ({
      variable,
      text: "is a secret, and this file is no place for one",
      todo: `Remove the line from wrangler.toml, deploy, and run: npx wrangler secret put ${variable}`,
    }));
  const { enabled = false, logs } = observability ?? {};
  if (!(logs?.enabled ?? enabled) || logs?.invocation_logs === false) return warnings;
  const text = "is on: the log keeps the URL of each request, in which a user's password stands";
  return [...warnings, { variable: "invocation_logs", text, todo: "Set it to false in [observability.logs]." }];
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
  const right = Object.entries(vars).filter(([name]) => !wrong.has(name));
  // An empty one is absent too, and may have headers all the same.
  const empty = [...wrong].filter(isBackendVariable).map((name) => [name, ""]);
  const usable = Object.fromEntries([...right, ...empty]);
  return issuesOf(usable).length > 0 ? undefined : parseConfig(usable);
}

function variableOf({ id }: Backend, vars: Vars): string {
  return Object.keys(vars).find((name) => name.toLowerCase() === `backend_${id}`) ?? `BACKEND_${id.toUpperCase()}`;
}
