import type { Config } from "../config.ts";
import { type Answer, isAnswer, objectOf, type Question, questionTo, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Desk } from "./desk.ts";
import { broken, type Line, warning } from "./line.ts";
import { askPatiently } from "./patience.ts";
import type { Result } from "./sharing.ts";
import { failureText, unanswered } from "./text.ts";

export const USER_PATH = "/api/v1/user";
/** Why a user that is left behind is no danger. */
export const NO_HARM = "It does no harm: its password is stored nowhere.";

/** What of the configuration a question to a backend needs. */
export type Domain = Pick<Config, "primaryDomain">;

/** A user that is made to be deleted again. */
export interface User {
  readonly uuid: string;
  readonly password: string;
  /** The secret part of the user's addresses. */
  readonly encryptedPassword: string;
  readonly madeBy: DeployedBackend;
}

/** How a user is read and deleted. */
export function userQuestion(method: "GET" | "DELETE", backend: DeployedBackend, user: User, config: Domain): Question {
  const authorization = `Basic ${Buffer.from(`${user.uuid}:${user.password}`).toString("base64")}`;
  return questionTo(backend, USER_PATH, config, {
    method,
    headers: { Authorization: authorization, Accept: "application/json" },
  });
}

/** AIOStreams' own code for what went wrong, such as `USER_INVALID_DETAILS`. */
export function errorCodeOf(answer: Answer): string | undefined {
  const { code } = objectOf(answer.json.error);
  return typeof code === "string" && /^[A-Z_]{1,40}$/.test(code) ? code : undefined;
}

/** A status and, where there is one, AIOStreams' code; nothing else of an answer, since it may hold a secret. */
export function answerText(answer: Answer): string {
  const code = errorCodeOf(answer);
  if (code !== undefined) return `${answer.status} ${code}`;
  return /^\s*</.test(answer.text) ? `${answer.status} with HTML where JSON is due` : String(answer.status);
}

/** What a backend knows of a user; `line` says why that did not come out. */
export interface Reading {
  readonly result: Result;
  readonly line?: Line;
}

/** Reads a user as its own page does, and then as a player does. */
export async function readUser(backend: DeployedBackend, user: User, config: Domain, desk: Desk): Promise<Reading> {
  const signal = desk.interrupted;
  const byApi = await askPatiently({ ...userQuestion("GET", backend, user, config), signal }, backend, desk, signal);
  const reading = judgeReading(byApi, "the user", backend);
  if (reading.result !== "reads" || user.encryptedPassword === "") return reading;
  // Here the backend has to decrypt the secret that another one made.
  const path = `/stremio/${user.uuid}/${encodeURIComponent(user.encryptedPassword)}/manifest.json`;
  const byPlayer = await askPatiently(questionTo(backend, path, config, { signal }), backend, desk, signal);
  const { result, line } = judgeReading(byPlayer, "the user's manifest", backend);
  return { result: result === "no result" ? "in its database" : result, ...(line && { line }) };
}

/** What one answer about a user says. */
export function judgeReading(reply: Reply, what: string, backend: DeployedBackend): Reading {
  const { id } = backend;
  if (!isAnswer(reply)) {
    const { found, todo } = failureText(reply, backend);
    return { result: "no result", line: unanswered(id, reply, `asked for ${what}, ${found}`, todo) };
  }
  const code = errorCodeOf(reply);
  if (code === "USER_INVALID_DETAILS") return { result: "another database" };
  if (code === "ENCRYPTION_ERROR") return { result: "another SECRET_KEY" };
  if (code === "USER_INVALID_CONFIG") return { result: "another add-on password" };
  if (reply.status === 200 && Object.keys(reply.json).length > 0) return { result: "reads" };
  const found = `asked for ${what}, it answers ${answerText(reply)}: not compared`;
  const isRefusal = reply.status === 429;
  const line = isRefusal
    ? warning(id, found, "Wait some minutes, then run this again.")
    : broken(id, found, `Look into the log of AIOStreams on ${id} for the reason.`);
  return { result: "no result", line };
}
