/**
 * Runs before `npm run deploy` and stops it while wrangler.toml cannot work: with a fault that the Worker itself would
 * refuse, with an example host name left in it, or with a name that the Worker does not read.
 */
import { join } from "node:path";
import { unstable_readConfig } from "wrangler";
import { ConfigError, isBackendVariable, isKnownVariable, parseConfig } from "../../src/config.ts";

const path = process.argv[2] ?? join(import.meta.dirname, "../../wrangler.toml");
const { vars, routes = [] } = unstable_readConfig({ config: path });
const faults: string[] = [];

try {
  parseConfig(vars);
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  for (const { variable, allowed, found } of error.faults) {
    faults.push(`${variable} ${allowed}${found === undefined ? "" : `, found ${JSON.stringify(found)}`}`);
  }
}

for (const [variable, value] of Object.entries(vars)) {
  if (!isKnownVariable(variable)) faults.push(`${variable} is no variable of this Worker: is it misspelt?`);
  // RFC 2606 keeps these names for examples: nobody has a server there.
  const isHost = variable === "PRIMARY_DOMAIN" || isBackendVariable(variable);
  if (isHost && /(^|[./])example(\.(com|net|org))?(:\d+)?\/?$/i.test(String(value))) {
    faults.push(`${variable} still has its example value ${JSON.stringify(value)}: put your own host name there`);
  }
}

const domain = String(vars.PRIMARY_DOMAIN).trim();
const patterns: string[] = routes.map((route: string | { pattern: string }) =>
  typeof route === "string" ? route : route.pattern,
);
if (!patterns.some((pattern) => pattern.replace(/\/\*?$/, "") === domain)) {
  faults.push(`routes must name PRIMARY_DOMAIN (${domain}), found ${patterns.join(", ") || "none"}`);
}

if (faults.length > 0) {
  console.error(`Nothing was deployed. Mend this in ${path}:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`);
  process.exitCode = 1;
}
