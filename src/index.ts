import { type Config, ConfigError, parseConfig } from "./config.ts";
import { type Counters, newCounters } from "./counters.ts";
import { admit } from "./edge.ts";
import { report } from "./events.ts";
import { type Health, newHealth } from "./health/findings.ts";
import { readWhenCold } from "./health/monitor.ts";
import { Subrequests } from "./health/subrequests.ts";
import { ownAnswer } from "./own-answer.ts";
import { newHeldBodies } from "./proxy/body.ts";
import { WAITING_ATTEMPTS_MAX } from "./proxy/failover.ts";
import { answerToClient, headersToBackend } from "./proxy/headers.ts";
import { failureOf } from "./proxy/outcome.ts";
import { proxy } from "./proxy/proxy.ts";
import { clientOf, movesSession, sessionCookie } from "./selection/session.ts";
import { recordMetrics } from "./status/metrics.ts";
import { answerStatus, isStatusPath } from "./status/status.ts";

interface Env extends Readonly<Record<string, unknown>> {
  readonly METRICS?: AnalyticsEngineDataset;
}

/** These live as long as the isolate. Plain data: nothing that the runtime binds to one request. */
let parsed: { env: Env; config: Config | ConfigError } | undefined;
let isolate: { health: Health; counters: Counters } | undefined;
const heldBodies = newHeldBodies();

export default {
  async fetch(request, env, ctx) {
    const config = configOf(env);
    if (config instanceof ConfigError) return ownAnswer(500, `The load balancer is not configured:\n${config.message}`);

    const path = admit(request.url, request.method, config);
    if (path instanceof Response) return path;

    const startedMs = Date.now();
    isolate ??= { health: newHealth(startedMs), counters: newCounters(startedMs) };
    const { health, counters } = isolate;
    const ray = request.headers.get("CF-Ray");
    if (isStatusPath(path, config)) {
      return answerStatus(request, path, { config, health, counters, ctx, ray, subrequests: new Subrequests(0, 0) });
    }

    const subrequests = new Subrequests(1 + config.maxRetries, WAITING_ATTEMPTS_MAX);
    const client = clientOf(request.headers, config);
    const headers = headersToBackend(request, client.ip, config);
    const exchange = { config, health, counters, ctx, ray, subrequests, request, path, headers, body: null, client };
    const reading = readWhenCold(exchange, startedMs);
    if (reading) await reading;

    const served = await proxy(exchange, heldBodies);
    const { response, backend } = served;
    if (env.METRICS) recordMetrics(env.METRICS, request, served, Date.now() - startedMs);
    if (!backend) return response;
    const moves = !failureOf(response.status) && movesSession(client, backend, config, health);
    return answerToClient(response, backend, moves ? sessionCookie(backend, config) : undefined, config);
  },
} satisfies ExportedHandler<Env>;

/** The configuration, parsed once per isolate: the runtime passes the same `env` to every request. */
function configOf(env: Env): Config | ConfigError {
  if (parsed?.env !== env) {
    try {
      parsed = { env, config: parseConfig(env) };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      report({ event: "bad_configuration", issues: error.issues });
      parsed = { env, config: error };
    }
  }
  return parsed.config;
}
