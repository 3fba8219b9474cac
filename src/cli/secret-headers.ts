import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { ConfigError, parseConfig } from "../config.ts";
import type { DeployedBackend, Deployment } from "./deployment.ts";
import { type Line, warning, wrong } from "./line.ts";
import { strayHeaders } from "./spelling.ts";
import { headersVariable } from "./text.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * What `.dev.vars` beside a wrangler.toml holds, where `wrangler dev` reads it too; nothing when there is no such file.
 * Wrangler shows no secret of a deployed Worker.
 *
 * @throws the error of Node's when the file is there, but cannot be read.
 */
export async function readDevVars(configPath: string): Promise<Variables> {
  try {
    return parseEnv(await readFile(join(dirname(configPath), ".dev.vars"), "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
}

/**
 * The backends with their headers of HEADERS_<NAME>, and what is wrong with these; `environment` wins over `devVars`.
 * One that belongs to no backend works nowhere, and nothing else would say so: the Worker ignores it.
 */
export function withSecretHeaders(
  { backends, backendVariables }: Pick<Deployment, "backends" | "backendVariables">,
  devVars: Variables,
  environment: Variables,
): { backends: DeployedBackend[]; lines: Line[] } {
  const given = { ...devVars, ...environment };
  const lines = strayHeaders(Object.keys(given), backendVariables).map(({ variable, meant }) => {
    const hint = meant === undefined ? "Remove it" : `Did you mean ${meant}? Correct its name`;
    const todo = `${hint} in .dev.vars or the environment, and if the Worker has it: npx wrangler secret delete ${variable}`;
    return warning(variable, "belongs to no backend of wrangler.toml, so the Worker ignores it", todo);
  });
  const changed = backends.map((backend) => {
    const own = headersVariable(backend);
    // In any case, as the Worker reads it.
    const variable = own in given ? own : Object.keys(given).find((name) => name.toUpperCase() === own.toUpperCase());
    const value = variable === undefined ? undefined : given[variable];
    if (variable === undefined || value === undefined) return backend;
    try {
      const vars = { PRIMARY_DOMAIN: "doctor.invalid", [backend.variable]: backend.origin, [variable]: value };
      return { ...backend, headers: parseConfig(vars).backends[0]?.headers ?? [] };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const todo = `Correct it in .dev.vars or in the environment, and the Worker's secret too: npx wrangler secret put ${variable}.`;
      lines.push(...error.issues.map(({ allowed }) => wrong(variable, allowed, todo)));
      return backend;
    }
  });
  return { backends: changed, lines };
}
