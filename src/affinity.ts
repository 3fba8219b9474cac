/**
 * The value of the first cookie of exactly this name in a `Cookie` header (RFC 6265, section 5.4), or `undefined`.
 * The value is returned as it stands, never decoded: whatever a client forged, it can only fail to name a backend.
 */
export function readCookie(header: string, name: string): string | undefined {
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals !== -1 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
}

/** The `Set-Cookie` value that binds a client to a backend for `ttlSeconds` (RFC 6265, section 4.1). */
export function sessionCookie(name: string, backendId: string, ttlSeconds: number): string {
  return `${name}=${backendId}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=${ttlSeconds}`;
}
