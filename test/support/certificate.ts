import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

const DAY_MS = 86_400_000;

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

interface Subject {
  readonly name: string;
  /** The host names that it is for; an authority has none. */
  readonly hosts: readonly string[];
  readonly publicKey: KeyObject;
  readonly days: number;
}

/** Signs certificates for tests; a client trusts them when it is given `cert`. */
export class Authority {
  readonly #name: string;
  readonly #keys = newKeys();
  readonly cert: string;

  constructor(name = "Test authority") {
    this.#name = name;
    this.cert = sign509({ name, hosts: [], publicKey: this.#keys.publicKey, days: 365 }, name, this.#keys.privateKey);
  }

  /** A certificate for these hosts, which is valid from a year ago to this many days from now. */
  issue(hosts: readonly string[], days = 90): Certificate {
    const { publicKey, privateKey } = newKeys();
    const subject = { name: hosts[0] ?? "", hosts, publicKey, days };
    return { cert: sign509(subject, this.#name, this.#keys.privateKey), key: pem(privateKey) };
  }
}

/** A certificate that vouches for itself. */
export function selfSigned(host: string): Certificate {
  const { publicKey, privateKey } = newKeys();
  const subject = { name: host, hosts: [host], publicKey, days: 90 };
  return { cert: sign509(subject, host, privateKey), key: pem(privateKey) };
}

function newKeys() {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function pem(key: KeyObject): string {
  return String(key.export({ type: "pkcs8", format: "pem" }));
}

/** X.509 (RFC 5280) in DER: Node reads certificates, but makes none, and not every machine has openssl. */
function sign509(subject: Subject, issuer: string, issuerKey: KeyObject): string {
  const isAuthority = subject.hosts.length === 0;
  const algorithm = sequence(oid("2a8648ce3d040302")); // ecdsa-with-SHA256
  const extension = isAuthority
    ? sequence(oid("551d13"), der(0x01, Buffer.from([0xff])), octets(sequence(der(0x01, Buffer.from([0xff]))))) // a CA
    : sequence(oid("551d11"), octets(sequence(...subject.hosts.map((host) => der(0x82, Buffer.from(host)))))); // its names
  const nowMs = Date.now();
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])), // its number
    algorithm,
    nameOf(issuer),
    sequence(time(nowMs - 365 * DAY_MS), time(nowMs + subject.days * DAY_MS)),
    nameOf(subject.name),
    subject.publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(extension)),
  );
  const signature = sign("sha256", body, issuerKey);
  const bytes = sequence(body, algorithm, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = bytes.toString("base64").replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function octets(content: Buffer): Buffer {
  return der(0x04, content);
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function nameOf(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(commonName)))));
}

function time(ms: number): Buffer {
  return der(0x18, Buffer.from(new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "")));
}
