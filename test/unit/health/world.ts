import { vi } from "vitest";
import type { Config } from "../../../src/config.ts";
import { type Finding, healthOf, newHealth, takeFinding } from "../../../src/health/findings.ts";
import { formatEntry } from "../../../src/health/shared.ts";

export const START_MS = 1_790_000_000_000;

type Route = () => Promise<Response>;

export const good: Route = async () => new Response("ok");
export const bad: Route = async () => new Response("stopped", { status: 404 });
export const hanging: Route = () => new Promise(() => {});

/** What surrounds an isolate: a clock, the backends' health routes, the data centre's cache, and the log. */
export class World {
  /** By host; whoever is absent is well. */
  readonly routes = new Map<string, Route>();
  /** Which hosts were checked, and when, in ms since the start. */
  readonly checks: { host: string; atMs: number }[] = [];
  readonly log: Record<string, unknown>[] = [];
  /** What the cache does; each call is counted. */
  entry: string | undefined;
  reads = 0;
  writes = 0;
  read: () => Promise<Response | undefined> = async () =>
    this.entry === undefined ? undefined : new Response(this.entry);
  write: (text: string) => Promise<void> = async (text) => {
    this.entry = text;
  };

  constructor() {
    vi.useFakeTimers({ now: START_MS });
    vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), ms);
      return controller.signal;
    });
    vi.stubGlobal("fetch", (url: string, { signal }: RequestInit) => this.#fetch(new URL(url).host, signal));
    const match = () => {
      this.reads++;
      return this.read();
    };
    const put = async (_: string, response: Response) => {
      this.writes++;
      await this.write(await response.text());
    };
    vi.stubGlobal("caches", { open: async () => ({ match, put }) });
    const note = (line: string) => void this.log.push(JSON.parse(line));
    vi.spyOn(console, "log").mockImplementation(note);
    vi.spyOn(console, "error").mockImplementation(note);
  }

  #fetch(host: string, signal: AbortSignal | null | undefined): Promise<Response> {
    this.checks.push({ host, atMs: this.nowMs });
    const aborted = new Promise<never>((_, reject) =>
      signal?.addEventListener("abort", () => reject(new Error("aborted"))),
    );
    return Promise.race([(this.routes.get(host) ?? good)(), aborted]);
  }

  get nowMs(): number {
    return Date.now() - START_MS;
  }

  checksOf(host: string): number[] {
    return this.checks.filter((check) => check.host === host).map(({ atMs }) => atMs);
  }

  /** Lets the time pass, and all that is due in it. */
  async pass(ms: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms);
  }

  /** Another isolate shares what it found. */
  share(config: Config, findings: Readonly<Record<string, Finding>>): void {
    const health = newHealth(0);
    for (const [id, finding] of Object.entries(findings)) takeFinding(healthOf(health, id), finding, Date.now(), false);
    this.entry = formatEntry(config, health);
  }

  end(): void {
    vi.clearAllTimers();
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  }
}
