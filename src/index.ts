import { readCookie } from "./affinity.ts";
import { type Config, ConfigError, parseConfig } from "./config.ts";
import { type Counters, newCounters } from "./counters.ts";
import { admit } from "./edge.ts";
import { answerToClient, ownAnswer } from "./headers.ts";
import type { Health } from "./health.ts";
import { log } from "./log.ts";
import { recordMetrics } from "./metrics.ts";
import { proxy } from "./proxy.ts";
import type { Client } from "./selection.ts";
import { answerStatus, isStatusPath, newLook } from "./status.ts";

interface Env extends Readonly<Record<string, unknown>> {
  readonly METRICS?: AnalyticsEngineDataset;
}

/** These live as long as the isolate, and are known to no other. */
const health: Health = new Map();
const look = newLook();
let counters: Counters | undefined;
let parsed: { env: Env; config: Config | ConfigError } | undefined;

export default {
  async fetch(request, env, ctx) {
    const config = configOf(env);
    if (config instanceof ConfigError) return ownAnswer(500, `The load balancer is not configured:\n${config.message}`);

    const path = admit(request.url, request.method, config);
    if (path instanceof Response) return path;

    const startedMs = Date.now();
    counters ??= newCounters(startedMs);
    if (isStatusPath(path, config)) return answerStatus(request, path, { config, health, counters, look });

    const client = clientOf(request, config);
    const served = await proxy({ request, path, client, config, health, counters, ctx });
    const { response, backend } = served;
    if (env.METRICS) recordMetrics(env.METRICS, request, served, Date.now() - startedMs);
    return backend ? answerToClient(response, backend, client, config) : response;
  },
} satisfies ExportedHandler<Env>;

/** The configuration, parsed once per isolate: the runtime passes the same `env` to every request. */
function configOf(env: Env): Config | ConfigError {
  if (parsed?.env !== env) {
    try {
      parsed = { env, config: parseConfig(env) };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      log({ event: "bad_configuration", faults: error.faults });
      parsed = { env, config: error };
    }
  }
  return parsed.config;
}

/** Who asks: the backend that the session cookie names, and the address that Cloudflare vouches for. */
function clientOf(request: Request, config: Config): Client {
  const cookies = config.stickySessions ? request.headers.get("Cookie") : null;
  const id = cookies === null ? undefined : readCookie(cookies, config.sessionCookieName);
  return {
    bound: id === undefined ? undefined : config.backends.find((backend) => backend.id === id),
    ip: request.headers.get("CF-Connecting-IP") ?? "",
  };
}
