import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { BlockList, connect, isIP, isIPv6 } from "node:net";
import { connect as connectTls } from "node:tls";
import { bounded, codeOf } from "./bounded.ts";
import type { DeployedBackend } from "./deployment.ts";
import { broken, type Line, ok, warning, wrong } from "./line.ts";
import { addressOf, failureText, unanswered } from "./text.ts";

const DAY_MS = 86_400_000;
/** Let's Encrypt renews 30 days before the end: with less than this left, renewal has failed more than once. */
const CERTIFICATE_DAYS_MIN = 14;

/** Addresses that only a computer or network itself can reach (RFC 6890). */
const PRIVATE = new BlockList();
for (const subnet of ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"]) add(subnet);
for (const subnet of ["172.16.0.0/12", "192.168.0.0/16", "::/127", "fc00::/7", "fe80::/10"]) add(subnet);

function add(subnet: string): void {
  const [network = "", bits] = subnet.split("/");
  PRIVATE.addSubnet(network, Number(bits), familyOf(network));
}

/** How far a connection to a backend came. */
export interface Reach {
  /** The IP address of its name, if it has one. */
  readonly address?: string;
  /** The end of its certificate in ms since the epoch, if it has one. */
  readonly validToMs?: number;
  /** Node's code for what went wrong, if something did. */
  readonly code?: string;
}

/** Looks a backend's name up, connects to it, and has its certificate verified. */
export async function reach({ origin }: DeployedBackend, signal: AbortSignal, patienceMs?: number): Promise<Reach> {
  const { host, port, isTls } = addressOf(origin);
  let address: string | undefined;
  try {
    ({ address } = await bounded(signal, () => lookup(host), patienceMs));
    const connection = (limit: AbortSignal) =>
      isTls ? askForCertificate(host, port, limit) : openConnection(host, port, limit);
    const validToMs = await bounded(signal, connection, patienceMs);
    return { address, ...(validToMs !== undefined && { validToMs }) };
  } catch (error) {
    return { code: codeOf(error), ...(address !== undefined && { address }) };
  }
}

/** Whether only this computer or its network can reach an address; of a name, that is known for `localhost` alone. */
export function isPrivate(host: string): boolean {
  return host === "localhost" || (isIP(host) !== 0 && PRIVATE.check(host, familyOf(host)));
}

/** What to say of a connection. `isPrivateFine`: that its address is private is right, or known already. */
export function judgeReach(
  backend: DeployedBackend,
  { address, validToMs, code }: Reach,
  nowMs: number,
  isPrivateFine = false,
): Line {
  const { id, origin, variable } = backend;
  const { host, port } = addressOf(origin);
  if (address !== undefined && isPrivate(address) && code !== "INTERRUPTED" && !isPrivateFine) {
    const found = `${host} is at ${address}, a local or private address, which Cloudflare cannot reach`;
    const todo = `Let the name lead to the public address of ${id}, or put a tunnel (such as cloudflared) in front of it and name that in ${variable}. If only your own network looks it up like this, run the doctor outside of it.`;
    return code === undefined ? wrong(id, found, todo) : broken(id, found, todo);
  }
  if (code !== undefined) {
    const { found, todo } = failureText({ code }, backend);
    return unanswered(id, { code }, found, todo);
  }
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

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv6(address) ? "ipv6" : "ipv4";
}
