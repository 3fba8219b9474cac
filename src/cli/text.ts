import type { Failure } from "./ask.ts";
import type { DeployedBackend } from "./deployment.ts";
import { broken, type Line, skipped, wrong } from "./line.ts";

/** What was found, and what to do about it. */
export interface FailureText {
  readonly found: string;
  readonly todo: string;
}

/** Host and port of an origin; the port is the scheme's own when the origin names none. */
export function addressOf(origin: string): { host: string; port: number; isTls: boolean } {
  const { hostname, port, protocol } = new URL(origin);
  const isTls = protocol === "https:";
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) || (isTls ? 443 : 80), isTls };
}

/** A list as a sentence has it: `cf, koyeb and duck`. */
export function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Text of another machine, fit for a terminal: one line of plain characters, not too long. */
export function plain(text: string): string {
  return text.slice(0, 100).replace(/[^ -~]/g, "?");
}

/** The same in quotes. */
export function quoted(text: string): string {
  return `"${plain(text)}"`;
}

/** A question that got no answer: a fault, unless it was interrupted. */
export function unanswered(about: string | undefined, { code }: Failure, found: string, todo: string): Line {
  if (code === "INTERRUPTED") return skipped(about, "not answered when you interrupted");
  return about === undefined ? wrong(about, found, todo) : broken(about, found, todo);
}

/** The variable that holds a backend's own request headers. */
export function headersVariable({ variable }: Pick<DeployedBackend, "variable">): string {
  return variable.replace(/^BACKEND_/, "HEADERS_");
}

/** Why a backend did not answer, by Node's error code, and what to do about it. */
export function failureText(
  { code }: Failure,
  { origin, variable, id }: Pick<DeployedBackend, "origin" | "variable" | "id">,
): FailureText {
  const { host, port, isTls } = addressOf(origin);
  const correct = `correct ${variable} in wrangler.toml`;
  switch (code) {
    case "ENOTFOUND":
    case "ENODATA":
      return {
        found: `the name ${host} does not exist`,
        todo: `Create it in your DNS (or start the dynamic DNS client on ${id}), or ${correct}.`,
      };
    case "EAI_AGAIN":
      return {
        found: `the name ${host} could not be looked up, since no name server answered`,
        todo: "Check this computer's own connection, then run this again.",
      };
    case "ECONNREFUSED":
      return {
        found: `${host} refuses connections on port ${port}: nothing listens there`,
        todo: `Start AIOStreams (and the proxy in front of it) on ${id}, or ${correct}.`,
      };
    case "TIMEOUT":
    case "ETIMEDOUT":
    case "UND_ERR_CONNECT_TIMEOUT":
    case "UND_ERR_HEADERS_TIMEOUT":
    case "UND_ERR_BODY_TIMEOUT":
      return {
        found: `${host} does not answer on port ${port} within 10 s`,
        todo: `Look whether ${id} hangs, sleeps or is behind a firewall. If it only sleeps, it may be awake when you run this again.`,
      };
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "EADDRNOTAVAIL":
      return {
        found: `there is no way to ${host} from here (${code})`,
        todo: `Look whether ${id} is switched on and online, and whether ${variable} names the right host.`,
      };
    case "ECONNRESET":
    case "EPIPE":
    case "UND_ERR_SOCKET":
      return {
        found: `${host} breaks the connection on port ${port} instead of answering`,
        todo: `Look into the log of AIOStreams and of the proxy in front of it on ${id}; it may be restarting.`,
      };
    case "TOO_LARGE":
      return { found: "it sent more than 4 MiB, so the answer was not read", todo: `Look what ${host} serves there.` };
    default:
      if (isTls && isTlsCode(code)) return tlsText(code, host, port, { variable, id });
      return {
        found: `${host} could not be asked (${code})`,
        todo: `Look whether ${variable} names the right host and port.`,
      };
  }
}

function isTlsCode(code: string): boolean {
  return /CERT|SSL|TLS|SIGNATURE|EPROTO|HOSTNAME_MISMATCH|CRL/.test(code);
}

/** Why there is no TLS connection, or none that can be trusted. */
function tlsText(
  code: string,
  host: string,
  port: number,
  { variable, id }: { variable: string; id: string },
): FailureText {
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return {
        found: "its certificate has expired",
        todo: `Renew the certificate on ${id}, and look why that did not happen by itself.`,
      };
    case "CERT_NOT_YET_VALID":
      return { found: "its certificate is not valid yet", todo: `Check the clocks of ${id} and of this computer.` };
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
      return {
        found: "its certificate is self-signed, so it does not prove that this is the right backend",
        todo: `Get a certificate that browsers accept on ${id}, for example from Let's Encrypt.`,
      };
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
      return {
        found: "its certificate comes from an issuer that is not trusted, or the intermediate certificate is missing",
        todo: `Let ${id} send the whole chain (fullchain.pem), or get a certificate that browsers accept.`,
      };
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "HOSTNAME_MISMATCH":
      return {
        found: `its certificate is for another name than ${host}`,
        todo: `Get a certificate for ${host} on ${id}, or correct ${variable} in wrangler.toml.`,
      };
    default:
      if (/CERT/.test(code))
        return {
          found: `its certificate is not valid (${code})`,
          todo: `Get a certificate that browsers accept on ${id}.`,
        };
      return {
        found: `it does not speak TLS on port ${port}`,
        todo: `If it is plain HTTP, write ${variable} = "http://${host}${port === 443 ? "" : `:${port}`}" in wrangler.toml; else mend TLS on ${id}.`,
      };
  }
}
