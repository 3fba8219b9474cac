import { type Answer, ask, isAnswer, objectOf, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import { type Line, wrong } from "./line.ts";
import { failureInWords, unanswered } from "./words.ts";

const PATH = "/api/v1/status";

/** What a backend says of itself; a field that its version does not have is `undefined`. */
export interface Aiostreams {
  readonly kind: "aiostreams";
  readonly backend: DeployedBackend;
  readonly version: string;
  readonly commit: string | undefined;
  readonly baseUrl: string | undefined;
  readonly isProtected: boolean | undefined;
}

/** It answers, but not as AIOStreams does. */
interface Other {
  readonly kind: "other";
  readonly backend: DeployedBackend;
  readonly found: string;
}

interface Unknown {
  readonly kind: "unknown";
  readonly backend: DeployedBackend;
  readonly line: Line;
}

export type Status = Aiostreams | Other | Unknown;

export async function askForStatus(backend: DeployedBackend, signal: AbortSignal): Promise<Status> {
  return statusOf(backend, await ask({ url: backend.origin + PATH, headers: { Accept: "application/json" }, signal }));
}

export function statusOf(backend: DeployedBackend, reply: Reply): Status {
  if (!isAnswer(reply)) {
    const { found, todo } = failureInWords(reply, backend);
    return { kind: "unknown", backend, line: unanswered(backend.id, reply, `${PATH}: ${found}`, todo) };
  }
  const data = objectOf(reply.json.data);
  const settings = objectOf(data.settings);
  const version = textOf(data.version);
  if (reply.status === 200 && version !== undefined) {
    const isProtected = typeof settings.protected === "boolean" ? settings.protected : undefined;
    const [commit, baseUrl] = [textOf(data.commit), textOf(settings.baseUrl)];
    return {
      kind: "aiostreams",
      backend,
      version,
      commit: commit === "unknown" ? undefined : commit,
      baseUrl,
      isProtected,
    };
  }
  if (reply.status >= 500) {
    const line = wrong(backend.id, `${PATH} answers ${reply.status}`, `Look into the log of ${backend.id}.`);
    return { kind: "unknown", backend, line };
  }
  return { kind: "other", backend, found: `${PATH} answers ${reply.status} ${typeOf(reply)}` };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function typeOf({ text, json }: Answer): string {
  if (/^\s*</.test(text)) return "with HTML";
  return Object.keys(json).length > 0 ? "with other JSON" : "without JSON";
}
