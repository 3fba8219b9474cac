import type { DeployedBackend } from "./deployment.ts";
import { type Line, ok, skipped, wrong } from "./line.ts";
import type { Aiostreams, Status } from "./status.ts";
import { listed, quoted } from "./words.ts";

/** Compares what the backends say of themselves. Without `publicOrigin` their BASE_URL is not judged. */
export function compareStatuses(statuses: readonly Status[], publicOrigin: string | undefined): Line[] {
  const alike = statuses.filter((status) => status.kind === "aiostreams");
  const lines: Line[] = statuses.flatMap((status) => (status.kind === "unknown" ? [status.line] : []));
  for (const { backend, found } of statuses.filter((status) => status.kind === "other")) {
    const { id, variable } = backend;
    // Another application behind the Worker is nobody's fault; one stranger among AIOStreams backends is.
    if (alike.length === 0) lines.push(skipped(id, `not AIOStreams (${found}): not compared`));
    else
      lines.push(
        wrong(id, `is not AIOStreams: ${found}`, `Start AIOStreams on ${id}, or correct ${variable} in wrangler.toml.`),
      );
  }
  if (alike.length === 0) return lines;
  lines.push(compareVersions(alike));
  if (publicOrigin !== undefined) lines.push(...judgeBaseUrls(alike, publicOrigin));
  lines.push(...compareProtection(alike));
  return lines;
}

function compareVersions(statuses: readonly Aiostreams[]): Line {
  const todo =
    "Run the same AIOStreams image on all of them: an older one may not start on the database of a newer one.";
  const versions = grouped(statuses, ({ version }) => version);
  if (versions.size > 1) return wrong(undefined, `different versions: ${whoHasWhat(versions)}`, todo);
  const version = plain(statuses[0]?.version ?? "");
  const commits = grouped(statuses, ({ commit }) => commit ?? "");
  if (commits.size > 1) {
    return wrong(
      undefined,
      `version ${version} everywhere, but different builds of it: ${whoHasWhat(commits, "commit ")}`,
      todo,
    );
  }
  const commit = statuses[0]?.commit;
  return ok(undefined, `AIOStreams ${version}${commit ? ` (commit ${plain(commit)})` : ""} on ${idsOf(statuses)}`);
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
          : `its BASE_URL is ${originOnly(baseUrl)}, which is not the Worker's address`;
      return wrong(
        id,
        found,
        `Set BASE_URL=${publicOrigin} on ${id}, and start it again: else its players go past the Worker.`,
      );
    });
  const right = statuses.filter(isRight);
  return right.length > 0 ? [ok(undefined, `BASE_URL is ${publicOrigin} on ${idsOf(right)}`), ...lines] : lines;
}

function compareProtection(statuses: readonly Aiostreams[]): Line[] {
  const asking = statuses.filter(({ isProtected }) => isProtected === true);
  const open = statuses.filter(({ isProtected }) => isProtected === false);
  if (asking.length === 0 || open.length === 0) return [];
  const does = (count: number, one: string, many: string) => (count === 1 ? one : many);
  const found = `${idsOf(asking)} ${does(asking.length, "asks", "ask")} for an add-on password before a configuration is saved, ${idsOf(open)} ${does(open.length, "does", "do")} not`;
  return [
    wrong(
      undefined,
      found,
      "Set the same ADDON_PASSWORD (newer versions: CONFIG_ACCESS_KEY) on all of them, or on none.",
    ),
  ];
}

function grouped(statuses: readonly Aiostreams[], by: (status: Aiostreams) => string): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const status of statuses) groups.set(by(status), [...(groups.get(by(status)) ?? []), status.backend.id]);
  return groups;
}

function whoHasWhat(groups: ReadonlyMap<string, readonly string[]>, prefix = ""): string {
  return [...groups]
    .map(([value, ids]) => `${value ? prefix + plain(value) : `no ${prefix.trim()}`} on ${listed(ids)}`)
    .join("; ");
}

function idsOf(statuses: readonly { backend: DeployedBackend }[]): string {
  return listed(statuses.map(({ backend }) => backend.id));
}

/** A version or commit as it is, and anything else in quotes. */
function plain(text: string): string {
  return /^[\w.+-]{1,64}$/.test(text) ? text : quoted(text);
}

/** An address without what may be a secret in it. */
function originOnly(url: string): string {
  const parsed = URL.parse(url);
  if (!parsed) return "no URL";
  return quoted(parsed.origin) + (parsed.pathname === "/" ? "" : " with a path behind it");
}
