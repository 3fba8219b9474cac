import type { Config } from "../config.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Desk } from "./desk.ts";
import { warning } from "./line.ts";
import { makeUser, refusalLine } from "./making.ts";
import { removeUser } from "./removal.ts";
import { judgeSharing, type Result, type Shared } from "./sharing.ts";
import { type Aiostreams, isProtectionAlike, passwordVariable } from "./statuses.ts";
import { headersVariable } from "./text.ts";
import { readUser } from "./user.ts";

/**
 * Whether the backends share a database, a SECRET_KEY and an add-on password: a user that one of them makes has to be
 * known to all. Those that do not know it make one of their own, so that the odd one out can be told. Whatever happens the
 * users are deleted, or `desk.left` and the report say where one is left.
 */
export async function compareUsers(statuses: readonly Aiostreams[], config: Config, desk: Desk): Promise<void> {
  const backends = statuses.map(({ backend }) => backend).toSorted((a, b) => Number(a.isBackup) - Number(b.isBackup));
  const variable = passwordVariable(statuses);
  const shared: Shared[] = [];
  let apart = backends.filter((backend) => hasOwnLogin(backend, desk));
  const unable = new Set<DeployedBackend>();
  while (apart.length > 1 && !desk.interrupted.aborted) {
    const making = await makeUser(
      apart.filter((backend) => !unable.has(backend)),
      config,
      desk,
    );
    const { user, refusals } = making;
    for (const backend of making.unable) unable.add(backend);
    if (user === undefined) {
      if (shared.length === 0 && refusals.length > 0) {
        const ids = refusals.map(({ id }) => id);
        desk.say(refusalLine(ids, desk.addonPassword !== undefined, variable));
      }
      break;
    }
    const results = new Map<DeployedBackend, Result>();
    try {
      await Promise.all(
        apart.map(async (backend) => {
          const { result, line } = await readUser(backend, user, config, desk);
          results.set(backend, result);
          if (line !== undefined && !desk.interrupted.aborted) desk.say(line);
        }),
      );
    } finally {
      await removeUser(apart, user, results, config, desk);
    }
    const maker = user.madeBy.id;
    shared.push(
      ...apart.map((backend) => ({ maker, reader: backend.id, result: results.get(backend) ?? "no result" })),
    );
    apart = apart.filter((backend) => backend !== user.madeBy && results.get(backend)?.startsWith("another "));
  }
  const options = { passwordVariable: variable, isProtectionAlike: isProtectionAlike(statuses) };
  for (const line of judgeSharing(shared, options)) desk.say(line);
}

/** Whether a user's own login reaches a backend: HEADERS_<NAME> may put another in its place. */
function hasOwnLogin(backend: DeployedBackend, desk: Desk): boolean {
  if (!backend.headers.some(([name]) => name.toLowerCase() === "authorization")) return true;
  const variable = headersVariable(backend);
  const found = `${variable} replaces Authorization, with which AIOStreams' own users log in: not compared, and they cannot change their configuration there`;
  desk.say(
    warning(
      backend.id,
      found,
      `Protect ${backend.id} with another header in ${variable}, such as those of Cloudflare Access.`,
    ),
  );
  return false;
}
