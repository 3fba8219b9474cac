import { isIP } from "node:net";
import { parseOrigin } from "../config-values.ts";

/** The address of a value, without the options that may follow it. */
export function addressOf(value: unknown): string {
  const [address = ""] = String(value ?? "")
    .trim()
    .split(/\s/);
  return address;
}

/** Whether a value begins with an address, whatever follows it. */
export function isAddress(value: unknown): value is string {
  return typeof value === "string" && parseOrigin(addressOf(value)) !== undefined;
}

/** Whether a value holds a request header, `Name: value`, which is a secret and is not to be shown. */
export function isLikeHeader(value: unknown): boolean {
  return /(^|\s)(?!https?:)[\w-]+:(\s|$)/im.test(String(value ?? ""));
}

/** RFC 2606 keeps these names for examples: no backend is there. */
export function isExample(address: string): boolean {
  return /(^|[./@])example(\.(com|net|org))?\.?(:\d+)?\/?$/i.test(address);
}

/** What of an address may be shown: a value that is wrong may hold credentials, or a user's path. */
export function hostOf(address: string): string {
  return address
    .replace(/^\w+:\/\//, "")
    .replace(/^.*@/, "")
    .replace(/[/?#].*$/, "");
}

/** Names that are never in the public DNS: RFC 6761 and 6762, RFC 8375, what routers use, and any name without a dot. */
const LOCAL_NAME = /^[^.]+$|\.(localhost|local|localdomain|lan|home|internal|home\.arpa)$/;

/** Why Cloudflare cannot reach an address, whatever runs there; `undefined` when it can, or when that is no address. */
export function whyUnreachable(address: string): string | undefined {
  const host = parseOrigin(address)?.hostname.replace(/^\[|\]$/g, "");
  if (host === undefined) return undefined;
  if (isIP(host)) return `is an IP address (${host}), and Cloudflare reaches host names alone (its error 1003)`;
  return LOCAL_NAME.test(host) ? `is a name of your own network (${host}), which Cloudflare cannot look up` : undefined;
}
