import { join, relative } from "node:path";
import { type Deployment, judgeDeployment } from "./judgement.ts";
import { isBare } from "./routes.ts";
import { hintFor } from "./spelling.ts";

export type { DeployedBackend, Deployment } from "./judgement.ts";

export const WRANGLER_TOML = join(import.meta.dirname, "../../wrangler.toml");

/** Where a TOML file is none, as Wrangler's parser says it. */
interface TomlLocation {
  /** From 1. */
  readonly line?: number;
  readonly lineText?: string;
  readonly fileText?: string;
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
  const { unstable_readConfig, experimental_readRawConfig } = await import("wrangler");
  try {
    // It is experimental: a Wrangler without it costs some complaints, not the deployment.
    const file = experimental_readRawConfig?.({ config: path }).rawConfig;
    // Wrangler would say nothing but that it does not take the route.
    const isRefused = [file?.route, ...(Array.isArray(file?.routes) ? file.routes : [])].some(isBare);
    const {
      vars = {},
      route,
      routes,
      observability,
    } = isRefused && file ? file : unstable_readConfig({ config: path });
    return judgeDeployment({ vars, route, routes, observability, file: { ...file } });
  } catch (error) {
    const { message, location } = error as Error & { location?: TomlLocation };
    const above = location?.fileText?.split("\n").slice(0, (location.line ?? 1) - 1);
    const hint = hintFor(location?.lineText ?? "", above);
    const line = location?.line === undefined ? "" : ` (line ${location.line}${hint === undefined ? "" : `: ${hint}`})`;
    throw new Error(`${shortened(path)} cannot be used${line}: ${message}`, { cause: error });
  }
}

/** A path as a person would type it. */
export function shortened(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}
