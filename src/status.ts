import type { Backend, Config } from "./config.ts";
import { type Counters, minutesOf } from "./counters.ts";
import { ownAnswer } from "./headers.ts";
import { type Health, leaseProbe, settle, stateOf } from "./health.ts";
import { coloOf } from "./metrics.ts";
import { isAlive, PROBE_LEASE_MS, type ProbeResult, probe } from "./probe.ts";
import { reportBack } from "./proxy.ts";
import { type BackendSnapshot, type Snapshot, statusPage } from "./status-page.ts";

/** The backends are probed for the page at most once in this time, so that the page cannot be used to hammer them. */
export const LOOK_EVERY_MS = 5_000;

/** How often the page asks for itself again. */
const REFRESH_SECONDS = 10;

/**
 * What the last probes for the page found, by backend id. Plain data, since it outlives the request that made them: a request
 * that comes while the probes of another are under way shows what is known, and waits for nobody.
 */
export interface Look {
  startedMs: number;
  readonly findings: Map<string, Finding>;
}

export interface Finding {
  readonly status: ProbeResult;
  readonly tookMs: number;
  readonly atMs: number;
}

export function newLook(): Look {
  return { startedMs: Number.NEGATIVE_INFINITY, findings: new Map() };
}

/** What the page is made from: the isolate's own data, and who asks. */
export interface Isolate {
  readonly config: Config;
  readonly health: Health;
  readonly counters: Counters;
  readonly look: Look;
}

/** Whether a request's path and query are those of the status page. */
export function isStatusPath(path: string, { statusPath }: Pick<Config, "statusPath">): boolean {
  if (statusPath === "" || !path.startsWith(statusPath)) return false;
  return path.length === statusPath.length || path[statusPath.length] === "?";
}

/** Answers a request for the status page: 200 while a backend answers, 503 when none does. */
export async function answerStatus(request: Request, path: string, isolate: Isolate): Promise<Response> {
  const { method } = request;
  if (method !== "GET" && method !== "HEAD") {
    return ownAnswer(405, "Method not allowed: the status page can only be read.", { Allow: "GET, HEAD" });
  }
  await lookAtBackends(request, isolate);
  const snapshot = snapshotOf(isolate, coloOf(request), Date.now());

  const query = new URLSearchParams(path.slice(isolate.config.statusPath.length));
  const headers: Record<string, string> = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    Vary: "Accept",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
  };
  let body: string;
  if (query.get("format") === "json" || prefersJson(request.headers.get("Accept") ?? "")) {
    headers["Content-Type"] = "application/json";
    body = `${JSON.stringify(snapshot)}\n`;
  } else {
    const isRefreshing = query.get("refresh") !== "off";
    const nonce = crypto.randomUUID();
    headers["Content-Type"] = "text/html; charset=utf-8";
    headers["Content-Security-Policy"] =
      `default-src 'none'; style-src 'nonce-${nonce}'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`;
    if (isRefreshing) headers.Refresh = String(REFRESH_SECONDS);
    body = statusPage(snapshot, { nonce, refreshSeconds: isRefreshing ? REFRESH_SECONDS : undefined });
  }
  const status = snapshot.answering > 0 ? 200 : 503;
  return new Response(method === "HEAD" ? null : body, { status, headers });
}

/** Probes all backends side by side, unless that was done a moment ago. */
async function lookAtBackends(request: Request, isolate: Isolate): Promise<void> {
  const nowMs = Date.now();
  if (nowMs - isolate.look.startedMs < LOOK_EVERY_MS) return;
  isolate.look.startedMs = nowMs;
  await Promise.all(isolate.config.backends.map((backend) => lookAt(backend, request, isolate, nowMs)));
}

/**
 * Probes one backend. Looking changes no state, but for one thing: a good probe brings a backend back that was waiting for
 * one. A bad probe leaves it waiting, and the lease is given back.
 */
async function lookAt(backend: Backend, request: Request, isolate: Isolate, startedMs: number): Promise<void> {
  const { config, health, counters, look } = isolate;
  const leased = leaseProbe(health, backend.id, startedMs, PROBE_LEASE_MS);
  const status = await probe(backend, config);
  const atMs = Date.now();
  look.findings.set(backend.id, { status, tookMs: atMs - startedMs, atMs });
  if (!leased) return;
  if (!isAlive(status)) leased.probeLeaseUntilMs = 0;
  else if (settle(health, backend.id, leased, true, atMs, config.downTimeMs)) {
    reportBack({ request, counters }, backend, "probe answered");
  }
}

/** What is known at a moment. */
export function snapshotOf(isolate: Isolate, dataCentre: string, nowMs: number): Snapshot {
  const { config, counters } = isolate;
  const backends = config.backends.map((backend) => backendSnapshotOf(backend.id, isolate, nowMs));
  const { requests, failovers, ejections, webSockets } = counters;
  return {
    answering: backends.filter(({ answers }) => answers).length,
    backends,
    isolate: {
      dataCentre,
      ageSeconds: seconds(nowMs - counters.startedMs),
      requests,
      failovers,
      ejections,
      webSockets,
    },
  };
}

function backendSnapshotOf(id: string, { health, counters, look }: Isolate, nowMs: number): BackendSnapshot {
  const ejection = health.get(id);
  const counted = counters.backends.get(id);
  const finding = look.findings.get(id);
  const lastFailure = counted?.lastFailure;
  const sinceMs = ejection?.sinceMs ?? counted?.backSinceMs ?? counters.startedMs;
  return {
    id,
    state: stateOf(ejection, nowMs),
    sinceSeconds: seconds(nowMs - sinceMs),
    downForSeconds: ejection ? Math.max(0, Math.ceil((ejection.untilMs - nowMs) / 1_000)) : 0,
    ejectedFor: ejection?.reason ?? null,
    // While the very first probe is under way there is nothing to go by but whether users get answers.
    answers: finding ? isAlive(finding.status) : ejection === undefined,
    probe: finding
      ? { status: finding.status ?? null, milliseconds: finding.tookMs, ageSeconds: seconds(nowMs - finding.atMs) }
      : null,
    isBeingProbed: !finding || finding.atMs < look.startedMs,
    lastFailure: lastFailure
      ? {
          reason: lastFailure.reason,
          status: lastFailure.status ?? null,
          ageSeconds: seconds(nowMs - lastFailure.atMs),
        }
      : null,
    requests: counted?.requests ?? 0,
    failures: counted?.failures ?? 0,
    minutes: minutesOf(counted, nowMs),
  };
}

function seconds(ms: number): number {
  return Math.round(ms / 1_000);
}

/**
 * Whether an `Accept` header prefers JSON to HTML (RFC 9110, section 12.5.1). Among equal weights the type that is named
 * goes before one that only a wildcard allows, as clients that want JSON tend to say "application/json, *\/*".
 */
export function prefersJson(accept: string): boolean {
  const json = preferenceFor("application/json", accept);
  const html = preferenceFor("text/html", accept);
  if (json.weight !== html.weight) return json.weight > html.weight;
  return json.weight > 0 && json.precision > html.precision;
}

/** The weight of a media type by the range that fits it most precisely: itself, its family, anything. */
function preferenceFor(type: string, accept: string): { weight: number; precision: number } {
  const ranges = ["*/*", type.replace(/\/.*/, "/*"), type];
  const best = { weight: 0, precision: -1 };
  for (const part of accept.toLowerCase().split(",")) {
    const [range = "", ...parameters] = part.split(";").map((text) => text.trim());
    const precision = ranges.indexOf(range);
    if (precision <= best.precision) continue;
    const q = parameters.find((parameter) => parameter.startsWith("q="));
    best.precision = precision;
    best.weight = q === undefined ? 1 : Number(q.slice(2)) || 0;
  }
  return best;
}
