/**
 * Loaded into a program before it starts (`node --import`), this gives it an internet of its own: the environment variable
 * SAMPLE_NAMES maps "host:port" to ports of this computer, and no other name exists.
 */
import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";

const ports = JSON.parse(process.env.SAMPLE_NAMES ?? "{}");
const hosts = new Set(Object.keys(ports).map((address) => address.replace(/:\d+$/, "")));
const isOwn = (host) => net.isIP(host) !== 0 || host === "localhost";

const { lookup } = dns.promises;
dns.promises.lookup = async (host, options) => {
  if (isOwn(host)) return lookup(host, options);
  // A public one, of those for documentation (RFC 5737): connections go by the name.
  if (hosts.has(host)) return { address: "203.0.113.7", family: 4 };
  throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: "ENOTFOUND" });
};

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  // net.connect hands on what it has already made of its arguments, as one array.
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (typeof options?.host === "string" && !isOwn(options.host)) {
    const port = ports[`${options.host}:${options.port}`];
    const isKnown = hosts.has(options.host);
    // Nothing listens on port 1.
    if (isKnown) Object.assign(options, { host: "127.0.0.1", port: port ?? 1 });
    else options.host = `${options.host.replace(/\.$/, "")}.invalid`;
  }
  return connect.apply(this, args);
};

syncBuiltinESMExports();
