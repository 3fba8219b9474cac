/** What is worth a line: a change of health, a failure that a client could notice, and a configuration that cannot work. */
export type LogEvent =
  | { event: "ejected"; backend: string; reason: string; status?: number; attempt: number; ray: string | null }
  | { event: "back"; backend: string; reason: string; ray: string | null }
  | { event: "failover"; backend: string; reason: string; status?: number; attempt: number; ray: string | null }
  | { event: "exhausted"; backend: string; reason: string; status?: number; attempt: number; ray: string | null }
  | { event: "bad_configuration"; faults: readonly { variable: string; allowed: string; found: unknown }[] };

/** Writes one line of JSON. The path holds the user's secret, so there is no field that could carry a URL, a header or a body. */
export function log(event: LogEvent): void {
  console.log(JSON.stringify(event));
}
