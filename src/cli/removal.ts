import { isAnswer, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Desk } from "./desk.ts";
import { ok, warning, wrong } from "./line.ts";
import { askPatiently } from "./patience.ts";
import type { Result } from "./sharing.ts";
import { listed } from "./text.ts";
import { answerText, type Domain, errorCodeOf, NO_HARM, type User, userQuestion } from "./user.ts";

/** Deletes a user by way of any backend that can, and looks whether it is gone. Nothing interrupts the deletion. */
export async function removeUser(
  backends: readonly DeployedBackend[],
  user: User,
  results: ReadonlyMap<DeployedBackend, Result>,
  config: Domain,
  desk: Desk,
): Promise<void> {
  const { uuid, madeBy } = user;
  const others = backends.filter((backend) => backend !== madeBy);
  const sharing = others.filter((backend) => isKnown(results.get(backend)));
  const unsure = others.filter((backend) => (results.get(backend) ?? "no result") === "no result");
  let last: Reply | undefined;
  for (const backend of [madeBy, ...sharing, ...unsure]) {
    const reply = await askPatiently(userQuestion("DELETE", backend, user, config), backend, desk);
    const result = results.get(backend) ?? "no result";
    // Where it was never known, "unknown" does not mean that it is gone.
    const wasKnown = isKnown(result) || (backend === madeBy && result === "no result");
    const isGone = wasKnown && isAnswer(reply) && errorCodeOf(reply) === "USER_INVALID_DETAILS";
    if (isGone || (isAnswer(reply) && reply.json.success === true)) {
      desk.left.splice(
        desk.left.findIndex((leftover) => leftover.uuid === uuid),
        1,
      );
      const knowing = [madeBy, ...sharing].filter((one) => isKnown(results.get(one)));
      return lookWhetherGone(knowing, user, config, desk);
    }
    last ??= reply;
  }
  const reason = last && isAnswer(last) ? answerText(last) : (last?.code ?? "");
  const found = `the throwaway user ${uuid} is left in its database, since it could not be deleted (${reason})`;
  const todo = `Delete it in the PostgreSQL of ${madeBy.id}: DELETE FROM users WHERE uuid = '${uuid}'. ${NO_HARM}`;
  desk.say(wrong(madeBy.id, found, todo));
}

async function lookWhetherGone(
  backends: readonly DeployedBackend[],
  user: User,
  config: Domain,
  desk: Desk,
): Promise<void> {
  const signal = desk.interrupted;
  if (signal.aborted || backends.length === 0) return desk.say(ok(undefined, "the throwaway user is deleted"));
  const gone: string[] = [];
  for (const backend of backends) {
    const { id } = backend;
    const reply = await askPatiently({ ...userQuestion("GET", backend, user, config), signal }, backend, desk, signal);
    if (isAnswer(reply) && errorCodeOf(reply) === "USER_INVALID_DETAILS") gone.push(id);
    else if (isAnswer(reply) && reply.status === 200) {
      const todo = `Let DATABASE_URI on ${id} name the primary database: this looks like a copy that lags behind.`;
      desk.say(wrong(id, "still reads the throwaway user after it was deleted", todo));
    } else {
      const found = `does not say whether the deleted user is gone (${isAnswer(reply) ? answerText(reply) : reply.code})`;
      desk.say(warning(id, found, "Run this again."));
    }
  }
  if (gone.length > 0) desk.say(ok(undefined, `the throwaway user is deleted, and gone on ${listed(gone.sort())}`));
}

function isKnown(result: Result | undefined): boolean {
  return result !== undefined && result !== "no result" && result !== "another database";
}
