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
import { addressOf, hostOf, isAddress, isExample, isLikeHeader, whyUnreachable } from "./addresses.ts";
import { faultOfRoutes, type Route } from "./routes.ts";
import { resembledSetting, strayHeaders } from "./spelling.ts";

const parseHostName = VARIABLES.PRIMARY_DOMAIN.parse;

type Vars = Readonly<Record<string, unknown>>;

/** As wrangler.toml has it in a comment, so it keeps the status page from no reader of this project. */
const EXAMPLE_STATUS_PATH = "/lb-status-8f3a";

const IS_SECRET = "is a secret, and this file is no place for one";

/** One thing in wrangler.toml that is wrong, or should be looked at. */
export interface Complaint {
  readonly variable: string;
  /** What is wrong, what is allowed, and what was found; it follows the variable's name. */
  readonly text: string;
  /** One sentence or two, to be read below a heading that names the file. */
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
  /** Every BACKEND_<NAME>, those included that are empty or wrong. */
  readonly backendVariables: readonly string[];
  /** Whether PRIMARY_DOMAIN is still an example's. */
  readonly isDomainExample: boolean;
}

/** Everything that would keep these settings from working, all at once, and what is usable all the same. */
export function judgeDeployment(settings: Settings): Deployment {
  const { vars } = settings;
  const backendVariables = Object.keys(vars).filter(isBackendVariable);
  const hostVariables = Object.keys(vars).filter((name) => name === "PRIMARY_DOMAIN" || isBackendVariable(name));
  const examples = hostVariables.filter((name) => isExample(addressOf(vars[name])));
  const isDomainExample = examples.includes("PRIMARY_DOMAIN");
  const { file = {} } = settings;
  const misplaced = misplacedVariables(file);
  const issues = issuesOf(vars);
  const config = usableConfig(vars, examples.filter(isBackendVariable));
  const strays = strayHeaders(Object.keys(vars), backendVariables);
  return {
    complaints: [
      ...issueComplaints(vars, issues, misplaced),
      ...Object.keys(vars).flatMap((name) => (isKnownVariable(name) ? [] : unknownComplaint(name))),
      ...strays.map(({ variable, meant }) => ({
        variable,
        text: "belongs to no backend",
        todo: meant === undefined ? "Remove the line." : `Did you mean ${meant}?`,
      })),
      ...(file.vars === undefined && misplaced.length > 0 ? [missingTableComplaint(misplaced)] : misplaced),
      ...examples.map((variable) => {
        const text = `still has its example value "${hostOf(addressOf(vars[variable]))}"`;
        const todo = isBackendVariable(variable)
          ? `Put the host name of that AIOStreams server there, or empty it (${variable} = "") if you have no such backend.`
          : "Put your own host name there.";
        return { variable, text, todo };
      }),
      ...statusPathComplaints(vars),
      ...routeComplaints(settings, isDomainExample),
    ],
    unreachable: hostVariables.flatMap((variable) => {
      const value = vars[variable];
      // The first word of what is wrong as a whole says nothing.
      const isWrong = issues.some((issue) => issue.variable === variable);
      const text = !isWrong && isAddress(value) ? whyUnreachable(addressOf(value)) : undefined;
      const todo = "Put a host name there that the whole Internet can look up.";
      return text === undefined ? [] : { variable, text, todo };
    }),
    warnings: warningsOf(settings, strays),
    config,
    backends: (config?.backends ?? []).map((backend) => ({ ...backend, variable: variableOf(backend, vars) })),
    backendVariables,
    isDomainExample,
  };
}

/** What the Worker itself would refuse. */
function issueComplaints(vars: Vars, issues: ConfigError["issues"], misplaced: readonly Complaint[]): Complaint[] {
  return issues.flatMap(({ variable, allowed, found }) => {
    // It is not missing where it only stands in the wrong table.
    const isOf = variable === "BACKEND_<NAME>" ? isBackendVariable : (name: string) => name === variable;
    if (found === undefined && misplaced.some((complaint) => isOf(complaint.variable))) return [];
    if (variable === "PRIMARY_DOMAIN" && found === undefined) {
      return { variable, text: "is missing", todo: "Put it into [vars], with the public host name as its value." };
    }
    if (isBackendVariable(variable) && isLikeHeader(vars[variable])) {
      const secret = variable.replace("BACKEND_", "HEADERS_");
      const todo = `Put the address of that AIOStreams server there, deploy, and run: npx wrangler secret put ${secret}`;
      return { variable, text: likeHeader(secret), todo };
    }
    const meant = isBackendVariable(variable) ? resembledSetting(variable) : undefined;
    if (meant !== undefined && !isAddress(vars[variable])) {
      const todo = `Did you mean ${meant}? Correct its name.`;
      return { variable, text: "is read as a backend, and its value is no address of one", todo };
    }
    const domain = meantDomain(vars);
    if (variable === "PRIMARY_DOMAIN" && domain !== undefined) {
      const text = `must be a host name alone, found ${JSON.stringify(found)}`;
      return { variable, text, todo: `Write PRIMARY_DOMAIN = "${domain}".` };
    }
    const isShown = found !== undefined && found !== NOT_SHOWN && !isLikeHeader(vars[variable]);
    const text = isShown ? `${allowed}, found ${JSON.stringify(found)}` : allowed;
    const isLoop =
      isBackendVariable(variable) &&
      domain !== undefined &&
      domain === parseOrigin(addressOf(vars[variable]))?.hostname;
    return { variable, text, todo: isLoop ? "Give the backend's own host name." : "Correct its value." };
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
  const text = "is no variable of this Worker";
  if (meant === undefined) return { variable, text, todo: "Correct its name, or remove it." };
  const advice = isHeadersVariable(meant) ? `It ${IS_SECRET}. ${secretAdvice(meant)}` : "Correct its name.";
  return { variable, text, todo: `Did you mean ${meant}? ${advice}` };
}

/** Variables in another table than [vars], where the Worker does not see them: TOML gives a line to the last table above it. */
function misplacedVariables(table: object, path: readonly string[] = []): Complaint[] {
  return Object.entries(table).flatMap(([name, value]) => {
    if (isKnownVariable(name)) {
      const where = path.length === 0 ? "above the first table" : `in [${path.join(".")}]`;
      const text = `stands ${where}, where the Worker does not see it`;
      const todo = isHeadersVariable(name)
        ? `It ${IS_SECRET}. ${secretAdvice(name)}`
        : "Move the line to the end of [vars].";
      return { variable: name, text, todo };
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
  return [{ variable: "STATUS_PATH", text, todo: "Choose another one." }];
}

function routeComplaints({ vars, route, routes = [] }: Settings, isDomainExample: boolean): Complaint[] {
  const domain = isDomainExample ? undefined : meantDomain(vars);
  const fault = faultOfRoutes(domain, route === undefined ? routes : [route]);
  return fault === undefined ? [] : [{ variable: route === undefined ? "routes" : "route", ...fault }];
}

function warningsOf({ vars, observability }: Settings, strays: ReturnType<typeof strayHeaders>): Complaint[] {
  const warnings = Object.keys(vars)
    .filter(isHeadersVariable)
    .map((variable) => {
      const stray = strays.find((one) => one.variable === variable);
      const name = stray ? stray.meant : variable;
      const todo = name === undefined ? "Remove the line." : secretAdvice(name);
      return { variable, text: IS_SECRET, todo };
    });
  // It may be meant so, as no address of a backend can be.
  if (isLikeHeader(vars.HEALTH_CHECK_EXPECT)) {
    const secret = "HEADERS_<NAME>";
    warnings.push({ variable: "HEALTH_CHECK_EXPECT", text: likeHeader(secret), todo: secretAdvice(secret) });
  }
  const { enabled = false, logs } = observability ?? {};
  if (!(logs?.enabled ?? enabled) || logs?.invocation_logs === false) return warnings;
  const text = "is on: the log keeps the URL of each request, in which a user's password stands";
  return [...warnings, { variable: "invocation_logs", text, todo: "Set it to false in [observability.logs]." }];
}

function likeHeader(secret: string): string {
  return `looks like a request header, which belongs into the secret ${secret}`;
}

function secretAdvice(secret: string): string {
  return `Remove the line, deploy, and run: npx wrangler secret put ${secret}`;
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
