import { setTimeout as sleep } from "node:timers/promises";
import { type Backend, type Behaviour, OUTAGES } from "../support/backend.ts";
import { addresses, boundTo, LoadBalancer } from "../support/load-balancer.ts";
import { start } from "../support/processes.ts";
import type { Answer, Worker } from "../support/worker.ts";
import { DECEPTIONS, type Fault } from "./faults.ts";
import { botWall, carryOut, HEALTH_BAD, type Order } from "./orders.ts";
import { conclude, type Options, watchPauses } from "./report.ts";

/** Half a minute of production takes two seconds here. */
const INTERVAL_MS = 2_000;
const VARS = { HEALTH_CHECK_INTERVAL: INTERVAL_MS, BACKEND_DOWN_TIME: INTERVAL_MS };
/** The first check after the outage: an interval, a tenth of it, two asks, and a busy machine. */
const FIRST_CHECK_MS = INTERVAL_MS * 1.1 + 1_000;
/** A family's visits in an evening, and the time between two of them: in production ten minutes. */
const VISITS = 3;
const VISIT_EVERY_MS = FIRST_CHECK_MS + 200;
/** An evening without a break: each viewer asks once in so many ms, and goes on for so long after the outage has begun. */
const ASK_EVERY_MS = 150;
const EVENING_MS = FIRST_CHECK_MS + 2_000;
/** A good check vouches for a second for what it has not seen. Of outages in production few begin in that second. */
const QUIET_MS = 1_200;
/** What takes longer than this has waited for a silent backend: one that freezes costs two seconds. */
const WAIT_MS = 1_800;
/** How many outages are tried at a time: they wait most of the time. */
const AT_A_TIME = 2;

/** What a player asks for at once when it opens, and what a browser and a film are. */
const PATHS = ["manifest.json", "catalog/movie/top.json", "stream/movie/tt0111161.json", "configure", "proxy/film"];

interface Outage {
  readonly name: string;
  /** Whether users notice nothing, so that all of them have to stay, those of this backend too. */
  readonly isHarmless?: true;
  /** Whether it is found of one backend after the other, so that users go where a check is still good until the last is bad. */
  readonly isGradual?: true;
  /** Whether a request may be answered wrongly before the first check. */
  readonly deceives?: Fault["deceives"];
  begin(backend: Backend, all: readonly Backend[]): void;
}

const told = (name: string, order: Order, more?: Partial<Outage>): Outage => {
  return { name, begin: (backend) => carryOut(backend, order), ...more };
};

const everyHealthRoute = (name: string, health: Behaviour): Outage => {
  const begin = (_: Backend, all: readonly Backend[]) => {
    for (const backend of all) backend.mode = { kind: "well", health };
  };
  return { name: `every health route ${name}`, isHarmless: true, isGradual: true, begin };
};

const ALL: readonly Outage[] = [
  ...OUTAGES.map((answer) => told(`platform: ${answer}`, { kind: "outage", answer }, { deceives: DECEPTIONS[answer] })),
  told("platform: 404, 400 ms away", { kind: "far" }),
  told("404 until it is asked", { kind: "waking" }),
  {
    name: "bot wall (cf-mitigated)",
    begin: (backend) => {
      backend.handler = botWall;
    },
  },
  told("silent", { kind: "hang" }),
  told("health route alternates", { kind: "alternating" }, { isHarmless: true }),
  everyHealthRoute("bad", HEALTH_BAD),
  everyHealthRoute("silent", { kind: "hang" }),
];

/** Tries every outage. Resolves to whether none of them reached a viewer. */
export async function outages(options: Options): Promise<boolean> {
  console.log(
    "Three viewers of three backends, one of which is out. Failed requests, of all; (n) more before the first check.",
  );
  console.log(line("", ["visits, cold", "visits, warm", "evening, cold", "evening, warm", "moved", "longest wait"]));
  const complaints: string[] = [];
  const tellPauses = watchPauses();
  for (let i = 0; i < ALL.length; i += AT_A_TIME) {
    const lines = await Promise.all(ALL.slice(i, i + AT_A_TIME).map((outage) => tryOut(outage, options, complaints)));
    for (const text of lines) console.log(text);
  }
  tellPauses();
  return conclude(complaints, "no outage reached a viewer");
}

async function tryOut(outage: Outage, options: Options, complaints: string[]): Promise<string> {
  const families = await Promise.all(
    [visits, evening].flatMap((come) =>
      [true, false].map(async (isCold) => {
        const name = `${come.name}, ${isCold ? "cold" : "warm"}`;
        const family = await Family.start(outage, options, name, come === evening);
        await come(family, isCold);
        await family.lb.stop();
        return family;
      }),
    ),
  );
  for (const family of families)
    complaints.push(...family.complaints.map((complaint) => `${outage.name}: ${complaint}`));
  const moved = families.reduce((sum, { moved }) => sum + moved, 0);
  const longestMs = Math.max(...families.map(({ longestMs }) => longestMs));
  const cells = families.map(({ failed, asked, deceived }) => {
    return `${failed} of ${asked}${deceived > 0 ? ` (${deceived})` : ""}`;
  });
  return line(outage.name, [...cells, String(moved), `${(longestMs / 1_000).toFixed(1)} s`]);
}

function line(name: string, cells: readonly string[]): string {
  return `${name.padEnd(28)}${cells.map((cell) => cell.padStart(16)).join("")}`;
}

/** A family of players, which keep no cookies, that comes now and then; cold: each time to a new isolate. */
async function visits(family: Family, isCold: boolean): Promise<void> {
  await family.breakOne(isCold);
  for (let visit = 0; visit < VISITS; visit++) {
    if (visit > 0) await sleep(VISIT_EVERY_MS);
    if (visit > 0 && isCold) await family.meetNewIsolate();
    await Promise.all(family.viewers.flatMap((viewer) => PATHS.map((path) => family.ask(viewer, path))));
  }
}

/** A family of browsers that asks all evening; cold: as the outage begins, a new isolate takes over. */
async function evening(family: Family, isCold: boolean): Promise<void> {
  const asked: Promise<void>[] = [];
  const broken = family.breakOne(isCold);
  for (let i = 0; performance.now() < family.brokenMs + EVENING_MS; i++) {
    asked.push(...family.viewers.map((viewer) => family.ask(viewer, PATHS[i % PATHS.length] ?? "")));
    await sleep(ASK_EVERY_MS);
  }
  await broken;
  await Promise.all(asked);
}

interface Viewer {
  readonly ip: string;
  readonly home: string;
  session?: string;
}

/** Three viewers, each at home on a backend of its own, and what happens to them. */
class Family {
  readonly lb: LoadBalancer;
  readonly viewers: readonly Viewer[];
  readonly complaints: string[] = [];
  asked = 0;
  failed = 0;
  deceived = 0;
  moved = 0;
  longestMs = 0;
  /** When the outage began; infinite until then. */
  brokenMs = Number.POSITIVE_INFINITY;
  readonly #outage: Outage;
  readonly #name: string;
  readonly #keepsCookies: boolean;
  #isolate: Worker;
  #isolateMs = 0;

  private constructor(outage: Outage, lb: LoadBalancer, name: string, keepsCookies: boolean, viewers: Viewer[]) {
    this.#outage = outage;
    this.lb = lb;
    this.#name = name;
    this.#keepsCookies = keepsCookies;
    this.#isolate = lb.worker;
    this.viewers = viewers;
  }

  static async start(outage: Outage, { script }: Options, name: string, keepsCookies: boolean): Promise<Family> {
    const lb = await start(() => new LoadBalancer(script, VARS, { hasCache: true }).start());
    const homes = [...(await lb.homes(addresses(30)))].map(([ip, home]): Viewer => ({ ip, home }));
    const viewers = lb.backends.map(({ id }) => homes.find(({ home }) => home === id) as Viewer);
    return new Family(outage, lb, name, keepsCookies, viewers);
  }

  /** Begins the outage, at a moment at which no check can vouch for it, and, cold, together with a new isolate. */
  async breakOne(isCold: boolean): Promise<void> {
    const { cf, backends } = this.lb;
    const isolate = isCold ? await this.lb.isolate() : this.#isolate;
    for (let checks = -1; checks !== cf.checks; await sleep(QUIET_MS)) checks = cf.checks;
    this.#isolate = isolate;
    this.#isolateMs = this.brokenMs = performance.now();
    this.#outage.begin(cf, backends);
  }

  async meetNewIsolate(): Promise<void> {
    this.#isolate = await this.lb.isolate();
    this.#isolateMs = performance.now();
  }

  async ask(viewer: Viewer, path: string): Promise<void> {
    const { ip, home, session } = viewer;
    const startMs = performance.now();
    this.asked++;
    const answer = await this.#isolate
      .fetch(`/stremio/${path}`, session === undefined ? { ip } : boundTo(session, { ip }))
      .catch((error) => ({ status: 0, headers: {} as Answer["headers"], text: String(error), session: undefined }));
    const tookMs = performance.now() - startMs;
    this.longestMs = Math.max(this.longestMs, tookMs);
    const isFresh = startMs < this.brokenMs + FIRST_CHECK_MS;
    const by = answer.headers["x-served-by-backend"];
    const what = `${this.#name}: ${path} at ${home}, ${(startMs - this.brokenMs).toFixed(0)} ms into the outage`;
    if (answer.status !== 200 || by === undefined) {
      if (isFresh && this.#outage.deceives?.("GET", path)) return void this.deceived++;
      this.failed++;
      return void this.complaints.push(`${what}: ${answer.status} ${answer.text.slice(0, 80)}`);
    }
    if (this.#keepsCookies && answer.session !== undefined) viewer.session = answer.session;
    const own = session ?? home;
    const isBroken = own === this.lb.cf.id && !this.#outage.isHarmless && startMs + tookMs > this.brokenMs;
    const mayMove = isBroken || (isFresh && this.#outage.isGradual);
    if (!mayMove && (by !== own || (session !== undefined && answer.session !== undefined))) {
      this.moved++;
      this.complaints.push(`${what}: moved to ${by}`);
    }
    // Where no check is good, each new isolate has to find out once that users are served all the same.
    const mayWait = isFresh || (this.#outage.isHarmless && startMs < this.#isolateMs + WAIT_MS);
    if (tookMs > WAIT_MS && !mayWait) this.complaints.push(`${what}: waited ${tookMs.toFixed(0)} ms`);
  }
}
