import { randomBytes } from "node:crypto";
import { isAnswer, objectOf, type Question, questionTo, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Desk, Leftover } from "./desk.ts";
import { broken, type Line, skipped, warning, wrong } from "./line.ts";
import { askPatiently } from "./patience.ts";
import { failureText, listed, unanswered } from "./text.ts";
import { answerText, type Domain, errorCodeOf, NO_HARM, USER_PATH, type User } from "./user.ts";

/** The smallest configuration that AIOStreams takes. */
const CONFIG = { presets: [], sortCriteria: { global: [] }, formatter: { id: "torrentio" } };
/** With these nothing was sent, so no user can have been made. */
const NEVER_SENT = /^(E(NOTFOUND|NODATA|AI_AGAIN|CONNREFUSED|HOSTUNREACH|NETUNREACH)|INTERRUPTED|.*(CERT|SSL).*)$/;

export interface Making {
  readonly user: User | undefined;
  /** Those that wanted another add-on password, or any. */
  readonly refusals: readonly DeployedBackend[];
  /** Those that were asked in vain. */
  readonly unable: readonly DeployedBackend[];
}

/** Makes the user on the first backend that lets it be made; says why where one does not, but for the password. */
export async function makeUser(backends: readonly DeployedBackend[], config: Domain, desk: Desk): Promise<Making> {
  const refusals: DeployedBackend[] = [];
  const unable: DeployedBackend[] = [];
  for (const backend of backends) {
    if (desk.interrupted.aborted) break;
    const password = randomBytes(24).toString("base64url");
    const leftover: Leftover = { uuid: undefined, backend: backend.id };
    desk.left.push(leftover);
    // An interruption does not cut it short: only its answer tells which user has to be deleted.
    const question = creation(backend, config, password, desk.addonPassword);
    const reply = await askPatiently(question, backend, desk, desk.interrupted);
    const made = outcomeOfMaking(reply, backend);
    if (made.kind !== "unknown") desk.left.splice(desk.left.indexOf(leftover), 1);
    if (made.kind === "made") {
      const { uuid, encryptedPassword } = made;
      desk.left.push({ uuid, backend: backend.id });
      return { user: { uuid, encryptedPassword, password, madeBy: backend }, refusals, unable };
    }
    unable.push(backend);
    if (made.kind === "refused") refusals.push(backend);
    else desk.say(made.line);
  }
  return { user: undefined, refusals, unable };
}

function creation(
  backend: DeployedBackend,
  config: Domain,
  password: string,
  addonPassword: string | undefined,
): Question {
  // Since 2.30 AIOStreams calls it accessKey; before, it was addonPassword.
  const secrets = addonPassword === undefined ? {} : { addonPassword, accessKey: addonPassword };
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const body = JSON.stringify({ password, config: { ...CONFIG, ...secrets } });
  return questionTo(backend, USER_PATH, config, { method: "POST", headers, body });
}

type MakingOutcome =
  | { readonly kind: "made"; readonly uuid: string; readonly encryptedPassword: string }
  /** The add-on password is missing or wrong. */
  | { readonly kind: "refused" }
  | { readonly kind: "failed"; readonly line: Line }
  /** There may be a user now, whose uuid is not known. */
  | { readonly kind: "unknown"; readonly line: Line };

/** What came of making a user. */
export function outcomeOfMaking(reply: Reply, backend: DeployedBackend): MakingOutcome {
  const { id } = backend;
  const failed = (line: Line): MakingOutcome => ({ kind: "failed", line });
  if (!isAnswer(reply)) {
    const { found, todo } = failureText(reply, backend);
    if (NEVER_SENT.test(reply.code)) return failed(unanswered(id, reply, found, todo));
    return { kind: "unknown", line: unknownUserLine(id, found) };
  }
  const { uuid, encryptedPassword } = objectOf(reply.json.data);
  if (typeof uuid === "string" && /^[\w-]{1,64}$/.test(uuid)) {
    return { kind: "made", uuid, encryptedPassword: typeof encryptedPassword === "string" ? encryptedPassword : "" };
  }
  if (errorCodeOf(reply) === "ADDON_PASSWORD_INVALID") return { kind: "refused" };
  if (reply.status < 300) return { kind: "unknown", line: unknownUserLine(id, "it did not say which one it made") };
  const found = `no user can be made: POST ${USER_PATH} answers ${answerText(reply)}`;
  if (reply.status === 429) return failed(warning(id, found, "Wait some minutes, then run this again."));
  const todo = `Look into the log of AIOStreams on ${id} for the reason.`;
  return failed(reply.status >= 500 ? broken(id, found, `${todo} Check its DATABASE_URI.`) : warning(id, found, todo));
}

function unknownUserLine(id: string, why: string): Line {
  const found = `asked to make a throwaway user, ${why}; one may be left in its database, and its uuid is not known`;
  const todo = `Look into the log of ${id}. The newest user in its PostgreSQL may be the one: SELECT uuid FROM users ORDER BY created_at DESC LIMIT 1. ${NO_HARM}`;
  return wrong(id, found, todo);
}

/** No user could be made anywhere for want of the add-on password; `variable` is its name on the backends. */
export function refusalLine(ids: readonly string[], isGiven: boolean, variable: string): Line {
  const [want, refuse] = ids.length === 1 ? ["wants", "refuses"] : ["want", "refuse"];
  if (!isGiven) {
    const found = `${listed(ids)} ${want} the add-on password (${variable}) before a user is made: not compared`;
    return skipped(
      undefined,
      found,
      "Put it into the environment variable AIOSTREAMS_ADDON_PASSWORD, then run this again.",
    );
  }
  const todo = `Correct the environment variable AIOSTREAMS_ADDON_PASSWORD: it has to be ${variable} of the backends.`;
  return wrong(undefined, `${listed(ids)} ${refuse} the add-on password`, todo);
}
