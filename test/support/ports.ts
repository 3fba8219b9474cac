import { createServer } from "node:net";

export const PORT_MAX = 65_535;

/** Whether a port of localhost is free, by IPv4 and IPv6: a browser may try either. */
export async function isFree(port: number): Promise<boolean> {
  for (const host of ["127.0.0.1", "::1"]) {
    const code = await new Promise<string | undefined>((resolve) => {
      const server = createServer();
      server.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
      server.listen(port, host, () => server.close(() => resolve(undefined)));
    });
    // Any other error says that there is no such address here, such as IPv6.
    if (code === "EADDRINUSE" || code === "EACCES") return false;
  }
  return true;
}

/** The first free port from this one on, or `undefined` if there is none. */
export async function nextFreePort(from: number): Promise<number | undefined> {
  for (let port = from; port <= PORT_MAX; port++) if (await isFree(port)) return port;
  return undefined;
}

/**
 * A port that is free now and lies below those that the kernel gives to outgoing connections: one of these could take the
 * port of a backend that is down, and even be the connection to that backend, which then is connected with itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    // Not seeded: programs that run side by side have to choose different ones.
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    if (await isFree(port)) return port;
  }
}
