import type { Minute } from "../counters.ts";
import { html, type Markup, pageOf } from "../markup.ts";
import { chart, scaleOf } from "./chart.ts";
import {
  checkText,
  count,
  duration,
  ejectionText,
  isUpFor,
  lastFailureText,
  stateDetail,
  stateWord,
  summaryOf,
} from "./text.ts";
import type { BackendSnapshot, Snapshot } from "./types.ts";

/** How the page is made, apart from what it shows. */
export interface PageOptions {
  /** Allows the page's own style sheet, and nothing else, under its Content-Security-Policy. */
  readonly nonce: string;
  /** How often the page asks for itself again; `undefined` while that is paused. */
  readonly refreshSeconds: number | undefined;
}

type Tone = "up" | "down" | "waiting" | "standby";

/** A sign for each state, so that it is never told by colour alone. */
const SIGNS: Readonly<Record<Tone, string>> = { up: "✓", down: "×", waiting: "!", standby: "–" };

/** The status page: one document without scripts or other files. */
export function statusPage(snapshot: Snapshot, { nonce, refreshSeconds }: PageOptions): string {
  const { backends, isolate } = snapshot;
  const summary = summaryOf(snapshot);
  const tone = toneOf(snapshot);
  const scale = scaleOf(backends.flatMap(({ minutes }) => minutes));
  const content = html`<header>
<h1 class="${tone}">${sign(tone)}${summary}</h1>
<p>${
    refreshSeconds === undefined
      ? html`Paused. <a href="?">Go on</a>`
      : html`Refreshes every ${refreshSeconds} s. <a href="?refresh=off">Pause</a>`
  } · <a href="?format=json">JSON</a></p>
</header>
<main>
<h2>Backends</h2>
<p>Requests per minute; failed ones hang below the line.</p>
<ul>${backends.map((backend) => backendCard(backend, scale))}</ul>
<h2>This isolate</h2>
<dl>${facts({
    Requests: count(isolate.requests),
    Failovers: count(isolate.failovers),
    Ejections: count(isolate.ejections),
    WebSockets: count(isolate.webSockets),
    "Data centre": isolate.dataCentre || "unknown",
    "Running for": duration(isolate.ageSeconds),
  })}</dl>
<p>One of many copies of the Worker, each of which counts for itself. Results are ${
    isolate.sharesResults ? "shared within a data centre" : "not shared: SHARE_HEALTH is off"
  }.</p>
</main>`;
  return pageOf(`${summary} · load balancer`, content, STYLE, nonce);
}

/** The worst that holds; a backup on standby is as it should be. */
function toneOf({ answering, backends }: Snapshot): Tone {
  if (answering === 0) return "down";
  return backends.every(isUpFor) ? "up" : "waiting";
}

function backendToneOf({ state, backup, worksAllTheSame }: BackendSnapshot): Tone {
  if (state === "down" && !worksAllTheSame) return state;
  if (backup === "standby") return backup;
  return state === "up" ? state : "waiting";
}

function backendCard(backend: BackendSnapshot, scale: Minute): Markup {
  const tone = backendToneOf(backend);
  return html`
<li><div><h3>${backend.id}</h3>
<b class="${tone}">${sign(tone)}${stateWord(backend)}</b>
<p>${stateDetail(backend)}</p></div>
<dl>${facts({
    Why: backend.ejectedFor && ejectionText(backend.ejectedFor),
    "Last check": checkText(backend),
    "Last failure": lastFailureText(backend),
    Weight: backend.weight === 1 ? null : count(backend.weight),
  })}</dl>
${chart(backend.minutes, scale)}
</li>`;
}

function sign(tone: Tone): Markup {
  return html`<i aria-hidden="true">${SIGNS[tone]}</i>`;
}

/** Names and what is known of them; `null` where that is nothing to show. */
function facts(known: Readonly<Record<string, string | null>>): Markup[] {
  return Object.entries(known).flatMap(([name, value]) =>
    value === null ? [] : html`<div><dt>${name}</dt><dd>${value}</dd></div>`,
  );
}

const STYLE = html`.up{--tone:light-dark(#157347,#4cc38a)}
.down{--tone:light-dark(#b3261e,#ff8078)}
.waiting{--tone:light-dark(#8a5a00,#e6b450)}
.standby{--tone:light-dark(#555,#aaa)}
*{margin:0;padding:0}
h2{margin-top:2rem}
b{color:var(--tone)}
i{display:inline-block;width:1.5em;margin-right:.4em;border-radius:1em;background:var(--tone);color:Canvas;font-size:.8em;text-align:center}
p,dl,figcaption{font-size:.9rem}
p,dt,figcaption,line{opacity:.75}
ul,dl,li{display:grid;gap:.75rem}
ul,main>dl{margin:.75rem 0}
li,main>dl>div{border:1px solid #8886;border-radius:.75rem;padding:1rem}
main>dl{grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr))}
li dl{gap:.3rem;align-content:start}
li dl div{display:grid;grid-template-columns:6rem 1fr}
svg{display:block;width:100%;height:3.5rem;overflow:visible}
path{fill:#5b7fb5}
path.down{fill:var(--tone)}
line{stroke:CanvasText;vector-effect:non-scaling-stroke}
figcaption{display:flex;justify-content:space-between}
@media(min-width:52rem){li{grid-template-columns:13rem 1fr 19rem}}
`;
