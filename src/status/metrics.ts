import type { ProxyResult } from "../proxy/forward.ts";

/**
 * Writes the data point of one proxied request to Analytics Engine. A request is never delayed by it (the runtime sends it
 * later) and never fails by it. Its columns are documented in src/README.md, since queries depend on their order.
 * `headersMs`: from the request to the headers of its answer.
 */
export function recordMetrics(
  dataset: AnalyticsEngineDataset,
  request: Request,
  { kind, status, backend, first, attempts }: ProxyResult,
  headersMs: number,
): void {
  if (!first) return; // No backend was asked.
  const { id, isBackup } = backend ?? first;
  const outcome = kind === "failed" ? "exhausted" : backend === first ? "ok" : "failover";
  const statusClass = `${Math.floor(status / 100)}xx`;
  try {
    dataset.writeDataPoint({
      indexes: [id],
      blobs: [outcome, first.id, request.method, statusClass, coloOf(request), isBackup ? "backup" : "primary"],
      doubles: [headersMs, attempts],
    });
  } catch {
    // A metric that is lost harms no request: too large a method, or a binding of another kind under this name.
  }
}

/** The data centre that a request came in at, by its IATA code; empty where it is not known. */
export function coloOf(request: Request): string {
  return String(request.cf?.colo ?? "");
}
