import { type Config, VARIABLES } from "../config.ts";
import { isLikeHeader } from "./addresses.ts";
import { type Answer, isAnswer, questionTo } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Desk } from "./desk.ts";
import { broken, type Line, ok, warning } from "./line.ts";
import { askForStatus } from "./statuses.ts";
import { addressOf, failureText, headersVariable, plain, unanswered } from "./text.ts";

/** The Worker's own check waits no longer for the whole answer, and reads no more of it. */
const CHECK_MS = 3_000;
const CHECK_BYTES = 64 * 1024;

const AIOSTREAMS_PATH = VARIABLES.HEALTH_CHECK_PATH.defaultValue;

type Check = Pick<Config, "healthCheckPath" | "healthCheckExpect">;

export interface Health {
  readonly line: Line;
  /** Whether it answers HTTP at all, so that there is a point in asking it more. */
  readonly isAnswering: boolean;
}

/** Asks a backend's health route as the Worker's check does. One that was slow is asked again: it may have been asleep. */
export async function askForHealth(backend: DeployedBackend, config: Config, desk: Desk): Promise<Health> {
  const parts = { enoughBytes: CHECK_BYTES, signal: desk.interrupted };
  const question = questionTo(backend, config.healthCheckPath, config, parts);
  const first = await desk.ask(question);
  if (!isAnswer(first)) {
    const { found, todo } = failureText(first, backend);
    return { line: unanswered(backend.id, first, found, todo), isAnswering: false };
  }
  if (!isGood(first, config) && (await isOtherPath(backend, config, first, desk))) {
    const found = `${config.healthCheckPath} does not answer as AIOStreams' health route does (${first.status})`;
    const todo = `AIOStreams runs there: write HEALTH_CHECK_PATH = "${AIOSTREAMS_PATH}" in wrangler.toml.`;
    return { line: broken(backend.id, found, todo), isAnswering: true };
  }
  const second = isGood(first, config) && first.tookMs > CHECK_MS ? await desk.ask(question) : first;
  return { line: judgeHealth(backend, config, first, isAnswer(second) ? second : first), isAnswering: true };
}

/** Whether AIOStreams runs there, and it is the path that is wrong. */
async function isOtherPath(backend: DeployedBackend, config: Config, first: Answer, desk: Desk): Promise<boolean> {
  if (config.healthCheckPath === AIOSTREAMS_PATH || !(first.status === 404 || is2xx(first))) return false;
  return (await askForStatus(backend, config, desk)).kind === "aiostreams";
}

/** What to say of two answers, which are the same one when the first was quick. */
export function judgeHealth(backend: DeployedBackend, check: Check, first: Answer, second: Answer): Line {
  const { id, variable, isBackup } = backend;
  const path = check.healthCheckPath;
  if (!is2xx(second)) {
    const { found, todo } = statusText(backend, second);
    return broken(id, `${path} answers ${second.status}${found}`, todo);
  }
  if (!isGood(second, check)) {
    // A header that stands in the wrong variable is a secret.
    const expected = isLikeHeader(check.healthCheckExpect) ? "" : ` (${plain(check.healthCheckExpect)})`;
    const found = `${path} answers ${second.status}, but not as AIOStreams does: HEALTH_CHECK_EXPECT${expected} is not in it`;
    const todo = `Start AIOStreams on ${id}: a proxy or platform may answer in its place. If it runs, correct HEALTH_CHECK_PATH or HEALTH_CHECK_EXPECT in wrangler.toml.`;
    return broken(id, found, todo);
  }
  if (first.tookMs <= CHECK_MS) return ok(id, `${path} answers ${first.status} in ${first.tookMs} ms`);
  if (second.tookMs <= CHECK_MS) {
    const found = `${path} answered after ${first.tookMs} ms, and when asked again after ${second.tookMs} ms: it was asleep`;
    const todo = isBackup
      ? "As a backup it may sleep: it wakes up when it is needed, which takes that long."
      : `The Worker's check waits ${CHECK_MS} ms. Keep ${id} awake, or write the word backup behind its address in ${variable}.`;
    return warning(id, found, todo);
  }
  const found = `${path} answers only after ${first.tookMs} ms and ${second.tookMs} ms; the Worker's check waits ${CHECK_MS} ms`;
  const todo = `Look why ${id} is slow: too little memory or CPU, or its database (DATABASE_URI) is far away.`;
  return broken(id, found, todo);
}

function is2xx({ status }: Answer): boolean {
  return status >= 200 && status < 300;
}

function isGood(answer: Answer, { healthCheckExpect }: Check): boolean {
  return is2xx(answer) && answer.text.includes(healthCheckExpect);
}

/** What to say of a status that is not 2xx: what follows it in the sentence, and what to do. */
function statusText(backend: DeployedBackend, { status, headers }: Answer): { found: string; todo: string } {
  const { id, variable, origin } = backend;
  const due = (todo: string) => ({ found: ", where 2xx is due", todo });
  if (status >= 300 && status < 400) {
    const target = URL.parse(headers.get("Location") ?? "", origin);
    const { host } = addressOf(origin);
    if (target?.hostname.endsWith(".cloudflareaccess.com")) {
      return { found: ": Cloudflare Access wants a login", todo: accessAdvice(backend) };
    }
    if (origin.startsWith("http:") && target?.protocol === "https:" && addressOf(target.origin).host === host) {
      const todo = `Write https:// in wrangler.toml: ${variable} = "${target.origin}".`;
      return { found: ": it redirects http: to https:", todo };
    }
    // No more than the origin, since a path may be a secret.
    const where = target ? ` to ${target.origin}` : "";
    return due(
      `It redirects${where}. Write into ${variable} the address that answers itself, or correct HEALTH_CHECK_PATH.`,
    );
  }
  if (headers.get("cf-mitigated") === "challenge") {
    const todo = `Add a rule to its zone in Cloudflare that skips the challenge for the Worker's requests: ${headersVariable(backend)} can hold a header that the rule looks for.`;
    return { found: ": a bot challenge of Cloudflare's stands before it", todo };
  }
  if (status === 401 || status === 403) {
    return due(
      `Something in front of ${id} wants a login, or takes this for a bot. If it is Cloudflare Access: ${accessAdvice(backend)} Else let requests to it pass, or put the header that it wants into ${headersVariable(backend)}.`,
    );
  }
  if (status === 404)
    return due(`Start AIOStreams on ${id} (a platform answers 404 for a stopped one), or correct HEALTH_CHECK_PATH.`);
  if (status === 429) return due(`Exempt HEALTH_CHECK_PATH from the rate limit on ${id}.`);
  if (status === 500)
    return due(
      `AIOStreams answers so when it does not reach its database: check DATABASE_URI on ${id}, and PostgreSQL.`,
    );
  if (status >= 520 && status <= 530)
    return due(`Cloudflare does not reach ${id}: start it, or correct its DNS record there.`);
  if (status >= 502 && status <= 504)
    return due(`The proxy in front of ${id} does not reach AIOStreams: start it there.`);
  return due(`Look into the log of ${id}, or correct HEALTH_CHECK_PATH.`);
}

/** How to come past Cloudflare Access (https://developers.cloudflare.com/cloudflare-one/access-controls/service-credentials/service-tokens/). */
function accessAdvice(backend: DeployedBackend): string {
  const variable = headersVariable(backend);
  const hasToken = backend.headers.some(([name]) => name.toLowerCase() === "cf-access-client-id");
  return hasToken
    ? `It refuses the service token in ${variable}: look whether it has expired, and whether the application has a policy with the action Service Auth for it.`
    : `Make a service token and a policy with the action Service Auth, then put the lines CF-Access-Client-Id: … and CF-Access-Client-Secret: … into the secret ${variable} (npx wrangler secret put ${variable}), and into .dev.vars for the doctor.`;
}
