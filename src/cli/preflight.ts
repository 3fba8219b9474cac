/**
 * Runs before `npm run deploy` and stops it while wrangler.toml cannot work: with a fault that the Worker itself would
 * refuse, with an example host name left in it, or with a name that the Worker does not read.
 */
import { readDeployment, shortened, WRANGLER_TOML } from "./deployment.ts";

/** Why a wrangler.toml cannot be deployed, for people; empty when it can. */
export async function refusalOf(path: string): Promise<string> {
  try {
    const { complaints } = await readDeployment(path);
    if (complaints.length === 0) return "";
    const list = complaints.map(({ variable, text, todo }) => `  - ${variable} ${text}. ${todo}`);
    throw new Error(`Correct this in ${shortened(path)}:\n${list.join("\n")}`);
  } catch (error) {
    return `Nothing was deployed. ${(error as Error).message}`;
  }
}

if (import.meta.main) {
  const refusal = await refusalOf(process.argv[2] ?? WRANGLER_TOML);
  if (refusal) {
    console.error(refusal);
    process.exitCode = 1;
  }
}
