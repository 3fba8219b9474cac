import type { Minute } from "../counters.ts";

type State = "up" | "down" | "waiting for a probe";

import type { Outcome } from "../proxy/outcome.ts";

/** All that the page shows. It is also the JSON that it can be had as: ages and durations are in seconds. */
export interface Snapshot {
  /** How many backends answer below 500, by the last probe of each. */
  readonly answering: number;
  readonly backends: readonly BackendSnapshot[];
  readonly isolate: {
    readonly dataCentre: string;
    readonly ageSeconds: number;
    readonly requests: number;
    readonly failovers: number;
    readonly ejections: number;
    readonly webSockets: number;
  };
}

export interface BackendSnapshot {
  readonly id: string;
  readonly state: State;
  /** How long it has been up, or away, as far as this isolate knows. */
  readonly sinceSeconds: number;
  /** How long it will get no traffic, at least; 0 unless it is down. */
  readonly downForSeconds: number;
  /** Why it was ejected; `null` while it is up. */
  readonly ejectedFor: string | null;
  readonly answers: boolean;
  /** The last probe for this page; `status` is `null` when nothing answered. `null` while there was none. */
  readonly probe: {
    readonly status: number | null;
    readonly milliseconds: number;
    readonly ageSeconds: number;
  } | null;
  /** Whether another probe is under way, for another request for this page. */
  readonly isBeingProbed: boolean;
  readonly lastFailure: { readonly reason: string; readonly status: number | null; readonly ageSeconds: number } | null;
  readonly requests: number;
  readonly failures: number;
  /** The last hour, the oldest minute first. */
  readonly minutes: readonly Minute[];
}

/** How the page is made, apart from what it shows. */
export interface PageOptions {
  /** Allows the page's own style sheet, and nothing else, under its Content-Security-Policy. */
  readonly nonce: string;
  /** How often the page asks for itself again; `undefined` while that is paused. */
  readonly refreshSeconds: number | undefined;
}

/** Text that is HTML already; everything else is escaped on its way into a template. */
class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Markup | readonly Markup[];

/** A template of HTML: what stands in it is markup, what is put into it is text. */
function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return new Markup(parts.reduce((text, part, i) => text + textOf(values[i - 1] ?? "") + part));
}

function textOf(value: Value): string {
  if (value instanceof Markup) return value.text;
  if (typeof value === "object") return value.map(({ text }) => text).join("");
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const NOTHING = html``;

/** The status page: one document without scripts or other files. */
export function statusPage(snapshot: Snapshot, { nonce, refreshSeconds }: PageOptions): string {
  const { backends, isolate } = snapshot;
  const summary = summaryOf(snapshot);
  const mood = moodOf(snapshot);
  const scale = scaleOf(backends);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${summary} · load balancer</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(icon(mood, ICON_COLOURS[mood]).text)}">
<style nonce="${nonce}">${new Markup(STYLE)}</style>
</head>
<body>
<main>
<header>
<p class="kicker">Load balancer</p>
<h1 class="${mood}">${icon(mood)}${summary}</h1>
<p class="soft">${
    refreshSeconds === undefined
      ? html`Paused. <a href="?">Refresh by itself</a>`
      : html`Refreshes every ${refreshSeconds} s. <a href="?refresh=off">Pause</a>`
  } · <a href="?format=json">JSON</a></p>
</header>
<section aria-labelledby="backends">
<h2 id="backends">Backends</h2>
<p class="soft">The bars show requests per minute. Failed ones hang below the line.</p>
<ul class="backends">${backends.map((backend) => backendCard(backend, scale))}</ul>
</section>
<section aria-labelledby="isolate">
<h2 id="isolate">This isolate</h2>
<dl class="tiles">
${fact("Requests", count(isolate.requests))}${fact("Failovers", count(isolate.failovers))}${fact("Ejections", count(isolate.ejections))}${fact("WebSockets", count(isolate.webSockets))}${fact("Data centre", isolate.dataCentre || "unknown")}${fact("Running for", duration(isolate.ageSeconds))}
</dl>
<p class="soft note">This page speaks for one isolate of many. Cloudflare runs copies of the Worker side by side and in many data
centres. Each copy counts for itself, finds out for itself which backend is down, and forgets it all when it is replaced. The
next look may be answered by another copy, with other numbers. The probes were made from this one.</p>
</section>
</main>
</body>
</html>
`.text;
}

function summaryOf({ answering, backends }: Snapshot): string {
  const all = backends.length;
  if (answering === 0) return "No backend answers";
  if (answering < all) return `${answering} of ${all} backends ${answering === 1 ? "answers" : "answer"}`;
  return all === 1 ? "The backend answers" : `All ${all} backends answer`;
}

/** The worst that holds: a backend that answers but gets no traffic yet is not all well. */
function moodOf({ answering, backends }: Snapshot): Mood {
  if (answering === 0) return "down";
  return backends.every(({ answers, state }) => answers && state === "up") ? "up" : "waiting";
}

type Mood = "up" | "down" | "waiting";

function backendCard(backend: BackendSnapshot, scale: Scale): Markup {
  const { id, state, lastFailure } = backend;
  return html`
<li class="${CLASS[state]}">
<div class="who"><h3>${id}</h3>
<p class="state">${icon(CLASS[state])}<b>${LABEL[state]}</b></p>
<p class="soft">${stateDetail(backend)}</p></div>
<dl class="facts">
${backend.ejectedFor === null ? NOTHING : fact("Why", reasonText(backend.ejectedFor))}
${fact("Probe", probeText(backend))}
${fact("Last failure", lastFailure ? `${lastFailure.reason}${lastFailure.status === null ? "" : ` (${lastFailure.status})`}, ${ago(lastFailure.ageSeconds)}` : "none seen")}
</dl>
${chart(backend, scale)}
</li>`;
}

const CLASS: Readonly<Record<State, Mood>> = {
  up: "up",
  down: "down",
  "waiting for a probe": "waiting",
};

const LABEL: Readonly<Record<State, string>> = { up: "Up", down: "Down", "waiting for a probe": "Waiting for a probe" };

function stateDetail({ state, sinceSeconds, downForSeconds }: BackendSnapshot): string {
  switch (state) {
    case "up":
      return `for ${duration(sinceSeconds)}`;
    case "down":
      return `for ${duration(sinceSeconds)}, gets no traffic for another ${duration(downForSeconds)}`;
    case "waiting for a probe":
      return `out for ${duration(sinceSeconds)}, back as soon as a probe answers`;
  }
}

/** What the log's word for a failure means. */
const REASONS: Readonly<Record<string, string>> = {
  "network error": "the connection was refused or broke",
  unreachable: "Cloudflare could not reach it",
  silent: "no answer, and none of its health route either",
  timeout: "no answer within BACKEND_TIMEOUT",
  unavailable: "it said that it is unavailable",
  "application error": "it failed at a request that another backend answered",
} satisfies Record<Exclude<Outcome, "answered">, string>;

function reasonText(reason: string): string {
  const meaning = REASONS[reason];
  return meaning ? `${reason}: ${meaning}` : reason;
}

function probeText({ probe, isBeingProbed, answers }: BackendSnapshot): string {
  if (!probe) return "being probed";
  const finding =
    probe.status === null
      ? `no answer, gave up after ${count(probe.milliseconds)} ms`
      : `${answers ? "answers" : "fails with"} ${probe.status} in ${count(probe.milliseconds)} ms`;
  return `${finding}${probe.ageSeconds === 0 ? "" : `, ${ago(probe.ageSeconds)}`}${isBeingProbed ? "; being probed again" : ""}`;
}

function fact(name: string, value: string): Markup {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

/** The browser's tab knows nothing of the style sheet. */
const ICON_COLOURS: Readonly<Record<Mood, string>> = { up: "#157347", down: "#b3261e", waiting: "#8a5a00" };

/** A shape for each state, so that it is never told by colour alone. */
function icon(name: Mood, colour = "currentColor"): Markup {
  const shapes = {
    up: html`<circle class="fill" cx="8" cy="8" r="8"/><path d="m4.5 8.3 2.4 2.4 4.6-5"/>`,
    down: html`<path class="fill" d="M4.7 0h6.6L16 4.7v6.6L11.3 16H4.7L0 11.3V4.7z"/><path d="m5.2 5.2 5.6 5.6m0-5.6-5.6 5.6"/>`,
    waiting: html`<path class="fill" d="M8 0l8 8-8 8-8-8z"/><path d="M8 4.4v4.2m0 2.2v.6"/>`,
  };
  return html`<svg xmlns="http://www.w3.org/2000/svg" class="icon" viewBox="0 0 16 16" width="16" height="16" fill="${colour}" aria-hidden="true">${shapes[name]}</svg>`;
}

/** One scale for all charts of the page, so that they can be compared. */
interface Scale {
  /** Where the line is: requests stand on it, failures hang below it. */
  readonly line: number;
  readonly heightPerRequest: number;
  readonly heightPerFailure: number;
}

const CHART_HEIGHT = 56;
const MINUTE_WIDTH = 5;
const BAR_WIDTH = 4;
/** However few failures there are beside the requests, they have to be seen. */
const FAILURES_HEIGHT_MIN = 8;

function scaleOf(backends: readonly BackendSnapshot[]): Scale {
  const minutes = backends.flatMap((backend) => backend.minutes);
  const mostRequests = Math.max(1, ...minutes.map(({ requests }) => requests));
  const mostFailures = Math.max(0, ...minutes.map(({ failures }) => failures));
  const inProportion = (CHART_HEIGHT * mostFailures) / (mostRequests + mostFailures);
  const hanging = mostFailures === 0 ? 1 : Math.max(FAILURES_HEIGHT_MIN, inProportion);
  const line = CHART_HEIGHT - hanging;
  return { line, heightPerRequest: line / mostRequests, heightPerFailure: hanging / Math.max(1, mostFailures) };
}

function chart({ minutes }: BackendSnapshot, { line, heightPerRequest, heightPerFailure }: Scale): Markup {
  const bars = (heights: readonly number[]) =>
    heights
      .map((height, i) =>
        height === 0
          ? ""
          : `M${i * MINUTE_WIDTH} ${line.toFixed(1)}v${height.toFixed(1)}h${BAR_WIDTH}V${line.toFixed(1)}z`,
      )
      .join("");
  const width = minutes.length * MINUTE_WIDTH;
  return html`<figure>
<svg role="img" aria-label="${describe(minutes)}" viewBox="0 0 ${width} ${CHART_HEIGHT}" preserveAspectRatio="none">
<path class="requests" d="${bars(minutes.map(({ requests }) => -requests * heightPerRequest))}"/>
<path class="failures" d="${bars(minutes.map(({ failures }) => failures * heightPerFailure))}"/>
<path class="line" d="M0 ${line.toFixed(1)}H${width}"/></svg>
<figcaption><span>1 h ago</span><span>${legend(minutes)}</span><span>now</span></figcaption>
</figure>`;
}

function legend(minutes: readonly Minute[]): string {
  const failures = sum(minutes.map((minute) => minute.failures));
  return `${requestsIn(minutes)}${failures === 0 ? "" : `, ${count(failures)} failed`}`;
}

function requestsIn(minutes: readonly Minute[]): string {
  const requests = sum(minutes.map((minute) => minute.requests));
  return `${count(requests)} ${requests === 1 ? "request" : "requests"}`;
}

/** The chart in words. */
function describe(minutes: readonly Minute[]): string {
  const requests = minutes.map((minute) => minute.requests);
  const failures = minutes.map((minute) => minute.failures);
  if (sum(requests) === 0 && sum(failures) === 0) return "Last hour: no requests.";
  const lastFailed = minutes.length - 1 - failures.findLastIndex((failed) => failed > 0);
  const failed =
    sum(failures) === 0
      ? "none failed"
      : `${count(sum(failures))} failed, the latest ${lastFailed === 0 ? "in this minute" : `${lastFailed} min ago`}`;
  return `Last hour: ${requestsIn(minutes)}, at most ${count(Math.max(...requests))} in a minute; ${failed}.`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function count(number: number): string {
  return number.toLocaleString("en");
}

function ago(seconds: number): string {
  return seconds === 0 ? "just now" : `${duration(seconds)} ago`;
}

/** A time span in its two largest units. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes < 10 && seconds % 60 > 0 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 > 0 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 > 0 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

const STYLE = `
:root{color-scheme:light dark;--paper:#f5f6f8;--card:#fff;--ink:#14181f;--soft:#566070;--rule:#e1e5ea;--up:#157347;--down:#b3261e;--waiting:#8a5a00;--bar:#5b7fb5;--link:#1f5fbf}
@media (prefers-color-scheme:dark){:root{--paper:#0e1116;--card:#171b22;--ink:#e8ebf0;--soft:#9aa4b2;--rule:#2a303a;--up:#4cc38a;--down:#ff8078;--waiting:#e6b450;--bar:#6f95cf;--link:#8db8ff}}
*{box-sizing:border-box;margin:0}
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:64rem;margin:0 auto;padding:2rem 1rem 3rem}
.kicker{color:var(--soft);font-size:.875rem;font-weight:600}
h1{font-size:clamp(1.5rem,6vw,2.25rem);line-height:1.2;letter-spacing:-.02em;display:flex;align-items:center;gap:.6rem;margin:.25rem 0 .4rem}
h1 .icon{width:.85em;height:.85em}
h2{font-size:1.125rem;margin:2rem 0 .2rem}
h3{font:600 1.125rem/1.3 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
a{color:var(--link);text-underline-offset:.15em}
.soft{color:var(--soft);font-size:.875rem}
.note{max-width:44rem;margin-top:.9rem}
.up{--state:var(--up)}.down{--state:var(--down)}.waiting{--state:var(--waiting)}
.icon{flex:none;overflow:visible}
.icon .fill{fill:var(--state);stroke:none}
.icon path:not(.fill){fill:none;stroke:var(--card);stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.backends{list-style:none;padding:0;margin-top:.75rem;display:grid;gap:.75rem}
.backends>li{background:var(--card);border:1px solid var(--rule);border-radius:.75rem;padding:1rem 1.1rem;display:grid;gap:.9rem}
.state{display:flex;align-items:center;gap:.45rem;margin:.3rem 0 .1rem;color:var(--state)}
.facts{display:grid;gap:.3rem;font-size:.875rem;align-content:start}
.facts div{display:grid;grid-template-columns:6rem 1fr;gap:.5rem}
dt{color:var(--soft)}
dd{overflow-wrap:anywhere}
figure svg{display:block;width:100%;height:3.5rem}
.requests{fill:var(--bar)}.failures{fill:var(--down)}
.line{stroke:var(--soft);stroke-width:1;vector-effect:non-scaling-stroke}
figcaption{white-space:nowrap;display:flex;justify-content:space-between;gap:.75rem;color:var(--soft);font-size:.8125rem;margin-top:.35rem}
.tiles{margin-top:.75rem;display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.75rem}
.tiles div{background:var(--card);border:1px solid var(--rule);border-radius:.75rem;padding:.7rem 1rem;display:flex;flex-direction:column}
.tiles dt{font-size:.8125rem}
.tiles dd{font-size:1.25rem;font-weight:600}
@media (min-width:52rem){.backends>li{grid-template-columns:13rem 1fr 19rem;gap:1.5rem;padding:1.25rem 1.4rem}}
`;
