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

/** Whether an `Accept` header names HTML, as browsers do; a player's wildcard does not. */
export function prefersHtml(accept: string): boolean {
  const { weight, precision } = preferenceFor("text/html", accept);
  return weight > 0 && precision > 0;
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
