/**
 * Runs before `npm run deploy` and stops it while wrangler.toml cannot work: with a fault that the Worker itself would
 * refuse, with an example host name left in it, or with a name that the Worker does not read.
 */
import { readDeployment, shortened, WRANGLER_TOML } from "./deployment.ts";

const path = process.argv[2] ?? WRANGLER_TOML;
try {
  const { complaints } = await readDeployment(path);
  if (complaints.length > 0) {
    const list = complaints.map(({ variable, text, todo }) => `  - ${variable} ${text}. ${todo}`);
    throw new Error(`Correct this in ${shortened(path)}:\n${list.join("\n")}`);
  }
} catch (error) {
  console.error(`Nothing was deployed. ${(error as Error).message}`);
  process.exitCode = 1;
}
