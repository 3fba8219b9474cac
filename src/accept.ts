/** Whether an `Accept` header prefers JSON to HTML (RFC 9110, section 12.5.1). */
export function prefersJson(accept: string | null): boolean {
  return preferenceFor("application/json", accept) > preferenceFor("text/html", accept);
}

/** Whether an `Accept` header prefers HTML to just anything, as browsers do; a player's wildcard does not. */
export function prefersHtml(accept: string | null): boolean {
  return preferenceFor("text/html", accept) > preferenceFor("*/*", accept);
}

/**
 * The weight of a media type by the range that fits it most precisely: itself, its family, anything. Among equal weights, which
 * have three decimals at most, the type that is named goes before one that only a wildcard allows, as clients that want JSON
 * tend to say "application/json, *\/*".
 */
function preferenceFor(type: string, accept: string | null): number {
  const ranges = ["*/*", type.replace(/\/.*/, "/*"), type];
  let preference = 0;
  let best = -1;
  for (const part of accept?.toLowerCase().split(",") ?? []) {
    const precision = ranges.indexOf(part.replace(/;.*/s, "").trim());
    if (precision <= best) continue;
    best = precision;
    const weight = Number(/;\s*q=([\d.]*)/.exec(part)?.[1] ?? 1);
    preference = weight > 0 ? weight + precision / 10_000 : 0;
  }
  return preference;
}
