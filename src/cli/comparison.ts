import { isAnswer, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import { type Line, ok, warning, wrong } from "./line.ts";
import { answerInWords, askForUser, type Desk, errorCodeOf, makeUser, type User, userQuestion } from "./user.ts";
import { failureInWords, listed, unanswered } from "./words.ts";

/**
 * Whether the backends share a database and a SECRET_KEY: a user that one of them makes has to be known to all. Whatever
 * happens the user is deleted, or `desk.left` and the report say where it is left.
 */
export async function compareUsers(backends: readonly DeployedBackend[], desk: Desk): Promise<void> {
  const user = await makeUser(
    backends.toSorted((a, b) => Number(a.isBackup) - Number(b.isBackup)),
    desk,
  );
  if (user === undefined) return;
  desk.say(ok(user.madeBy.id, "made a throwaway user"));
  const knowing = new Map<DeployedBackend, boolean>();
  try {
    await Promise.all(
      backends.map(async (backend) => {
        const { line, isKnown } = await readUser(backend, user, desk);
        if (isKnown !== undefined) knowing.set(backend, isKnown);
        // That the maker knows its own user goes without saying.
        const isNews = line.kind !== "ok" || backend !== user.madeBy;
        if (isNews && !desk.interrupted.aborted) desk.say(line);
      }),
    );
  } finally {
    await removeUser(backends, user, knowing, desk);
  }
}

interface Reading {
  readonly line: Line;
  /** Whether the backend's database holds the user; `undefined` when that did not come out. */
  readonly isKnown: boolean | undefined;
}

async function readUser(backend: DeployedBackend, user: User, desk: Desk): Promise<Reading> {
  const signal = desk.interrupted;
  const byApi = await askForUser({ ...userQuestion("GET", backend, user), signal }, backend, desk, signal);
  if (!isAnswer(byApi) || byApi.status !== 200 || user.encryptedPassword === "") {
    return judgeReading(byApi, undefined, backend, user);
  }
  // What a player asks for: here the backend has to decrypt the secret that another one made.
  const path = `/stremio/${user.uuid}/${encodeURIComponent(user.encryptedPassword)}/manifest.json`;
  const byPlayer = await askForUser({ url: backend.origin + path, signal }, backend, desk, signal);
  return judgeReading(byApi, byPlayer, backend, user);
}

/** What a backend's answers about the user say: that of the API, and that to a player if it was asked. */
export function judgeReading(byApi: Reply, byPlayer: Reply | undefined, backend: DeployedBackend, user: User): Reading {
  const first = judgeReply(byApi, "the user", backend, user);
  if (first.line.kind !== "ok" || byPlayer === undefined) return first;
  return { line: judgeReply(byPlayer, "the user's manifest", backend, user).line, isKnown: true };
}

function judgeReply(reply: Reply, what: string, backend: DeployedBackend, { madeBy }: User): Reading {
  const { id } = backend;
  const isMaker = id === madeBy.id;
  const both = isMaker ? id : `${madeBy.id} and ${id}`;
  if (!isAnswer(reply)) {
    const { found, todo } = failureInWords(reply, backend);
    return { line: unanswered(id, reply, `asked for ${what}, ${found}`, todo), isKnown: undefined };
  }
  const code = errorCodeOf(reply);
  if (code === "USER_INVALID_DETAILS") {
    const found = isMaker
      ? "does not know the user that it has just made: it has more than one database"
      : `does not know the user that ${madeBy.id} has just made: another database`;
    const todo = `Set the same DATABASE_URI on ${both}: that of the database that holds your users. Then run this again, for SECRET_KEY can only be compared on one database.`;
    return { line: wrong(id, found, todo), isKnown: false };
  }
  if (code === "ENCRYPTION_ERROR") {
    const found = `knows the user that ${madeBy.id} has just made, but cannot decrypt it: another SECRET_KEY`;
    return {
      line: wrong(id, found, `Set the same SECRET_KEY on ${both}: the one that your users were made with.`),
      isKnown: true,
    };
  }
  if (reply.status !== 200 || Object.keys(reply.json).length === 0) {
    const found = `asked for ${what}, it answers ${answerInWords(reply)}: not compared`;
    if (reply.status === 429)
      return { line: warning(id, found, "Wait some minutes, then run this again."), isKnown: undefined };
    return { line: wrong(id, found, `Look into the log of AIOStreams on ${id} for the reason.`), isKnown: undefined };
  }
  const found = `reads the user that ${madeBy.id} made: the same database and SECRET_KEY`;
  return { line: ok(id, found), isKnown: true };
}

/** Deletes the user by way of any backend that can, and looks whether it is gone. Nothing interrupts the deletion. */
async function removeUser(
  backends: readonly DeployedBackend[],
  user: User,
  knowing: ReadonlyMap<DeployedBackend, boolean>,
  desk: Desk,
): Promise<void> {
  const { uuid, madeBy } = user;
  const sharing = backends.filter((backend) => backend !== madeBy && knowing.get(backend) === true);
  const unsure = backends.filter((backend) => backend !== madeBy && !knowing.has(backend));
  let last: Reply | undefined;
  for (const backend of [madeBy, ...sharing, ...unsure]) {
    const reply = await askForUser(userQuestion("DELETE", backend, user), backend, desk);
    // Where it was never known, "unknown" does not mean that it is gone.
    const wasKnown = knowing.get(backend) ?? backend === madeBy;
    const isGone = wasKnown && isAnswer(reply) && errorCodeOf(reply) === "USER_INVALID_DETAILS";
    if (isGone || (isAnswer(reply) && reply.status < 300)) {
      desk.left.splice(
        desk.left.findIndex((leftover) => leftover.uuid === uuid),
        1,
      );
      return lookWhetherGone([madeBy, ...sharing], user, desk);
    }
    last ??= reply;
  }
  const reason = last && isAnswer(last) ? answerInWords(last) : (last?.code ?? "");
  const found = `the throwaway user ${uuid} is left in its database, since it could not be deleted (${reason})`;
  const todo = `Delete it in the PostgreSQL of ${madeBy.id}: DELETE FROM users WHERE uuid = '${uuid}'. It does no harm: nobody knows its password.`;
  desk.say(wrong(madeBy.id, found, todo));
}

async function lookWhetherGone(backends: readonly DeployedBackend[], user: User, desk: Desk): Promise<void> {
  if (desk.interrupted.aborted) return desk.say(ok(undefined, "the throwaway user is deleted"));
  const signal = desk.interrupted;
  const gone = await Promise.all(
    backends.map(async (backend) => {
      const { id } = backend;
      const reply = await askForUser({ ...userQuestion("GET", backend, user), signal }, backend, desk, signal);
      if (isAnswer(reply) && errorCodeOf(reply) === "USER_INVALID_DETAILS") return id;
      if (isAnswer(reply) && reply.status === 200) {
        const todo = `Let DATABASE_URI on ${id} name the primary database: this looks like a copy that lags behind.`;
        desk.say(wrong(id, "still reads the throwaway user after it was deleted", todo));
      } else {
        const found = `does not say whether the deleted user is gone (${isAnswer(reply) ? answerInWords(reply) : reply.code})`;
        desk.say(warning(id, found, "Run this again."));
      }
      return undefined;
    }),
  );
  const ids = gone.filter((id) => id !== undefined);
  if (ids.length > 0) desk.say(ok(undefined, `the throwaway user is deleted, and gone on ${listed(ids)}`));
}
