import { type Answer, isAnswer, objectOf, questionTo, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Desk } from "./desk.ts";
import { broken, type Line, ok, skipped, wrong } from "./line.ts";
import { failureText, listed, quoted, unanswered } from "./text.ts";

const PATH = "/api/v1/status";

/** What a backend says of itself; a field that its version does not have is `undefined`. */
export interface Aiostreams {
  readonly kind: "aiostreams";
  readonly backend: DeployedBackend;
  readonly version: string;
  readonly commit: string | undefined;
  readonly baseUrl: string | undefined;
  /** Whether a configuration is only saved with the add-on password. */
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

export async function askForStatus(
  backend: DeployedBackend,
  config: { readonly primaryDomain: string },
  { ask, interrupted: signal }: Desk,
): Promise<Status> {
  return statusOf(
    backend,
    await ask(questionTo(backend, PATH, config, { headers: { Accept: "application/json" }, signal })),
  );
}

export function statusOf(backend: DeployedBackend, reply: Reply): Status {
  const { id } = backend;
  if (!isAnswer(reply)) {
    const { found, todo } = failureText(reply, backend);
    return { kind: "unknown", backend, line: unanswered(id, reply, `${PATH}: ${found}`, todo) };
  }
  const data = objectOf(reply.json.data);
  const settings = objectOf(data.settings);
  const version = textOf(data.version);
  if (reply.status === 200 && version !== undefined) {
    const isProtected = typeof settings.protected === "boolean" ? settings.protected : undefined;
    const commit = data.commit === "unknown" ? undefined : textOf(data.commit);
    return { kind: "aiostreams", backend, version, commit, baseUrl: textOf(settings.baseUrl), isProtected };
  }
  if (reply.status >= 500) {
    const line = broken(id, `${PATH} answers ${reply.status}`, `Look into the log of ${id}.`);
    return { kind: "unknown", backend, line };
  }
  return { kind: "other", backend, found: `${PATH} answers ${reply.status} ${typeOf(reply)}` };
}

/** Compares what the backends say of themselves. Without `publicOrigin` their BASE_URL is not judged. */
export function compareStatuses(statuses: readonly Status[], publicOrigin: string | undefined): Line[] {
  const alike = statuses.filter((status) => status.kind === "aiostreams");
  const lines: Line[] = statuses.flatMap((status) => (status.kind === "unknown" ? [status.line] : []));
  for (const { backend, found } of statuses.filter((status) => status.kind === "other")) {
    const { id, variable } = backend;
    // To balance another application is no fault; one stranger among AIOStreams backends is.
    if (alike.length === 0) lines.push(skipped(id, `not AIOStreams (${found}): not compared`));
    else {
      const todo = `Start AIOStreams on ${id}, or correct ${variable} in wrangler.toml.`;
      lines.push(broken(id, `is not AIOStreams: ${found}`, todo));
    }
  }
  if (alike.length === 0) return lines;
  lines.push(compareVersions(alike));
  if (publicOrigin !== undefined) lines.push(...judgeBaseUrls(alike, publicOrigin));
  return isProtectionAlike(alike) ? lines : [...lines, protectionLine(alike)];
}

/** Whether all of them want the add-on password, or none does. */
export function isProtectionAlike(statuses: readonly Aiostreams[]): boolean {
  const answers = statuses.map((status) => status.isProtected);
  return !(answers.includes(true) && answers.includes(false));
}

/** The variable that holds the add-on password: before 2.30 there was another one. */
export function passwordVariable(statuses: readonly Aiostreams[]): "CONFIG_ACCESS_KEY" | "ADDON_PASSWORD" {
  const isOld = ({ version }: Aiostreams) => {
    const [, major = 0, minor = 0] = /^v?(\d+)\.(\d+)\./.exec(version)?.map(Number) ?? [];
    return major < 2 || (major === 2 && minor < 30);
  };
  return statuses.every(isOld) ? "ADDON_PASSWORD" : "CONFIG_ACCESS_KEY";
}

function protectionLine(statuses: readonly Aiostreams[]): Line {
  const asking = statuses.filter(({ isProtected }) => isProtected === true);
  const open = statuses.filter(({ isProtected }) => isProtected === false);
  const found = `${idsOf(asking)} ${asking.length === 1 ? "asks" : "ask"} for an add-on password before a configuration is saved, ${idsOf(open)} ${open.length === 1 ? "does" : "do"} not`;
  const todo =
    passwordVariable(statuses) === "ADDON_PASSWORD"
      ? "Set the same ADDON_PASSWORD on all of them, or on none."
      : "Set the same AIOSTREAMS_AUTH_REQUIRED on all of them, and where it is true the same CONFIG_ACCESS_KEY. (A change of ADDON_PASSWORD does nothing since 2.30.)";
  return wrong(undefined, found, todo);
}

function compareVersions(statuses: readonly Aiostreams[]): Line {
  const todo =
    "Run the same AIOStreams image on all of them: an older one may not start on the database of a newer one.";
  const versions = Map.groupBy(statuses, ({ version }) => version);
  if (versions.size > 1) return wrong(undefined, `different versions: ${groupsText(versions)}`, todo);
  const version = word(statuses[0]?.version ?? "");
  const commits = Map.groupBy(statuses, ({ commit }) => commit ?? "");
  if (commits.size > 1) {
    const found = `version ${version} everywhere, but different builds of it: ${groupsText(commits, "commit ")}`;
    return wrong(undefined, found, todo);
  }
  const commit = statuses[0]?.commit;
  return ok(undefined, `AIOStreams ${version}${commit ? ` (commit ${word(commit)})` : ""} on ${idsOf(statuses)}`);
}

function judgeBaseUrls(statuses: readonly Aiostreams[], publicOrigin: string): Line[] {
  const isRight = ({ baseUrl = "" }: Aiostreams) =>
    /^https:\/\/[^/?#@]+\/?$/i.test(baseUrl) && URL.parse(baseUrl)?.origin === publicOrigin;
  const lines = statuses
    .filter((status) => !isRight(status))
    .map(({ backend: { id }, baseUrl }) => {
      const found =
        baseUrl === undefined
          ? "has no BASE_URL"
          : `its BASE_URL is ${originText(baseUrl)}, which is not the Worker's address`;
      const todo = `Set BASE_URL=${publicOrigin} on ${id}, and start it again: else its players go past the Worker.`;
      return wrong(id, found, todo);
    });
  const right = statuses.filter(isRight);
  return right.length > 0 ? [ok(undefined, `BASE_URL is ${publicOrigin} on ${idsOf(right)}`), ...lines] : lines;
}

function groupsText(groups: ReadonlyMap<string, readonly Aiostreams[]>, prefix = ""): string {
  return [...groups]
    .map(([value, ids]) => `${value ? prefix + word(value) : `no ${prefix.trim()}`} on ${idsOf(ids)}`)
    .join("; ");
}

function idsOf(statuses: readonly Aiostreams[]): string {
  return listed(statuses.map(({ backend }) => backend.id));
}

/** A version or commit as it is, and anything else in quotes. */
function word(text: string): string {
  return /^[\w.+-]{1,64}$/.test(text) ? text : quoted(text);
}

/** An address without what may be a secret in it. */
function originText(url: string): string {
  const parsed = URL.parse(url);
  if (!parsed) return "no URL";
  return quoted(parsed.origin) + (parsed.pathname === "/" ? "" : " with a path behind it");
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function typeOf({ text, json }: Answer): string {
  if (/^\s*</.test(text)) return "with HTML";
  return Object.keys(json).length > 0 ? "with other JSON" : "without JSON";
}
