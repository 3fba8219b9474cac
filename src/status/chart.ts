import type { Minute } from "../counters.ts";
import { html, type Markup } from "../markup.ts";
import { hourText } from "./text.ts";

/** The most that one of the minutes of all charts has: they have one scale, so that they can be compared. */
export function scaleOf(minutes: readonly Minute[]): Minute {
  return {
    requests: Math.max(1, ...minutes.map(({ requests }) => requests)),
    failures: Math.max(0, ...minutes.map(({ failures }) => failures)),
  };
}

/** The last hour of one backend, a bar for each minute: requests stand on the line, failures hang below it. */
export function chart(minutes: readonly Minute[], most: Minute): Markup {
  const bars = (heights: readonly number[]) =>
    heights.map((height, i) => (height === 0 ? "" : `M${i} 0v${height}h.8V0z`)).join("");
  const text = hourText(minutes);
  const height = most.requests + most.failures;
  // However few failures there are beside the requests, they have to be seen.
  const failures = minutes.map(({ failures }) => failures && Math.max(failures, Math.ceil(height / 14)));
  return html`<figure>
<svg role="img" aria-label="Last hour: ${text}" viewBox="0 -${most.requests} ${minutes.length} ${height}" preserveAspectRatio="none">
<path d="${bars(minutes.map(({ requests }) => -requests))}"/>
<path class="down" d="${bars(failures)}"/>
<line x2="${minutes.length}"/></svg>
<figcaption><span>1 h ago</span><span>${text}</span><span>now</span></figcaption>
</figure>`;
}
