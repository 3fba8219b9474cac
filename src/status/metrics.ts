import type { Served } from "../proxy/exchange.ts";
import { failureOf } from "../proxy/outcome.ts";

/**
 * Writes the data point of one proxied request to Analytics Engine. A request is never delayed by it (the runtime sends it
 * later) and never fails by it. Its columns are documented in the README, since queries depend on their order.
 */
export function recordMetrics(
  dataset: AnalyticsEngineDataset,
  request: Request,
  served: Served,
  headersMs: number,
): void {
  const { response, backend, first, attempts } = served;
  if (!first) return; // No backend was asked.
  const { id, isBackup } = backend ?? first;
  const exhausted = !backend || failureOf(response.status);
  const outcome = exhausted ? "exhausted" : backend === first ? "ok" : "failover";
  const statusClass = `${Math.floor(response.status / 100)}xx`;
  try {
    dataset.writeDataPoint({
      indexes: [id],
      blobs: [outcome, first.id, request.method, statusClass, coloOf(request), isBackup ? "backup" : "primary"],
      doubles: [headersMs, attempts],
    });
  } catch {
    // A metric that is lost harms nobody: too large a method, or a binding of another kind under this name.
  }
}

/** The data centre that a request came in at, by its IATA code; empty where it is not known. */
export function coloOf(request: Request): string {
  const colo = request.cf?.colo;
  return typeof colo === "string" ? colo : "";
}
