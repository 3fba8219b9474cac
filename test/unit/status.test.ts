import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { countAttempt, countFailure, countReturn, newCounters } from "../../src/counters.ts";
import { eject, leaseProbe, stateOf } from "../../src/health.ts";
import { PROBE_LEASE_MS } from "../../src/probe.ts";
import {
  answerStatus,
  type Isolate,
  isStatusPath,
  LOOK_EVERY_MS,
  newLook,
  prefersJson,
  snapshotOf,
} from "../../src/status.ts";
import { duration, type Snapshot, statusPage } from "../../src/status-page.ts";

const NOW_MS = 1_800_000_000_000;
const PATH = "/lb-status-8f3a";
const VARS = {
  PRIMARY_DOMAIN: "aiostreams.example.com",
  BACKEND_CF: "cf.example.net",
  BACKEND_DUCK: "duck.example.net",
  BACKEND_KOYEB: "koyeb.example.net",
  STATUS_PATH: PATH,
};
const GRAVE = { reason: "network error", acquittable: false };

let isolate: Isolate;
let logged: unknown[];
/** What each backend's health route answers, by host; a number is a status, anything else is a refused connection. */
let answers: Record<string, number | undefined>;
const probes = vi.fn(async (input: string) => {
  const status = answers[new URL(input).hostname];
  if (status === undefined) throw new Error("refused");
  return new Response("", { status });
});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  probes.mockClear();
  vi.stubGlobal("fetch", probes);
  logged = [];
  vi.stubGlobal("console", { ...console, log: (line: string) => logged.push(JSON.parse(line)) });
  answers = { "cf.example.net": 200, "duck.example.net": 200, "koyeb.example.net": 200 };
  isolate = { config: parseConfig(VARS), health: new Map(), counters: newCounters(NOW_MS), look: newLook() };
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const ask = (query = "", init: RequestInit = {}) =>
  answerStatus(new Request(`https://aiostreams.example.com${PATH}${query}`, init), PATH + query, isolate);
const askForJson = async () => (await (await ask("?format=json")).json()) as Snapshot;
const ejectKoyeb = (downTimeMs: number) => eject(isolate.health, "koyeb", GRAVE, Date.now(), downTimeMs);
const stateOfKoyeb = () => stateOf(isolate.health.get("koyeb"), Date.now());

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

describe("JSON is preferred", () => {
  it.each([
    "application/json",
    "application/json, */*;q=0.5",
    "text/html;q=0.5, application/json;q=0.9",
    "application/json, text/plain, */*",
    "application/*",
    "text/html;q=0, */*",
    "Application/JSON;charset=utf-8",
  ])("by %j", (accept) => {
    expect(prefersJson(accept)).toBe(true);
  });

  it.each([
    "",
    "*/*",
    "text/html",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "text/html, application/json",
    "application/json;q=0.5, text/html;q=0.6",
    "application/json;q=0, */*",
    "application/json;q=nonsense",
    ",;,q=1",
  ])("not by %j", (accept) => {
    expect(prefersJson(accept)).toBe(false);
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
    const policies = await Promise.all([ask(), ask()]);
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
    "to %s is a refusal, and nothing is probed",
    async (method) => {
      const response = await ask("", { method });
      expect([response.status, response.headers.get("Allow")]).toEqual([405, "GET, HEAD"]);
      expect(probes).not.toHaveBeenCalled();
    },
  );

  it.each([
    [200, 200, 200, 200],
    [503, undefined, 404, 200],
    [500, undefined, undefined, 503],
  ])("tells whether a backend answers below 500 (%j, %j, %j: %d)", async (cf, duck, koyeb, status) => {
    answers = { "cf.example.net": cf, "duck.example.net": duck, "koyeb.example.net": koyeb };
    expect((await ask()).status).toBe(status);
  });
});

describe("looking", () => {
  it("probes every backend once, side by side", async () => {
    const started: string[] = [];
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    vi.stubGlobal("fetch", async (input: string) => {
      started.push(new URL(input).hostname);
      await released;
      return new Response("");
    });
    const response = ask();
    await vi.waitFor(() => expect(started).toHaveLength(3));
    release();
    expect((await response).status).toBe(200);
    expect(started.sort()).toEqual(["cf.example.net", "duck.example.net", "koyeb.example.net"]);
  });

  it("probes again only after five seconds", async () => {
    await ask();
    vi.setSystemTime(NOW_MS + LOOK_EVERY_MS - 1);
    expect((await askForJson()).backends[0]?.probe).toMatchObject({ status: 200, ageSeconds: 5 });
    expect(probes).toHaveBeenCalledTimes(3);
    vi.setSystemTime(NOW_MS + LOOK_EVERY_MS);
    await ask();
    expect(probes).toHaveBeenCalledTimes(6);
  });

  it("does not wait for the probes of another request, and says that they are under way", async () => {
    vi.stubGlobal("fetch", () => new Promise(() => {}));
    void ask();
    const snapshot = await askForJson();
    expect(snapshot.backends.map(({ probe, isBeingProbed }) => [probe, isBeingProbed])).toEqual(
      Array(3).fill([null, true]),
    );
    expect(await (await ask()).text()).toContain("being probed");
  });

  it("shows the last known result while the next one is under way", async () => {
    await ask();
    vi.setSystemTime(NOW_MS + 7_000);
    vi.stubGlobal("fetch", () => new Promise(() => {}));
    void ask();
    expect((await askForJson()).backends[0]).toMatchObject({
      probe: { status: 200, ageSeconds: 7 },
      isBeingProbed: true,
    });
  });

  it("brings back a waiting backend that answers, and says so once", async () => {
    ejectKoyeb(0);
    const snapshot = await askForJson();
    expect(snapshot.backends[2]).toMatchObject({ id: "koyeb", state: "up", sinceSeconds: 0 });
    expect(logged).toEqual([{ event: "back", backend: "koyeb", reason: "probe answered", ray: null }]);
  });

  it("leaves a waiting backend that does not answer as it is, free to be probed by a request", async () => {
    answers["koyeb.example.net"] = undefined;
    ejectKoyeb(0);
    const before = { ...isolate.health.get("koyeb") };
    await ask();
    expect(isolate.health.get("koyeb")).toEqual(before);
    expect(leaseProbe(isolate.health, "koyeb", Date.now(), PROBE_LEASE_MS)).toBeDefined();
  });

  it("leaves a backend down whose down time has not passed, however well it is", async () => {
    ejectKoyeb(30_000);
    await ask();
    expect(stateOfKoyeb()).toBe("down");
  });

  it("ejects nobody", async () => {
    answers["koyeb.example.net"] = 503;
    await ask();
    expect(isolate.health.size).toBe(0);
  });

  it("does not undo an ejection that happened during the probe", async () => {
    ejectKoyeb(0);
    vi.stubGlobal("fetch", async () => {
      ejectKoyeb(30_000);
      return new Response("");
    });
    await ask();
    expect(stateOfKoyeb()).toBe("down");
  });
});

describe("what is shown of a backend", () => {
  const koyebAfter = (ms: number) => snapshotOf(isolate, "FRA", NOW_MS + ms).backends[2];

  it("is up since the isolate began, while nothing happened", () => {
    expect(koyebAfter(90_000)).toMatchObject({ state: "up", sinceSeconds: 90, ejectedFor: null, lastFailure: null });
  });

  it("is why it was ejected, since when and for how long", () => {
    countFailure(isolate.counters, "koyeb", "network error", undefined, NOW_MS);
    ejectKoyeb(30_000);
    expect(koyebAfter(12_400)).toMatchObject({
      state: "down",
      sinceSeconds: 12,
      downForSeconds: 18,
      ejectedFor: "network error",
      lastFailure: { reason: "network error", status: null, ageSeconds: 12 },
    });
    expect(koyebAfter(31_000)).toMatchObject({ state: "waiting for a probe", sinceSeconds: 31, downForSeconds: 0 });
  });

  it("is its last failure long after it came back", () => {
    countFailure(isolate.counters, "koyeb", "unavailable", 503, NOW_MS);
    countReturn(isolate.counters, "koyeb", NOW_MS + 10_000);
    expect(koyebAfter(70_000)).toMatchObject({
      state: "up",
      sinceSeconds: 60,
      ejectedFor: null,
      lastFailure: { reason: "unavailable", status: 503, ageSeconds: 70 },
    });
  });

  it("is counted as answering before its first probe while users get answers from it", () => {
    ejectKoyeb(30_000);
    expect(snapshotOf(isolate, "FRA", NOW_MS).answering).toBe(2);
  });
});

describe("the page", () => {
  const page = (snapshot = snapshotOf(isolate, "FRA", NOW_MS)) =>
    statusPage(snapshot, { nonce: "n", refreshSeconds: 10 });

  it("escapes everything that is put into it", () => {
    const hostile = `<script>alert("1")</script>'&`;
    const snapshot = snapshotOf(isolate, hostile, NOW_MS);
    const [first] = snapshot.backends;
    if (!first) throw new Error("no backend");
    const text = page({
      ...snapshot,
      backends: [
        {
          ...first,
          id: hostile,
          ejectedFor: hostile,
          lastFailure: { reason: hostile, status: null, ageSeconds: 0 },
        },
      ],
    });
    expect(text).not.toContain("<script");
    expect(text.match(/&#60;script&#62;alert\(&#34;1&#34;\)&#60;\/script&#62;&#39;&#38;/g)).toHaveLength(4);
  });

  it("has no script, no inline style and no file of its own", () => {
    expect(page()).not.toMatch(/<script|\sstyle=|\son\w+=|<link(?! rel="icon" href="data:)|src=|@import|url\(/);
  });

  it("names no host", async () => {
    countFailure(isolate.counters, "koyeb", "network error", undefined, NOW_MS);
    ejectKoyeb(30_000);
    const texts = [await (await ask()).text(), await (await ask("?format=json")).text()];
    for (const text of texts) expect(text).not.toMatch(/example\.(net|com)/);
  });

  it("tells the last hour in words beside every chart", () => {
    for (let i = 0; i < 5; i++) countAttempt(isolate.counters, "cf", NOW_MS - 60_000);
    countFailure(isolate.counters, "cf", "silent", undefined, NOW_MS - 60_000);
    countAttempt(isolate.counters, "cf", NOW_MS);
    const labels = [...page().matchAll(/role="img" aria-label="([^"]*)"/g)].map(([, label]) => label);
    expect(labels).toEqual([
      "Last hour: 6 requests, at most 5 in a minute; 1 failed, the latest 1 min ago.",
      "Last hour: no requests.",
      "Last hour: no requests.",
    ]);
  });

  it("tells each state by a word and a shape, not by colour alone", () => {
    eject(isolate.health, "duck", GRAVE, NOW_MS, 0);
    ejectKoyeb(30_000);
    const states = [...page().matchAll(/class="state"><svg.*?>(<.*?)<\/svg><b>(.*?)<\/b>/g)];
    expect(states.map(([, , word]) => word)).toEqual(["Up", "Waiting for a probe", "Down"]);
    expect(new Set(states.map(([, shape]) => shape)).size).toBe(3);
  });

  it("is not all well while a backend that answers gets no traffic", () => {
    ejectKoyeb(30_000);
    const snapshot = snapshotOf(isolate, "FRA", NOW_MS);
    expect(page({ ...snapshot, answering: 3 })).toContain('<h1 class="waiting">');
  });

  it("says that it speaks for one isolate of many", () => {
    expect(page()).toContain("one isolate of many");
  });
});

it.each([
  [0, "0 s"],
  [59, "59 s"],
  [60, "1 min"],
  [61, "1 min 1 s"],
  [3_599, "59 min"],
  [3_600, "1 h"],
  [15_120, "4 h 12 min"],
  [86_400, "1 d"],
  [180_000, "2 d 2 h"],
])("%d seconds read %j", (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});
