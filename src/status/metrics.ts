import type { ProxyResult } from "../proxy/forward.ts";

/**
 * Writes the data point of one proxied request to Analytics Engine. A request is never delayed by it (the runtime sends it
 * later) and never fails by it. Its columns are documented in src/README.md, since queries depend on their order.
 * `headersMs`: from the request to the headers of its answer.
 */
export function recordMetrics(
  dataset: AnalyticsEngineDataset,
  request: Request,
  { status, attempts, chosen }: ProxyResult,
  headersMs: number,
): void {
  const [first] = attempts;
  if (!first) return; // No backend was asked.
  const { backend, outcome } = chosen ?? first;
  const isServed = chosen !== undefined && outcome?.kind !== "failed";
  const result = !isServed ? "exhausted" : backend === first.backend ? "ok" : "failover";
  const role = backend.isBackup ? "backup" : "primary";
  const statusClass = `${Math.floor(status / 100)}xx`;
  try {
    dataset.writeDataPoint({
      indexes: [backend.id],
      blobs: [result, first.backend.id, request.method, statusClass, coloOf(request), role],
      doubles: [headersMs, attempts.length],
    });
  } catch {
    // A metric that is lost harms no request: too large a method, or a binding of another kind under this name.
  }
}

/** The data centre that a request came in at, by its IATA code; empty where it is not known. */
export function coloOf(request: Request): string {
  return String(request.cf?.colo ?? "");
}
