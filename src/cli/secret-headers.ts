import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { ConfigError, parseConfig } from "../config.ts";
import type { DeployedBackend } from "./deployment.ts";
import { type Line, wrong } from "./line.ts";
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

/** The backends with their headers of HEADERS_<NAME>, and what is wrong with these; `environment` wins over `devVars`. */
export function withSecretHeaders(
  backends: readonly DeployedBackend[],
  devVars: Variables,
  environment: Variables,
): { backends: DeployedBackend[]; lines: Line[] } {
  const lines: Line[] = [];
  const changed = backends.map((backend) => {
    const variable = headersVariable(backend);
    const value = environment[variable] ?? devVars[variable];
    if (value === undefined) return backend;
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
