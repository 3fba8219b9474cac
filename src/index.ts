import { type Config, ConfigError, parseConfig } from "./config.ts";
import { type Counters, newCounters } from "./counters.ts";
import { admit } from "./edge.ts";
import { errorResponse } from "./error-response.ts";
import { emit } from "./events.ts";
import { type Health, newHealth } from "./health/health-state.ts";
import { readWhenCold } from "./health/monitor.ts";
import { Subrequests } from "./health/subrequests.ts";
import type { HeldBodies } from "./proxy/body.ts";
import { forward } from "./proxy/forward.ts";
import { answerToClient, headersToBackend, isCacheable } from "./proxy/headers.ts";
import { ATTEMPTS_PER_CANDIDATE } from "./proxy/plan.ts";
import { clientOf, sessionCookie, shouldSetCookie } from "./selection/session.ts";
import { recordMetrics } from "./status/metrics.ts";
import { answerStatus, isStatusPath } from "./status/status.ts";

interface Env extends Readonly<Record<string, unknown>> {
  readonly METRICS?: AnalyticsEngineDataset;
}

/** These live as long as the isolate. Plain data: nothing that the runtime binds to one request. */
let parsed: { env: Env; config: Config | ConfigError } | undefined;
let isolate: { health: Health; counters: Counters } | undefined;
const heldBodies: HeldBodies = new Set();

/** What the Worker says where no backend's answer can be relayed, by status. */
const TEXTS: Readonly<Record<number, string>> = {
  400: "The request's body did not arrive whole. Send it again.",
  411: "A GET or HEAD with a body has to name its Content-Length.",
  502: "No backend could be reached. Try again soon.",
  504: "No backend answered in time. Try again soon.",
};

export default {
  async fetch(request, env, ctx) {
    const config = configOf(env);
    if (config instanceof ConfigError) {
      return errorResponse(request, 500, `The load balancer is not configured:\n${config.message}`);
    }
    const path = admit(request, config);
    if (path instanceof Response) return path;

    const startedMs = Date.now();
    isolate ??= { health: newHealth(startedMs, Math.random()), counters: newCounters(startedMs) };
    const { health, counters } = isolate;
    const invocation = {
      config,
      health,
      counters,
      ctx,
      ray: request.headers.get("CF-Ray"),
      cacheUse: { isBusy: false, isWriteDue: false },
      wake: () => {},
    };
    if (isStatusPath(path, config)) {
      return answerStatus(request, path, { ...invocation, subrequests: new Subrequests(0) });
    }

    const ip = request.headers.get("CF-Connecting-IP") ?? "";
    const client = clientOf(request.headers, ip, config);
    const isFile = isCacheable(path, request.headers);
    const context = {
      ...invocation,
      subrequests: new Subrequests(ATTEMPTS_PER_CANDIDATE * (1 + config.maxRetries)),
      request,
      path,
      headers: headersToBackend(request, ip, isFile, config),
      isCacheable: isFile,
      body: null,
      client,
    };
    const reading = readWhenCold(context, startedMs);
    if (reading) await reading;

    const result = await forward(context, heldBodies);
    const { response, chosen, status } = result;
    const nowMs = Date.now();
    if (env.METRICS) recordMetrics(env.METRICS, request, result, nowMs - startedMs);
    if (!response || !chosen) return errorResponse(request, status, TEXTS[status] ?? "");
    const { backend } = chosen;
    const isMoving = result.isBinding && shouldSetCookie(client, backend, config, health, nowMs);
    return answerToClient(response, backend, isMoving ? sessionCookie(backend, config) : undefined, config);
  },
} satisfies ExportedHandler<Env>;

/** The configuration, parsed once per isolate: the runtime passes the same `env` to every request. */
function configOf(env: Env): Config | ConfigError {
  if (parsed?.env !== env) {
    try {
      parsed = { env, config: parseConfig(env) };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      emit({ event: "bad_configuration", issues: error.issues });
      parsed = { env, config: error };
    }
  }
  return parsed.config;
}
