import { MINUTE_MS, type Minute } from "../counters.ts";
import { html, type Markup } from "../markup.ts";

export type Scale = Pick<Minute, "requests" | "failures">;

/** The most that one of the minutes of all charts has: they have one scale, so that they can be compared. */
export function scaleOf(minutes: readonly Minute[]): Scale {
  return {
    requests: Math.max(1, ...minutes.map(({ requests }) => requests)),
    failures: Math.max(0, ...minutes.map(({ failures }) => failures)),
  };
}

/**
 * The last hour of one backend, a bar for each minute: requests stand on the line, failures hang below it. For those who cannot
 * see it the facts of the backend sum it up.
 */
export function chart(minutes: readonly Minute[], most: Scale, nowMs: number): Markup {
  const bars = (heightOf: (minute: Minute) => number) =>
    minutes.map((minute) => `M${Math.ceil((minute.startMs - nowMs) / MINUTE_MS)} 0v${heightOf(minute)}`).join("");
  const height = most.requests + most.failures;
  // However few failures there are beside the requests, they have to be seen.
  const failureHeight = ({ failures }: Minute) => failures && Math.max(failures, height / 14);
  return html`<svg aria-hidden="true" viewBox="-59.5 -${most.requests} 60 ${height}" preserveAspectRatio="none">
<path d="M-60 0H1${bars(({ requests }) => -requests)}"/>
<path class="down" d="${bars(failureHeight)}"/></svg>`;
}
