import type { Config } from "../config.ts";
import type { Invocation } from "../health/monitor.ts";
import { ownAnswer } from "../own-answer.ts";
export function isStatusPath(path: string, { statusPath }: Pick<Config, "statusPath">): boolean {
  if (statusPath === "" || !path.startsWith(statusPath)) return false;
  return path.length === statusPath.length || path[statusPath.length] === "?";
}
export async function answerStatus(_r: Request, _p: string, _i: Invocation): Promise<Response> {
  return ownAnswer(200, "x");
}
