import { parseArgs } from "node:util";
import { WRANGLER_TOML } from "./deployment.ts";

export const USAGE = `Usage: npm run doctor -- [options]

Reads wrangler.toml, asks every backend and the public address, and says what is wrong and what to do about it.

  --url <address>    asks the Worker there instead of at PRIMARY_DOMAIN, such as http://localhost:8787 (npm run dev)
  --config <path>    another file than wrangler.toml
  --json             the report as JSON, for programs
  --help             shows this

AIOSTREAMS_ADDON_PASSWORD (an environment variable) is the add-on password of the backends, if they ask for one.
HEADERS_<NAME> of .dev.vars (beside wrangler.toml) or of the environment goes with each request to that backend.
Exit code: 0 nothing is wrong, 1 something is wrong, 2 it could not run to its end.
`;

export interface Arguments {
  readonly url: string | undefined;
  readonly config: string;
  readonly isJson: boolean;
}

/** @throws with a text that says what is allowed. */
export function parseArguments(args: string[]): Arguments | "help" {
  const options = {
    url: { type: "string" },
    config: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  } as const;
  try {
    const { url, config = WRANGLER_TOML, json, help } = parseArgs({ args, options }).values;
    return help ? "help" : { url: url === undefined ? undefined : parseOrigin(url), config, isJson: json };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${USAGE}`, { cause: error });
  }
}

function parseOrigin(text: string): string {
  const url = URL.parse(text);
  if (url && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`) return url.origin;
  throw new Error("--url must be http(s)://host[:port] without a path, such as http://localhost:8787.");
}
