/**
 * Runs before `npm run deploy` and stops it while wrangler.toml cannot work: with a fault that the Worker itself would
 * refuse, an example host name left in it, an address that Cloudflare cannot reach, or a name that the Worker does not read.
 */
import { readDeployment, shortened, WRANGLER_TOML } from "./deployment.ts";
import type { Complaint } from "./judgement.ts";

/** What a person has to know before a wrangler.toml is deployed; both are empty when there is nothing to say. */
export interface Verdict {
  /** Why it cannot be deployed. */
  readonly refusal: string;
  /** What does not keep it from being deployed. */
  readonly warning: string;
}

export async function verdictOn(path: string): Promise<Verdict> {
  try {
    const { complaints, unreachable, warnings } = await readDeployment(path);
    const refusals = [...complaints, ...unreachable];
    return {
      refusal:
        refusals.length === 0 ? "" : `Nothing was deployed. Correct this in ${shortened(path)}:${listed(refusals)}`,
      warning:
        warnings.length === 0
          ? ""
          : `Better change this in ${shortened(path)}:${listed(warnings)}\nThis alone does not stop the deployment.`,
    };
  } catch (error) {
    return { refusal: `Nothing was deployed. ${(error as Error).message}`, warning: "" };
  }
}

function listed(complaints: readonly Complaint[]): string {
  return complaints.map(({ variable, text, todo }) => `\n  - ${variable} ${text}. ${todo}`).join("");
}

if (import.meta.main) {
  const { refusal, warning } = await verdictOn(process.argv[2] ?? WRANGLER_TOML);
  if (warning) console.error(warning);
  if (refusal) {
    console.error(refusal);
    process.exitCode = 1;
  }
}
