import type { Config } from "../config.ts";
import { compareClients } from "./clients.ts";
import type { DeployedBackend, Deployment } from "./deployment.ts";
import type { Desk } from "./desk.ts";
import { askForHealth } from "./health.ts";
import { ok, skipped, warning, wrong } from "./line.ts";
import { askPublicAddress } from "./public-address.ts";
import { isPrivate, judgeReach } from "./reach.ts";
import { askForStatus, compareStatuses } from "./statuses.ts";
import { addressOf, listed } from "./text.ts";
import { compareUsers } from "./users.ts";

/**
 * Asks all that there is to ask about a deployment. `url` is where the Worker runs, if not at its public domain.
 *
 * @returns whether the Worker is deployed.
 */
export async function examine(deployment: Deployment, url: string | undefined, desk: Desk): Promise<boolean> {
  const { config, backends, isDomainExample } = deployment;
  const { say } = desk;
  // A Worker on this computer reaches what this computer reaches.
  const isLocalWorker = url !== undefined && isPrivate(addressOf(url).host);
  const unreachable = isLocalWorker ? [] : deployment.unreachable;
  const complaints = [...deployment.complaints, ...unreachable];
  for (const { variable, text, todo } of complaints) say(wrong(variable, text, todo));
  for (const { variable, text, todo } of deployment.warnings) say(warning(variable, text, todo));
  if (!config) {
    say(skipped(undefined, "nothing was asked, since wrangler.toml names no usable backend or no public domain"));
    return false;
  }
  if (complaints.length === 0) {
    const names = backends.map(({ id, isBackup }) => (isBackup ? `${id} (backup)` : id));
    say(ok(undefined, `nothing is wrong in wrangler.toml; it names ${listed(names)}`));
  }
  // What was said of an address is not said again.
  const isJudged = ({ variable }: DeployedBackend) =>
    isLocalWorker || unreachable.some((one) => one.variable === variable);
  const there = await askWhetherThere(backends, isJudged, desk);
  const answering = await askWhetherUp(there, config, desk);
  await compare(answering, config, isDomainExample ? undefined : config.publicOrigin, desk);
  if (desk.interrupted.aborted) return false;
  desk.section("public", `Does the Worker answer at ${url ?? "the public address"}?`);
  if (url === undefined && isDomainExample) {
    say(skipped(undefined, "PRIMARY_DOMAIN is still an example: not asked"));
    return false;
  }
  return desk.during("the Worker", () => askPublicAddress(config, url, desk));
}

async function askWhetherThere(
  backends: readonly DeployedBackend[],
  isJudged: (backend: DeployedBackend) => boolean,
  desk: Desk,
) {
  desk.section("reachable", "Is every backend there? (name, connection, certificate)");
  return filtered(backends, desk, async (backend) => {
    const line = judgeReach(backend, await desk.reach(backend, desk.interrupted), Date.now(), isJudged(backend));
    desk.say(line);
    return line.kind !== "skipped" && !line.isBroken;
  });
}

async function askWhetherUp(backends: readonly DeployedBackend[], config: Config, desk: Desk) {
  if (isDone(backends, desk)) return [];
  desk.section("health", "Is it up? (the Worker's own check)");
  return filtered(backends, desk, async (backend) => {
    const { line, isAnswering } = await askForHealth(backend, config, desk);
    desk.say(line);
    return isAnswering;
  });
}

async function compare(
  backends: readonly DeployedBackend[],
  config: Config,
  publicOrigin: string | undefined,
  desk: Desk,
): Promise<void> {
  if (isDone(backends, desk)) return;
  desk.section("version", "Do they run the same AIOStreams?");
  const statuses = await Promise.all(
    backends.map((backend) => desk.during(backend.id, () => askForStatus(backend, config, desk))),
  );
  for (const line of compareStatuses(statuses, publicOrigin)) desk.say(line);
  const alike = statuses.filter((status) => status.kind === "aiostreams");
  const ids = alike.map(({ backend }) => backend);
  if (desk.interrupted.aborted) return;
  desk.section("user", "Do they share one database and one SECRET_KEY? (with a throwaway user)");
  if (alike.length === 0) {
    const found = "no backend answers as AIOStreams, so database and SECRET_KEY were not compared";
    const todo =
      "Start AIOStreams on them or correct their addresses in wrangler.toml, then run this again; if they are to run something else, see to it yourself that they share their data.";
    desk.say(warning(undefined, found, todo));
    return;
  }
  // Of several, the others have their ✗ already.
  if (alike.length === 1) {
    desk.say(skipped(undefined, `only ${ids[0]?.id} can be asked: nothing to compare it with`));
  } else {
    await compareUsers(alike, config, desk);
    if (desk.interrupted.aborted) return;
    desk.say(skipped(undefined, "AIOSTREAMS_AUTH and REDIS_URI do not show from outside: compare them yourself"));
  }
  desk.section("clients", "Do they tell clients apart? (TRUSTED_IPS)");
  const lines = await compareClients(ids, config, desk);
  if (!desk.interrupted.aborted) for (const line of lines) desk.say(line);
}

/** Asks all side by side; resolves to those of which the question says yes, in their order. */
async function filtered(
  backends: readonly DeployedBackend[],
  { during }: Desk,
  question: (backend: DeployedBackend) => Promise<boolean>,
): Promise<DeployedBackend[]> {
  const answers = await Promise.all(backends.map((backend) => during(backend.id, () => question(backend))));
  return backends.filter((_, i) => answers[i]);
}

function isDone(backends: readonly unknown[], { interrupted }: Desk): boolean {
  return backends.length === 0 || interrupted.aborted;
}
