import { html, type Markup, pageOf } from "../markup.ts";
import { chart, type Scale, scaleOf } from "./chart.ts";
import { duration, type Facts, factsOf, stateText, summaryOf, toneOf } from "./text.ts";
import type { BackendSnapshot, Snapshot } from "./types.ts";

/** A sign for each state, so that it is never told by colour alone. */
const SIGNS: Readonly<Record<BackendSnapshot["state"], string>> = { up: "✓", down: "×", suspect: "!", unknown: "?" };

/**
 * The status page: one document without scripts or other files. `nonce` allows its style sheet, and nothing else, under its
 * Content-Security-Policy.
 */
export function statusPage(snapshot: Snapshot, nonce: string, isPaused: boolean): string {
  const { backends, isolate, nowMs } = snapshot;
  const { startedMs, dataCentre, ...counts } = isolate;
  const summary = summaryOf(snapshot);
  const tone = toneOf(snapshot);
  const scale = scaleOf(backends.flatMap(({ minutes }) => minutes));
  const content = html`<header>
<h1 class="${tone}">${SIGNS[tone]} ${summary}</h1>
<p>${isPaused ? html`<a href="?">Go on refreshing</a>` : html`<a href="?refresh=off">Pause refreshing</a>`} · <a href="?format=json">JSON</a></p>
<p>Requests per minute; failed ones hang below the line.</p>
</header>
<main>${backends.map((backend) => cardOf(backend, scale, nowMs))}
<section>
<h2>This isolate</h2>
One of many, each of which counts for itself.
${list({
  "running for": duration(nowMs - startedMs),
  "data centre": dataCentre || "unknown",
  ...counts,
})}
</section>
</main>`;
  return pageOf(summary, content, STYLE, nonce);
}

function cardOf(backend: BackendSnapshot, scale: Scale, nowMs: number): Markup {
  const tone = backend.worksAllTheSame ? "suspect" : backend.state;
  return html`
<section>
<h2 class="${tone}">${SIGNS[tone]} ${backend.id}: ${stateText(backend, nowMs)}</h2>
${chart(backend.minutes, scale, nowMs)}
${list(factsOf(backend, nowMs))}
</section>`;
}

function list(facts: Facts): Markup {
  const known = Object.entries(facts).map(([name, fact]) =>
    fact === undefined ? html`` : html`<dt>${name}</dt><dd>${fact}</dd>`,
  );
  return html`<dl>${known}</dl>`;
}

/** Its colours can be read on white and on black in letters as large as a heading's, so light and dark share them. */
const STYLE = html`*{margin:0}
.up{color:seagreen}
.down{color:indianred}
.suspect{color:chocolate}
main{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1rem;margin-top:1rem}
h2{font-size:1.2rem}
section{border:1px solid #8886;border-radius:.5rem;padding:1rem}
svg{width:100%;height:4rem;margin-top:1rem;color:steelblue}
path{stroke:currentColor;stroke-width:3;vector-effect:non-scaling-stroke}
dt{margin-top:.5rem;font-size:.75rem;text-transform:uppercase;opacity:.75}
`;
