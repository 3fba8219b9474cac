import { livingProcesses } from "../support/processes.ts";
import { until } from "../support/waiting.ts";
import { MANIFEST_PATH, SERVED_BY } from "./backend.ts";
import { Stack } from "./stack.ts";

const PATIENCE_MS = 60_000;

/**
 * The demo without a person: a request succeeds, the backend that answered is killed, the next request of the same
 * session is answered by another one, and no process is left.
 *
 * @throws at the first of these that does not hold.
 */
export async function smoke(port: number, say: (text: string) => void): Promise<void> {
  const stack = new Stack({ port, downTimeMs: 10_000, hasBackup: false });
  let pids: number[] = [];
  try {
    await stack.start();
    pids = stack.pids;
    const first = await ask(stack.url);
    say(`A request was answered by ${first.by}.`);
    await stack.command(first.by, "die");
    say(`${first.by} was killed.`);
    const second = await ask(stack.url, first.cookie);
    if (second.by === first.by) throw new Error(`${first.by} was killed, and still it answers.`);
    say(`The next request of the same session was answered by ${second.by}.`);
  } finally {
    await stack.stop();
  }
  await untilGone(pids);
  say("All processes have ended.");
}

/** Waits until none of these processes, and none of the groups that they lead, is left. */
export async function untilGone(pids: readonly number[]): Promise<void> {
  let left: unknown[] = [];
  const areGone = async () => {
    left = (await livingProcesses()).filter(({ pid, group }) => pids.includes(pid) || pids.includes(group));
    return left.length === 0;
  };
  await until("all processes have ended", areGone, PATIENCE_MS).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(left, null, 2)}`);
  });
}

async function ask(url: string, cookie = ""): Promise<{ by: string; cookie: string }> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(url + MANIFEST_PATH, { headers: { Cookie: cookie }, signal }).catch((error) => {
    throw new Error(`The manifest was not answered: ${error.cause ?? error}`);
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`The manifest was answered with ${response.status}: ${text}`);
  const by = response.headers.get(SERVED_BY);
  if (by === null) throw new Error("No sample backend answered the manifest.");
  return { by, cookie: response.headers.get("Set-Cookie")?.split(";")[0] ?? cookie };
}
