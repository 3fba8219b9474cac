import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseConfig } from "../../../src/config.ts";
import { newCounters } from "../../../src/counters.ts";
import { type Finding, healthOf, newHealth, takeFinding } from "../../../src/health/findings.ts";
import type { Invocation } from "../../../src/health/monitor.ts";
import { Subrequests } from "../../../src/health/subrequests.ts";
import type { Snapshot } from "../../../src/status/facts.ts";
import { answerStatus, isStatusPath } from "../../../src/status/status.ts";

const NOW_MS = 1_800_000_000_000;
const PATH = "/lb-status-8f3a";
const VARS = {
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_CF: "cf.example.net",
  BACKEND_DUCK: "duck.example.net",
  BACKEND_KOYEB: "koyeb.example.net",
  STATUS_PATH: PATH,
  SHARE_HEALTH: false,
};

let isolate: Pick<Invocation, "config" | "health" | "counters">;
/** What each backend's health route answers, by host: a status, a refused connection (`undefined`), or nothing at all. */
let answers: Record<string, number | "silence" | undefined>;
let asked: string[];
let logged: unknown[];

function configure(vars: Record<string, string | boolean> = {}): void {
  isolate = { config: parseConfig({ ...VARS, ...vars }), health: newHealth(NOW_MS), counters: newCounters(NOW_MS) };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: NOW_MS });
  asked = [];
  answers = { "cf.example.net": 200, "duck.example.net": 200, "koyeb.example.net": 200 };
  vi.stubGlobal("fetch", async (input: string) => {
    const { hostname } = new URL(input);
    asked.push(hostname);
    const answer = answers[hostname];
    if (answer === undefined) throw new Error("refused");
    if (answer === "silence") return new Promise(() => {});
    return new Response("", { status: answer });
  });
  logged = [];
  const log = (line: string) => logged.push(JSON.parse(line));
  vi.stubGlobal("console", { ...console, log, error: log });
  configure();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function ask(query = "", init: RequestInit = {}): Promise<Response> {
  const request = new Request(`https://aiostreams.example.com${PATH}${query}`, init);
  const ctx = { waitUntil() {} };
  return answerStatus(request, PATH + query, { ...isolate, ctx, ray: null, subrequests: new Subrequests(0, 0) });
}

const askForJson = async () => (await (await ask("?format=json")).json()) as Snapshot;
const statesIn = ({ backends }: Snapshot) => backends.map(({ state }) => state);

function finds(id: string, finding: Partial<Finding>, isShared = false): void {
  const whole: Finding = { result: "good", status: 200, tookMs: 5, atMs: Date.now(), ...finding };
  takeFinding(healthOf(isolate.health, id), whole, Date.now(), isShared);
}

describe("the path", () => {
  it.each([PATH, `${PATH}?`, `${PATH}?format=json`])("%s is the status page's", (path) => {
    expect(isStatusPath(path, isolate.config)).toBe(true);
  });

  it.each([`${PATH}/`, `${PATH}x`, `/x${PATH}`, `/${PATH}`, PATH.toUpperCase(), `/?${PATH}`, "/", ""])(
    "%s is the application's",
    (path) => {
      expect(isStatusPath(path, isolate.config)).toBe(false);
    },
  );

  it("is nobody's while the page is off", () => {
    expect(["", "/", "?", "/x"].map((path) => isStatusPath(path, { statusPath: "" }))).toEqual(Array(4).fill(false));
  });
});

describe("the answer", () => {
  it("is a page that nobody keeps, finds, frames or adds to", async () => {
    const { headers } = await ask();
    expect(headers.get("Content-Type")).toBe("text/html; charset=utf-8");
    expect(headers.get("Cache-Control")).toBe("no-store");
    expect(headers.get("X-Robots-Tag")).toBe("noindex");
    expect(headers.get("Refresh")).toBe("10");
    expect(headers.get("Access-Control-Allow-Origin")).toBeNull();
    expect(headers.get("Content-Security-Policy")).toMatch(
      /^default-src 'none'; style-src 'nonce-[\w-]+'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'$/,
    );
  });

  it("has another nonce each time", async () => {
    const policies = [await ask(), await ask()];
    expect(new Set(policies.map(({ headers }) => headers.get("Content-Security-Policy"))).size).toBe(2);
  });

  it("stops refreshing itself when it is asked to", async () => {
    const response = await ask("?refresh=off");
    expect(response.headers.get("Refresh")).toBeNull();
    expect(await response.text()).toContain("Paused");
  });

  it("is JSON by the query or by Accept, which does not refresh itself", async () => {
    for (const response of [await ask("?format=json"), await ask("", { headers: { Accept: "application/json" } })]) {
      expect(response.headers.get("Content-Type")).toBe("application/json");
      expect(response.headers.get("Refresh")).toBeNull();
      expect(await response.json()).toMatchObject({ answering: 3 });
    }
  });

  it("to HEAD is that to GET without the body", async () => {
    const [get, head] = [await ask(), await ask("", { method: "HEAD" })];
    const names = ({ headers }: Response) => [...headers.keys()];
    expect([head.status, names(head), await head.text()]).toEqual([get.status, names(get), ""]);
  });

  it.each(["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])(
    "to %s is a refusal, and nothing is checked",
    async (method) => {
      const response = await ask("", { method });
      expect([response.status, response.headers.get("Allow")]).toEqual([405, "GET, HEAD"]);
      expect(asked).toEqual([]);
    },
  );

  it.each([
    [200, 200, 200, 200],
    [503, undefined, 200, 200],
    [503, undefined, 404, 503],
  ])("tells whether a backend is up (%j, %j, %j: %d)", async (cf, duck, koyeb, status) => {
    answers = { "cf.example.net": cf, "duck.example.net": duck, "koyeb.example.net": koyeb };
    expect((await ask()).status).toBe(status);
  });

  it("names no host", async () => {
    answers["koyeb.example.net"] = undefined;
    for (const query of ["", "?format=json"]) expect(await (await ask(query)).text()).not.toMatch(/example\.(net|com)/);
  });
});

describe("the page's checks", () => {
  it("are one of each backend, side by side", async () => {
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    vi.stubGlobal("fetch", async (input: string) => {
      asked.push(new URL(input).hostname);
      await released;
      return new Response("");
    });
    const response = ask();
    await vi.waitFor(() => expect(asked).toHaveLength(3));
    release();
    expect((await response).status).toBe(200);
    expect(asked.sort()).toEqual(["cf.example.net", "duck.example.net", "koyeb.example.net"]);
  });

  it("leave a finding alone until it is five seconds old, whoever made it", async () => {
    finds("cf", {});
    finds("duck", {}, true);
    await ask();
    expect(asked).toEqual(["koyeb.example.net"]);
    vi.setSystemTime(NOW_MS + 4_999);
    await ask();
    expect(asked).toHaveLength(1);
    vi.setSystemTime(NOW_MS + 5_000);
    await ask();
    expect(asked).toHaveLength(4);
  });

  it("take a backend out that they find dead, as any check does, and say so once", async () => {
    answers["koyeb.example.net"] = 404;
    expect(statesIn(await askForJson())).toEqual(["up", "up", "down"]);
    await ask();
    const facts = { backend: "koyeb", reason: "check: bad status", status: 404, ray: null };
    expect(logged).toEqual([{ event: "ejected", ...facts }]);
    expect(isolate.counters.ejections).toBe(1);
  });

  it("bring a backend back that they find up", async () => {
    finds("koyeb", { result: "no answer", status: null, atMs: NOW_MS - 6_000 });
    expect((await askForJson()).backends[2]).toMatchObject({ id: "koyeb", state: "up", sinceSeconds: 0 });
    expect(logged).toEqual([{ event: "back", backend: "koyeb", reason: "check: good", status: 200, ray: null }]);
  });

  it("leave a backup asleep while another backend is up", async () => {
    configure({ BACKEND_DUCK: "duck.example.net backup" });
    expect((await askForJson()).backends[1]).toMatchObject({ backup: "asleep", finding: null, isBeingChecked: false });
    expect(asked).toEqual(["cf.example.net", "koyeb.example.net"]);
  });

  it("wake a backup once they have found the last other backend down", async () => {
    configure({ BACKEND_DUCK: "duck.example.net backup" });
    answers = { "duck.example.net": 200 };
    const answer = askForJson();
    await vi.advanceTimersByTimeAsync(1_000);
    const snapshot = await answer;
    expect(statesIn(snapshot)).toEqual(["down", "up", "down"]);
    expect(snapshot.answering).toBe(1);
    expect(snapshot.backends[1]?.backup).toBe("in service");
  });

  it("are waited for 4.5 seconds at most, and what has not answered by then is not called up", async () => {
    answers = { ...answers, "koyeb.example.net": "silence" };
    let snapshot: Snapshot | undefined;
    void askForJson().then((answer) => {
      snapshot = answer;
    });
    await vi.advanceTimersByTimeAsync(3_900);
    expect(snapshot).toBeUndefined();
    await vi.advanceTimersByTimeAsync(700);
    expect(snapshot && statesIn(snapshot)).toEqual(["up", "up", "unknown"]);
  });

  it("of another visitor are waited for until something is known of every backend", async () => {
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    vi.stubGlobal("fetch", async () => {
      await released;
      return new Response("");
    });
    const visitors = [askForJson(), askForJson()];
    release();
    await vi.advanceTimersByTimeAsync(1_000);
    for (const visitor of visitors) expect(statesIn(await visitor)).toEqual(["up", "up", "up"]);
  });

  it("of another visitor are not waited for where something is known", async () => {
    for (const id of ["cf", "duck", "koyeb"]) finds(id, {});
    vi.setSystemTime(NOW_MS + 7_000);
    answers["cf.example.net"] = "silence";
    void ask();
    await vi.advanceTimersByTimeAsync(300);
    expect((await askForJson()).backends[0]).toMatchObject({
      finding: { result: "good", status: 200, ageSeconds: 7 },
      isBeingChecked: true,
    });
  });
});

describe("a cold isolate", () => {
  const share = (findings: Record<string, Finding>) => {
    const entry = { async match() {}, async put() {} };
    entry.match = async () => new Response(JSON.stringify({ findings })) as never;
    vi.stubGlobal("caches", { open: async () => entry });
    configure({ SHARE_HEALTH: true });
  };

  it("shows what other isolates have found, and does not check it again", async () => {
    const dead: Finding = { result: "no answer", status: null, tookMs: 3_000, atMs: NOW_MS - 2_000 };
    share({ koyeb: dead });
    const { backends } = await askForJson();
    expect(backends[2]).toMatchObject({
      state: "down",
      finding: { result: "no answer", status: null, milliseconds: 3_000, ageSeconds: 2, isShared: true },
    });
    expect(asked).toEqual(["cf.example.net", "duck.example.net"]);
  });

  it("shows what others found of a backup that is asleep", async () => {
    share({ duck: { result: "good", status: 200, tookMs: 9, atMs: NOW_MS - 60_000 } });
    isolate = {
      ...isolate,
      config: parseConfig({ ...VARS, SHARE_HEALTH: true, BACKEND_DUCK: "duck.example.net backup" }),
    };
    expect((await askForJson()).backends[1]).toMatchObject({
      backup: "asleep",
      finding: { ageSeconds: 60, isShared: true },
    });
    expect(asked).not.toContain("duck.example.net");
  });
});
