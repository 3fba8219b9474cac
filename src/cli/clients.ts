import { randomInt } from "node:crypto";
import { isAnswer, questionTo, type Reply } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import type { Desk } from "./desk.ts";
import { type Line, ok, skipped, warning } from "./line.ts";
import { listed } from "./text.ts";

/** A route that AIOStreams counts by client, and that needs no user. */
const PATH = "/stremio/manifest.json";

/** Whether the backends count clients by the X-Forwarded-For that the Worker sends. */
export async function compareClients(
  backends: readonly DeployedBackend[],
  config: { readonly primaryDomain: string },
  desk: Desk,
): Promise<Line[]> {
  const { interrupted: signal } = desk;
  const beliefs = await Promise.all(
    backends.map((backend) =>
      desk.during(backend.id, async () => {
        const askAs = (client: string) =>
          desk.ask(
            questionTo(backend, PATH, config, { headers: { "X-Forwarded-For": client }, enoughBytes: 0, signal }),
          );
        const first = await askAs(newClient());
        return believesForwardedFor(first, await askAs(newClient()));
      }),
    ),
  );
  return judgeBeliefs(
    backends.map(({ id }) => id),
    beliefs,
  );
}

/** One that no other question has used: backends on one Redis count together. The addresses are for tests (RFC 2544). */
function newClient(): string {
  return `198.18.${randomInt(256)}.${randomInt(1, 255)}`;
}

/** Whether two clients that have asked once each are counted apart; `undefined` where the answers do not tell. */
export function believesForwardedFor(first: Reply, second: Reply): boolean | undefined {
  if (!isAnswer(first) || !isAnswer(second)) return undefined;
  // Neither has asked before, so a refusal is for what others have asked.
  if (first.status === 429 || second.status === 429) return false;
  const [left, leftNext] = [first, second].map(({ headers }) =>
    Number.parseInt(headers.get("RateLimit-Remaining") ?? "", 10),
  );
  if (left === undefined || leftNext === undefined || Number.isNaN(left + leftNext)) return undefined;
  return leftNext >= left;
}

export function judgeBeliefs(ids: readonly string[], beliefs: readonly (boolean | undefined)[]): Line[] {
  const believing = ids.filter((_, i) => beliefs[i] === true);
  const lines =
    believing.length > 0 ? [ok(undefined, `clients are told apart by X-Forwarded-For on ${listed(believing)}`)] : [];
  for (const id of ids.filter((_, i) => beliefs[i] === false)) {
    const found =
      "counts all clients as one for its rate limits: it does not believe the X-Forwarded-For of this computer, and perhaps not the Worker's either (which comes from another address)";
    const todo = `Leave TRUSTED_IPS on ${id} unset, as a rule. AIOStreams sees an IPv4 neighbour as ::ffff:a.b.c.d, so a range such as 10.0.0.0/8 never matches. A proxy in front of it has to pass X-Forwarded-For on (Caddy: trusted_proxies). Where only Cloudflare's addresses are meant to be trusted, all is well.`;
    lines.push(warning(id, found, todo));
  }
  if (lines.length > 0) return lines;
  return [skipped(undefined, `could not be asked: the answers of ${listed(ids)} do not tell (RateLimit-Remaining)`)];
}
