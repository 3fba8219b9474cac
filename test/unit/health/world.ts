import { vi } from "vitest";
import { healthOf, newHealth, stateOf } from "../../../src/health/health-state.ts";
import { requestCheck, startDueChecks } from "../../../src/health/monitor.ts";
import { formatEntry } from "../../../src/health/shared.ts";
import { Subrequests } from "../../../src/health/subrequests.ts";
import { backendOf, configWith, invocationOf } from "../sample.ts";
import { backendAfter } from "./given.ts";

export const START_MS = 1_790_000_000_000;

type Route = (signal: AbortSignal | null | undefined) => Promise<Response>;

export const bad: Route = async () => new Response("stopped", { status: 503 });
export const broken: Route = () => Promise.reject(new Error("refused"));
/** Answers nothing, and ends when the check is aborted. */
export const hangs: Route = (signal) =>
  new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
/** Nothing ever comes of it, as in an invocation that was cancelled. */
export const lost = () => new Promise<never>(() => {});

const good: Route = async () => new Response('"success":true');
const ROUTES: Readonly<Record<string, Route>> = { bad, broken, hangs, lost };

/** Nothing is checked but on request. */
export const onRequest = configWith({ HEALTH_CHECK_INTERVAL: 0 });
export const alone = configWith({ HEALTH_CHECK_INTERVAL: 0, SHARE_HEALTH: false });

/** One isolate, and what surrounds it: a clock, the backends' health routes, the data centre's cache, and the log. */
export class World {
  health = newHealth(START_MS, 0);
  /** By id; one that is absent is well. */
  routes: Record<string, Route> = {};
  /** Which backend was asked, and when, in ms since the start. */
  readonly asks: { id: string; atMs: number }[] = [];
  readonly log: Record<string, unknown>[] = [];
  entry: string | undefined;
  reads = 0;
  writes = 0;
  match = async (): Promise<Response | undefined> => (this.entry === undefined ? undefined : new Response(this.entry));
  put = async (text: string): Promise<void> => {
    this.entry = text;
  };

  constructor() {
    vi.useFakeTimers({ now: START_MS });
    vi.stubGlobal("fetch", (url: string, { signal }: RequestInit) => {
      const id = new URL(url).hostname.split(".")[0] ?? "";
      this.asks.push({ id, atMs: this.nowMs });
      return (this.routes[id] ?? good)(signal);
    });
    const match = () => {
      this.reads++;
      return this.match();
    };
    const put = async (_: string, response: Response) => {
      this.writes++;
      await this.put(await response.text());
    };
    vi.stubGlobal("caches", { open: async () => ({ match, put }) });
    const note = (line: string) => void this.log.push(JSON.parse(line));
    vi.spyOn(console, "log").mockImplementation(note);
    vi.spyOn(console, "error").mockImplementation(note);
  }

  get nowMs(): number {
    return Date.now() - START_MS;
  }

  known(id: string) {
    return healthOf(this.health, id);
  }

  states(...ids: string[]) {
    return ids.map((id) => stateOf(this.known(id), Date.now()));
  }

  /** Such as `a0 a250`. */
  get asked(): string {
    return this.asks.map(({ id, atMs }) => `${id}${atMs}`).join(" ");
  }

  /** What the entry says of a backend. */
  shared(id: string) {
    return JSON.parse(this.entry ?? "{}")[id]?.result.kind;
  }

  /** An invocation of this isolate, with so many subrequests that it may make beside its attempts. */
  invoke(config = onRequest, left = 42) {
    return invocationOf(config, { health: this.health, subrequests: new Subrequests(50 - left) });
  }

  /** A check is requested. */
  request(id: string, config = onRequest, invocation = this.invoke(config)) {
    requestCheck(backendOf(config, id), invocation);
    return invocation;
  }

  /** A request passes. */
  visit(config = onRequest, invocation = this.invoke(config)) {
    startDueChecks(invocation, Date.now());
    return invocation;
  }

  /** Lets time pass, and all that is due in it. */
  async pass(ms = 0): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms);
  }

  /** Another isolate shares what it knows: the history of a backend, in ms since the start. */
  share(id: string, history: string): void {
    const health = newHealth(0, 0);
    for (const backend of onRequest.backends) {
      const { result, ejectionsMs = [] } = JSON.parse(this.entry ?? "{}")[backend.id] ?? {};
      if (result && backend.id !== id) Object.assign(healthOf(health, backend.id), { result, ejectionsMs });
    }
    backendAfter(
      history.replace(/@(-?\d+)/g, (_, ms) => `@${START_MS + Number(ms)}`),
      healthOf(health, id),
    );
    this.entry = formatEntry(onRequest, health);
  }

  /**
   * What happens, step by step: `250` ms pass, `a?` a check of a is requested (`a?1`: by an invocation with one subrequest left),
   * `.` a request passes (`.0`: with none left), `2s` requests pass for two seconds, two a second, `a=bad` the health route of a
   * is bad from now on, `a:bad@-5000` another isolate has shared that of a.
   */
  async play(script: string, config = onRequest): Promise<void> {
    for (const step of script.split(" ")) {
      const [, id = "", what = "", rest = ""] = /^([a-z]?)([.?=:s]?)(.*)$/.exec(step) ?? [];
      const left = Number(rest || 42);
      if (what === "?") this.request(id, config, this.invoke(config, left));
      else if (what === ".") this.visit(config, this.invoke(config, left));
      else if (what === "=") this.routes[id] = ROUTES[rest] ?? good;
      else if (what === ":") this.share(id, rest.replaceAll(",", " "));
      else if (step.endsWith("s")) await this.play(". 500 ".repeat(2 * Number.parseInt(step, 10)).trim(), config);
      else await this.pass(Number(step));
    }
  }

  end(): void {
    vi.clearAllTimers();
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  }
}
