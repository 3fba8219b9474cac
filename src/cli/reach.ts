import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { connect, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import { bounded, codeOf } from "./bounded.ts";
import type { DeployedBackend } from "./deployment.ts";
import { type Line, ok, warning } from "./line.ts";
import { addressOf, failureInWords, unanswered } from "./words.ts";

const DAY_MS = 86_400_000;
/** Let's Encrypt renews 30 days before the end: with less than this left, renewal has failed more than once. */
const CERTIFICATE_DAYS_MIN = 14;

/** Whether the backend is there: its name resolves, a connection stands, and its certificate is valid. */
export async function askWhetherThere(backend: DeployedBackend, signal: AbortSignal): Promise<Line> {
  const { host, port, isTls } = addressOf(backend.origin);
  try {
    await bounded(signal, () => lookup(host));
    const validToMs = await bounded(signal, (limit) =>
      isTls ? askForCertificate(host, port, limit) : openConnection(host, port, limit),
    );
    return reachedInWords(backend, validToMs, Date.now());
  } catch (error) {
    const failure = { code: codeOf(error) };
    const { found, todo } = failureInWords(failure, backend);
    return unanswered(backend.id, failure, found, todo);
  }
}

/** What to say of a connection that stands; `validToMs` is the end of its certificate, if it has one. */
export function reachedInWords({ id, origin }: DeployedBackend, validToMs: number | undefined, nowMs: number): Line {
  const { host, port } = addressOf(origin);
  if (validToMs === undefined) return ok(id, `${host}:${port} is there (plain HTTP)`);
  const days = Math.floor((validToMs - nowMs) / DAY_MS);
  const left = `${days} more ${days === 1 ? "day" : "days"}`;
  if (days >= CERTIFICATE_DAYS_MIN) return ok(id, `${host} is there, and its certificate is valid for ${left}`);
  const end = new Date(validToMs).toISOString().slice(0, 10);
  const found = `${host} is there, but its certificate is valid for only ${left} (until ${end})`;
  return warning(id, found, `Renew the certificate on ${id}, and look why that did not happen by itself.`);
}

async function openConnection(host: string, port: number, signal: AbortSignal): Promise<undefined> {
  const socket = connect({ host, port });
  try {
    await once(socket, "connect", { signal });
  } finally {
    socket.destroy();
  }
}

/** Resolves to the end of a valid certificate, in ms since the epoch; rejects with the code of what is wrong with it. */
async function askForCertificate(host: string, port: number, signal: AbortSignal): Promise<number> {
  const socket = connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }) });
  try {
    await once(socket, "secureConnect", { signal });
    return Date.parse(socket.getPeerCertificate().valid_to);
  } finally {
    socket.destroy();
  }
}
