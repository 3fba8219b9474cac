import { chart, type Scale, scaleOf } from "./chart.ts";
import { html, Markup, NOTHING } from "./markup.ts";
import type { BackendSnapshot, Snapshot } from "./snapshot.ts";
import {
  checkText,
  count,
  duration,
  ejectionText,
  lastFailureText,
  stateDetail,
  stateWord,
  summaryOf,
} from "./words.ts";

/** How the page is made, apart from what it shows. */
export interface PageOptions {
  /** Allows the page's own style sheet, and nothing else, under its Content-Security-Policy. */
  readonly nonce: string;
  /** How often the page asks for itself again; `undefined` while that is paused. */
  readonly refreshSeconds: number | undefined;
}

type Mood = "up" | "down" | "waiting" | "asleep";

/** The status page: one document without scripts or other files. */
export function statusPage(snapshot: Snapshot, { nonce, refreshSeconds }: PageOptions): string {
  const { backends, isolate } = snapshot;
  const summary = summaryOf(snapshot);
  const mood = moodOf(snapshot);
  const scale = scaleOf(backends.map(({ minutes }) => minutes));
  const areWeighted = backends.some(({ weight }) => weight !== backends[0]?.weight);
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
<ul class="backends">${backends.map((backend) => backendCard(backend, areWeighted, scale))}</ul>
</section>
<section aria-labelledby="isolate">
<h2 id="isolate">This isolate</h2>
<dl class="tiles">
${fact("Requests", count(isolate.requests))}${fact("Failovers", count(isolate.failovers))}${fact("Ejections", count(isolate.ejections))}${fact("WebSockets", count(isolate.webSockets))}${fact("Data centre", isolate.dataCentre || "unknown")}${fact("Running for", duration(isolate.ageSeconds))}
</dl>
<p class="soft note">Cloudflare runs many copies of the Worker, called isolates, in many data centres. Each has its own numbers and
forgets them when it is replaced, so the next look may show those of another. ${
    isolate.sharesFindings
      ? "What a check finds is shared by the isolates of a data centre."
      : "What a check finds is not shared either, since SHARE_HEALTH is off."
  }</p>
</section>
</main>
</body>
</html>
`.text;
}

function moodOf({ answering, backends }: Snapshot): Mood {
  if (answering === 0) return "down";
  return backends.every(({ state, backup }) => state === "up" || backup === "asleep") ? "up" : "waiting";
}

function backendCard(backend: BackendSnapshot, isWeighted: boolean, scale: Scale): Markup {
  const { id, weight, minutes, ejectedFor } = backend;
  const mood = backendMoodOf(backend);
  return html`
<li class="${mood}">
<div class="who"><h3>${id}</h3>
<p class="state">${icon(mood)}<b>${stateWord(backend)}</b></p>
<p class="soft">${stateDetail(backend)}</p></div>
<dl class="facts">
${ejectedFor ? fact("Why", ejectionText(backend)) : NOTHING}
${fact("Last check", checkText(backend))}
${fact("Last failure", lastFailureText(backend))}
${isWeighted ? fact("Weight", count(weight)) : NOTHING}
</dl>
${chart(minutes, scale)}
</li>`;
}

function backendMoodOf({ state, backup }: BackendSnapshot): Mood {
  if (state === "down") return "down";
  if (backup === "asleep") return "asleep";
  return state === "up" ? "up" : "waiting";
}

function fact(name: string, value: string): Markup {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

/** The browser's tab knows nothing of the style sheet. */
const ICON_COLOURS: Readonly<Record<Mood, string>> = {
  up: "#157347",
  down: "#b3261e",
  waiting: "#8a5a00",
  asleep: "#566070",
};

/** A shape for each state, so that it is never told by colour alone. */
function icon(mood: Mood, colour = "currentColor"): Markup {
  const shapes = {
    up: html`<circle class="fill" cx="8" cy="8" r="8"/><path d="m4.5 8.3 2.4 2.4 4.6-5"/>`,
    down: html`<path class="fill" d="M4.7 0h6.6L16 4.7v6.6L11.3 16H4.7L0 11.3V4.7z"/><path d="m5.2 5.2 5.6 5.6m0-5.6-5.6 5.6"/>`,
    waiting: html`<path class="fill" d="M8 0l8 8-8 8-8-8z"/><path d="M8 4.4v4.2m0 2.2v.6"/>`,
    asleep: html`<path class="fill" d="M7 0a8 8 0 1 0 9 10A7 7 0 0 1 7 0z"/>`,
  };
  return html`<svg xmlns="http://www.w3.org/2000/svg" class="icon" viewBox="0 0 16 16" width="16" height="16" fill="${colour}" aria-hidden="true">${shapes[mood]}</svg>`;
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
.up{--state:var(--up)}.down{--state:var(--down)}.waiting{--state:var(--waiting)}.asleep{--state:var(--soft)}
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
