import type { Config } from "../config.ts";
import { isAnswer } from "./ask.ts";
import type { Desk } from "./desk.ts";
import { skipped } from "./line.ts";
import {
  adviceFor,
  judgeAnswer,
  judgeHold,
  judgeRedirect,
  judgeSession,
  judgeStatusPage,
  sessionOf,
} from "./public-text.ts";
import { addressOf, failureText, unanswered } from "./text.ts";

/**
 * Asks the Worker itself, at the public domain or at `url`, where it then has to be.
 *
 * @returns whether it is deployed; without `url` a name that does not resolve only says that it is not yet.
 */
export async function askPublicAddress(config: Config, url: string | undefined, desk: Desk): Promise<boolean> {
  const { ask, say, interrupted: signal } = desk;
  const isGiven = url !== undefined;
  const origin = url ?? config.publicOrigin;
  const { host } = addressOf(origin);
  if (!isGiven && !(await desk.resolves(host, signal))) {
    const todo = "npm run deploy creates the name. Just deployed? Then wait some minutes.";
    say(skipped(undefined, `${host} does not resolve yet: not asked`, todo));
    return false;
  }
  const health = origin + config.healthCheckPath;
  const first = await ask({ url: health, signal });
  if (!isAnswer(first)) {
    // It is no backend, but what can go wrong on the way to it has the same names.
    const { found } = failureText(first, { id: host, variable: "PRIMARY_DOMAIN", origin });
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
      say(judgeHold(id, await ask({ url: health, headers: { Cookie: cookie }, signal }), config));
    }
  }
  if (isGiven) say(skipped("redirect", "plain HTTP is only asked at the public domain"));
  else say(judgeRedirect(await ask({ url: `http://${host}/`, enoughBytes: 0, signal }), config.publicOrigin));
  if (config.statusPath === "") {
    const found = "wrangler.toml has no STATUS_PATH (if it is a secret of the Worker, open the page yourself)";
    say(skipped("status page", found));
  } else {
    const page = await ask({ url: `${origin}${config.statusPath}?format=json`, signal });
    say(judgeStatusPage(page, config.backends.length));
  }
  return true;
}
