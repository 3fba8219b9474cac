import { lookup } from "node:dns/promises";
import type { Config } from "../config.ts";
import { ask, isAnswer } from "./ask.ts";
import { bounded } from "./bounded.ts";
import { type Line, skipped } from "./line.ts";
import {
  adviceFor,
  judgeAnswer,
  judgeHold,
  judgeRedirect,
  judgeSession,
  judgeStatusPage,
  sessionOf,
} from "./public-words.ts";
import { addressOf, failureInWords, unanswered } from "./words.ts";

export interface PublicAddress {
  /** Where the Worker is asked: the public origin, or what `--url` names. */
  readonly origin: string;
  /** Whether `--url` named it: then it has to be there. */
  readonly isGiven: boolean;
  readonly config: Config;
}

/**
 * Asks the Worker itself.
 *
 * @returns whether it is deployed; without `--url` a name that does not resolve only says that it is not yet.
 */
export async function askPublicAddress(
  { origin, isGiven, config }: PublicAddress,
  say: (line: Line) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const { host } = addressOf(origin);
  if (!isGiven && !(await bounded(signal, () => lookup(host)).catch(() => undefined))) {
    const todo = "npm run deploy creates the name. Just deployed? Then wait some minutes.";
    say(skipped(undefined, `${host} does not resolve yet: not asked`, todo));
    return false;
  }
  const url = origin + config.healthCheckPath;
  const first = await ask({ url, signal });
  if (!isAnswer(first)) {
    // It is no backend, but what can go wrong on the way to it has the same names.
    const { found } = failureInWords(first, { id: host, variable: "PRIMARY_DOMAIN", origin });
    say(unanswered(undefined, first, found, adviceFor(first.code, isGiven)));
    return true;
  }
  const answer = judgeAnswer(first, origin);
  say(answer);
  if (answer.kind === "ok") {
    const session = config.stickySessions
      ? judgeSession(first, config)
      : skipped("session", "STICKY_SESSIONS is false, so there is no session cookie");
    say(session);
    const id = sessionOf(first, config);
    if (session.kind === "ok" && id !== undefined) {
      const cookie = `${config.sessionCookieName}=${id}`;
      say(judgeHold(id, await ask({ url, headers: { Cookie: cookie }, signal }), config));
    }
  }
  if (isGiven) say(skipped("redirect", "plain HTTP is only asked at the public domain"));
  else say(judgeRedirect(await ask({ url: `http://${host}/`, isHeadersOnly: true, signal }), config.publicOrigin));
  if (config.statusPath === "") {
    say(
      skipped(
        "status page",
        "wrangler.toml has no STATUS_PATH (if it is a secret of the Worker, open the page yourself)",
      ),
    );
  } else {
    const page = await ask({ url: `${origin}${config.statusPath}?format=json`, signal });
    say(judgeStatusPage(page, config.backends.length));
  }
  return true;
}
