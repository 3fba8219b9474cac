import { readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "certificates");

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

/** The authority of all but `untrusted` and `self-signed`; a client trusts them when it is given this file. */
export const AUTHORITY = join(FOLDER, "authority.pem");

/**
 * One of the certificates that were made once, for localhost and the hosts of films.test, and last for a hundred years:
 * Node reads certificates, but makes none. They share one key, which is of no use outside of the tests.
 */
export function certificate(name: "valid" | "expired" | "misnamed" | "untrusted" | "self-signed"): Certificate {
  return {
    cert: readFileSync(join(FOLDER, `${name}.pem`), "utf8"),
    key: readFileSync(join(FOLDER, "key.pem"), "utf8"),
  };
}
