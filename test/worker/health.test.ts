import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, it } from "vitest";
import { boundTo, CHECKS_ON_REQUEST, LINGERING, type LoadBalancer, startLoadBalancer } from "../support/fixture.ts";

const ROUTE = "/healthz?full=1";
const VARS = { ...CHECKS_ON_REQUEST, HEALTH_CHECK_PATH: ROUTE, HEALTH_CHECK_EXPECT: "fine" };

/** `cf` answers users 503, and so has itself checked; its health route does this. */
function answerChecks(lb: LoadBalancer, answer: (request: IncomingMessage, response: ServerResponse) => void): void {
  lb.cf.onRequest = (request, response) => {
    if (request.url === ROUTE) answer(request, response);
    else response.writeHead(503).end();
  };
}

const ejections = ({ worker }: LoadBalancer) => worker.log.filter(({ event }) => event === "ejected");

describe.concurrent("a health check", () => {
  it("gives up after three seconds, its body included, and frees its connection", async ({ expect }) => {
    await using lb = await startLoadBalancer(VARS, LINGERING);
    let isOpen: boolean | undefined;
    answerChecks(lb, ({ socket }, response) => {
      isOpen = true;
      socket.on("close", () => {
        isOpen = false;
      });
      response.write("f");
    });
    await lb.worker.fetch("/", boundTo("cf"));
    await expect.poll(() => ejections(lb)).toMatchObject([{ reason: "check: no answer" }]);
    await expect.poll(() => isOpen).toBe(false);
  });

  it("reads 64 KiB of an answer, and no more", async ({ expect }) => {
    await using lb = await startLoadBalancer(VARS, LINGERING);
    const open = new Set<IncomingMessage["socket"]>();
    answerChecks(lb, ({ socket }, response) => {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
      response.write("not ".repeat(32 * 1024)); // It never ends.
    });
    await lb.worker.fetch("/", boundTo("cf"));
    await expect.poll(() => ejections(lb)).toMatchObject([{ reason: "check: unexpected answer", status: 200 }]);
    await expect.poll(() => open.size).toBe(0);
  });
});
