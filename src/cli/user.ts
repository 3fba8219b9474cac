import { randomBytes } from "node:crypto";
import { type Answer, askPatiently, isAnswer, objectOf, type Question, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import { type Line, skipped, warning, wrong } from "./line.ts";
import type { Leftover } from "./report.ts";
import { failureInWords, listed, unanswered } from "./words.ts";

const PATH = "/api/v1/user";
/** The smallest configuration that AIOStreams takes. */
const CONFIG = { presets: [], sortCriteria: { global: [] }, formatter: { id: "torrentio" } };
/** With these nothing was sent, so no user can have been made. */
const NEVER_SENT = /^(E(NOTFOUND|NODATA|AI_AGAIN|CONNREFUSED|HOSTUNREACH|NETUNREACH)|INTERRUPTED|.*(CERT|SSL).*)$/;

/** A user that is made to be deleted again. */
export interface User {
  readonly uuid: string;
  readonly password: string;
  /** The secret part of the user's addresses. */
  readonly encryptedPassword: string;
  readonly madeBy: DeployedBackend;
}

/** What the questions about a user need around them. */
export interface Desk {
  readonly say: (line: Line) => void;
  /** Names on the terminal what is being waited for. */
  readonly during: <T>(what: string, task: (rename: (what: string) => void) => Promise<T>) => Promise<T>;
  readonly interrupted: AbortSignal;
  readonly addonPassword: string | undefined;
  /** Every user that exists, or may exist, at this moment: for whoever ends the program halfway. */
  readonly left: Leftover[];
}

/** Asks a backend about users, waits when it answers 429, and says on the terminal that it does. */
export function askForUser(
  question: Question,
  { id }: DeployedBackend,
  { during }: Desk,
  interrupted?: AbortSignal,
): Promise<Reply> {
  return during(id, (rename) =>
    askPatiently(question, {
      signal: interrupted,
      onWait: (ms) => rename(`${id} (429, too many questions: it is asked again after ${Math.ceil(ms / 1_000)} s)`),
    }),
  );
}

/** Makes the user on the first backend that lets it be made; says why where none does. */
export async function makeUser(backends: readonly DeployedBackend[], desk: Desk): Promise<User | undefined> {
  const refusals: DeployedBackend[] = [];
  for (const backend of backends) {
    if (desk.interrupted.aborted) return undefined;
    const password = randomBytes(24).toString("base64url");
    const leftover: Leftover = { uuid: undefined, backend: backend.id };
    desk.left.push(leftover);
    // It goes on to its end even when somebody interrupts: only its answer tells which user has to be deleted.
    const question = creation(backend, password, desk.addonPassword);
    const reply = await askForUser(question, backend, desk, desk.interrupted);
    const made = outcomeOfMaking(reply, backend);
    if (made.kind !== "unknown") desk.left.splice(desk.left.indexOf(leftover), 1);
    if (made.kind === "made") {
      desk.left.push({ uuid: made.uuid, backend: backend.id });
      return { uuid: made.uuid, encryptedPassword: made.encryptedPassword, password, madeBy: backend };
    }
    if (made.kind === "refused") refusals.push(backend);
    else desk.say(made.line);
  }
  if (refusals.length > 0) desk.say(refusalInWords(refusals, desk.addonPassword));
  return undefined;
}

function creation({ origin }: DeployedBackend, password: string, addonPassword: string | undefined): Question {
  // Since 2.30 AIOStreams calls it accessKey; before, it was addonPassword.
  const config = addonPassword === undefined ? CONFIG : { ...CONFIG, addonPassword, accessKey: addonPassword };
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  return { url: origin + PATH, method: "POST", headers, body: JSON.stringify({ password, config }) };
}

type Making =
  | { readonly kind: "made"; readonly uuid: string; readonly encryptedPassword: string }
  /** The add-on password is missing or wrong. */
  | { readonly kind: "refused" }
  | { readonly kind: "failed"; readonly line: Line }
  /** There may be a user now, and nobody knows its uuid. */
  | { readonly kind: "unknown"; readonly line: Line };

/** What came of making a user. */
export function outcomeOfMaking(reply: Reply, backend: DeployedBackend): Making {
  const { id } = backend;
  const failed = (line: Line): Making => ({ kind: "failed", line });
  if (!isAnswer(reply)) {
    const { found, todo } = failureInWords(reply, backend);
    if (NEVER_SENT.test(reply.code)) return failed(unanswered(id, reply, found, todo));
    return { kind: "unknown", line: unknownUserInWords(id, found) };
  }
  const { uuid, encryptedPassword } = objectOf(reply.json.data);
  if (typeof uuid === "string" && /^[\w-]{1,64}$/.test(uuid)) {
    return { kind: "made", uuid, encryptedPassword: typeof encryptedPassword === "string" ? encryptedPassword : "" };
  }
  if (errorCodeOf(reply) === "ADDON_PASSWORD_INVALID") return { kind: "refused" };
  if (reply.status < 300) return { kind: "unknown", line: unknownUserInWords(id, "it did not say which one it made") };
  const found = `no user can be made: POST ${PATH} answers ${answerInWords(reply)}`;
  if (reply.status === 429) return failed(warning(id, found, "Wait some minutes, then run this again."));
  const todo = `Look into the log of AIOStreams on ${id} for the reason.`;
  return failed(reply.status >= 500 ? wrong(id, found, `${todo} Check its DATABASE_URI.`) : warning(id, found, todo));
}

function unknownUserInWords(id: string, why: string): Line {
  const found = `asked to make a throwaway user, ${why}; one may be left in its database, and its uuid is not known`;
  const todo = `Look into the log of ${id}. The newest user in its PostgreSQL may be the one: SELECT uuid FROM users ORDER BY created_at DESC LIMIT 1. It does no harm: nobody knows its password.`;
  return wrong(id, found, todo);
}

function refusalInWords(refusals: readonly DeployedBackend[], addonPassword: string | undefined): Line {
  const ids = listed(refusals.map(({ id }) => id));
  const isOne = refusals.length === 1;
  if (addonPassword === undefined) {
    const todo = "Put it into the environment variable AIOSTREAMS_ADDON_PASSWORD, then run this again.";
    return skipped(
      undefined,
      `${ids} ${isOne ? "wants" : "want"} the add-on password before a user is made: not compared`,
      todo,
    );
  }
  const todo =
    "Correct the environment variable AIOSTREAMS_ADDON_PASSWORD: it has to be ADDON_PASSWORD (newer versions: CONFIG_ACCESS_KEY) of the backends.";
  return wrong(undefined, `${ids} ${isOne ? "refuses" : "refuse"} the add-on password`, todo);
}

/** How the user is read and deleted. */
export function userQuestion(method: "GET" | "DELETE", { origin }: DeployedBackend, user: User): Question {
  const authorization = `Basic ${Buffer.from(`${user.uuid}:${user.password}`).toString("base64")}`;
  return { url: origin + PATH, method, headers: { Authorization: authorization, Accept: "application/json" } };
}

/** AIOStreams' own code for what went wrong, such as `USER_INVALID_DETAILS`. */
export function errorCodeOf(answer: Answer): string | undefined {
  const { code } = objectOf(answer.json.error);
  return typeof code === "string" && /^[A-Z_]{1,40}$/.test(code) ? code : undefined;
}

/** A status and, where there is one, AIOStreams' code; nothing else of an answer, since it may hold a secret. */
export function answerInWords(answer: Answer): string {
  const code = errorCodeOf(answer);
  if (code !== undefined) return `${answer.status} ${code}`;
  return /^\s*</.test(answer.text) ? `${answer.status} with HTML where JSON is due` : String(answer.status);
}
