import type { Minute } from "../counters.ts";
import { html, type Markup } from "../markup.ts";
import { hourText } from "./text.ts";

/** One scale for all charts of the page, so that they can be compared. */
export interface Scale {
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

export function scaleOf(charts: readonly (readonly Minute[])[]): Scale {
  const minutes = charts.flat();
  const mostRequests = Math.max(1, ...minutes.map(({ requests }) => requests));
  const mostFailures = Math.max(0, ...minutes.map(({ failures }) => failures));
  const inProportion = (CHART_HEIGHT * mostFailures) / (mostRequests + mostFailures);
  const hanging = mostFailures === 0 ? 1 : Math.max(FAILURES_HEIGHT_MIN, inProportion);
  const line = CHART_HEIGHT - hanging;
  return { line, heightPerRequest: line / mostRequests, heightPerFailure: hanging / Math.max(1, mostFailures) };
}

/** The last hour of one backend, a bar for each minute. */
export function chart(minutes: readonly Minute[], { line, heightPerRequest, heightPerFailure }: Scale): Markup {
  const y = line.toFixed(1);
  const bars = (heights: readonly number[]) =>
    heights
      .map((height, i) => (height === 0 ? "" : `M${i * MINUTE_WIDTH} ${y}v${height.toFixed(1)}h${BAR_WIDTH}V${y}z`))
      .join("");
  const text = hourText(minutes);
  const width = minutes.length * MINUTE_WIDTH;
  return html`<figure>
<svg role="img" aria-label="Last hour: ${text}" viewBox="0 0 ${width} ${CHART_HEIGHT}" preserveAspectRatio="none">
<path d="${bars(minutes.map(({ requests }) => -requests * heightPerRequest))}"/>
<path class="down" d="${bars(minutes.map(({ failures }) => failures * heightPerFailure))}"/>
<line x2="${width}" y1="${y}" y2="${y}"/></svg>
<figcaption><span>1 h ago</span><span>${text}</span><span>now</span></figcaption>
</figure>`;
}
