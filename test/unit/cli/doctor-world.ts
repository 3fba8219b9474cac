import { PassThrough } from "node:stream";
import type { Answer, Question, Reply } from "../../../src/cli/ask.ts";
import type { DeployedBackend, Deployment } from "../../../src/cli/deployment.ts";
import type { Desk, Leftover } from "../../../src/cli/desk.ts";
import { examine } from "../../../src/cli/examination.ts";
import { judgeDeployment } from "../../../src/cli/judgement.ts";
import type { Line } from "../../../src/cli/line.ts";
import type { Reach } from "../../../src/cli/reach.ts";
import { Report } from "../../../src/cli/report.ts";
import { type Database, SampleAiostreams, type Settings } from "../../support/aiostreams.ts";

export const DOMAIN = "aiostreams.films.test";
export const USER = "/api/v1/user";
export const IDS = ["cf", "duck", "koyeb"] as const;
export type Id = (typeof IDS)[number];

/** A canned answer; an object is its JSON. */
export function answerOf(
  status: number,
  body: unknown = "",
  headers: Record<string, string> = {},
  tookMs = 20,
): Answer {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { status, headers: new Headers(headers), text, json: /^{.*}$/s.test(text) ? JSON.parse(text) : {}, tookMs };
}

export function backend(fields: Partial<DeployedBackend> = {}): DeployedBackend {
  const { id = "koyeb" } = fields;
  const own = { id, origin: `https://${id}.films.test`, variable: `BACKEND_${id.toUpperCase()}` };
  return { ...own, weight: 1, isBackup: false, headers: [], seed: 0, ...fields };
}

/** Three backends that agree and a Worker that is not deployed, without any network: what is asked is answered at once. */
export class World {
  readonly database: Database = new Map();
  readonly backends: Record<Id, SampleAiostreams>;
  readonly vars: Record<string, unknown> = { PRIMARY_DOMAIN: DOMAIN };
  /** How far a connection comes, by the id of a backend. */
  readonly reaches: Record<string, Reach> = {};
  /** What stands at the public domain, if anything. */
  publicDomain: ((question: Question) => Reply) | undefined;
  addonPassword: string | undefined;
  readonly interruption = new AbortController();
  readonly left: Leftover[] = [];
  /** Every question so far, and every wait for a rate limit in ms. */
  readonly asked: Question[] = [];
  readonly waitsMs: number[] = [];

  constructor(arrange?: (world: World) => unknown) {
    const clients = new Map();
    const sample = () => new SampleAiostreams(this.database, { baseUrl: `https://${DOMAIN}`, clients });
    this.backends = { cf: sample(), duck: sample(), koyeb: sample() };
    for (const id of IDS) this.vars[`BACKEND_${id.toUpperCase()}`] = `${id}.films.test`;
    arrange?.(this);
  }

  set(id: Id, settings: Partial<Settings>): void {
    Object.assign(this.backends[id].settings, settings);
  }

  /** Examines the deployment; resolves to the lines of the report. */
  async examine(parts: Partial<Deployment> = {}, url?: string): Promise<(Line & { section: string })[]> {
    let output = "";
    const stream = new PassThrough().on("data", (chunk) => {
      output += chunk;
    });
    const report = new Report(stream, { isJson: true });
    const routes = [{ pattern: DOMAIN, custom_domain: true }];
    const deployment = judgeDeployment({ vars: this.vars, routes });
    await examine({ ...deployment, warnings: [], ...parts }, url, this.#desk(report));
    report.end({ isInterrupted: false, left: this.left, next: "" });
    return JSON.parse(output).lines;
  }

  /** How many users there are in all databases. */
  get usersLeft(): number {
    const databases = new Set(IDS.map((id) => this.backends[id].settings.database));
    return [...databases].reduce((sum, { size }) => sum + size, 0);
  }

  #desk(report: Report): Desk {
    return {
      ask: async (question) => this.#answer(question),
      reach: async ({ id }) => this.reaches[id] ?? { address: "203.0.113.7", validToMs: Date.now() + 90 * 86_400_000 },
      resolves: async () => this.publicDomain !== undefined,
      sleep: async (ms, signal) => {
        signal?.throwIfAborted();
        this.waitsMs.push(ms);
      },
      section: (id, heading) => report.section(id, heading),
      say: (line) => report.add(line),
      during: (_, task) => task(() => {}),
      interrupted: this.interruption.signal,
      addonPassword: this.addonPassword,
      left: this.left,
    };
  }

  #answer(question: Question): Reply {
    this.asked.push(question);
    const { url, method = "GET", headers, body = "", enoughBytes, signal } = question;
    if (signal?.aborted) return { code: "INTERRUPTED" };
    const { hostname, pathname, search } = new URL(url);
    const id = IDS.find((one) => hostname === `${one}.films.test`);
    if (id === undefined) return this.publicDomain?.(question) ?? { code: "ENOTFOUND" };
    const answer = this.backends[id].answer({ method, path: pathname + search, headers: new Headers(headers), body });
    if (answer === "nothing") return { code: "ECONNRESET" };
    const text = typeof answer.body === "object" ? JSON.stringify(answer.body) : String(answer.body ?? "");
    return answerOf(answer.status, text.slice(0, enoughBytes), answer.headers, answer.tookMs);
  }
}

/** What is wrong or needs a look, each as "✗ about: found". */
export function faultsIn(lines: readonly Line[]): string[] {
  const signs: Partial<Record<Line["kind"], string>> = { wrong: "✗", warning: "!" };
  return lines.flatMap(({ kind, about, found }) => (signs[kind] ? `${signs[kind]} ${about ?? "all"}: ${found}` : []));
}
