import { once } from "node:events";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { boundTo, changesOf, HINTS_ONLY, startLoadBalancer } from "../support/fixture.ts";
import { handshake } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";

const SHORT = { ...HINTS_ONLY, PROBE_AFTER: 300, BACKEND_TIMEOUT: 1_500 };

describe.concurrent("BACKEND_TIMEOUT", () => {
  it.each(["GET", "POST"])(
    "ends the wait for headers although the check is good, and ejects nobody: %s",
    async (method) => {
      await using lb = await startLoadBalancer(SHORT);
      lb.cf.mode = { kind: "hang", healthy: true };
      expect(await lb.servedBy(boundTo("cf", { method }))).not.toBe("cf");
      expect(lb.cf.seen).toHaveLength(1);
      lb.cf.mode = { kind: "well" };
      expect(await lb.isUp("cf")).toBe(true);
      expect(lb.worker.log).toMatchObject([{ event: "failover", backend: "cf", reason: "timeout", attempt: 1 }]);
    },
  );

  it("frees the connection of a retry that it ends, while the next one is waited for", async () => {
    await using lb = await startLoadBalancer(SHORT);
    const sockets: Socket[] = [];
    let answer = () => {};
    for (const backend of lb.backends) {
      backend.onRequest = ({ socket }, response) => {
        sockets.push(socket);
        answer = () => response.end("the third");
      };
    }
    const answered = lb.worker.fetch("/");
    await until(
      "the third is asked, and the second let go",
      () => sockets.length === 3 && sockets[1]?.destroyed === true,
    );
    expect(sockets[2]?.destroyed).toBe(false);
    answer();
    expect(await answered).toMatchObject({ status: 200, text: "the third" });
  });

  it("is answered 504 when no backend sends headers: GET, POST and WebSocket handshakes alike", async () => {
    await using lb = await startLoadBalancer({ ...SHORT, MAX_RETRIES: 10 });
    for (const backend of lb.backends) backend.mode = { kind: "hang", healthy: true };
    const [get, post, socket] = await Promise.all([
      lb.worker.fetch("/"),
      lb.worker.fetch("/", { method: "POST", body: "a=1" }),
      handshake(lb.worker, "/socket"),
    ]);
    expect([get.status, post.status, socket.statusCode]).toEqual([504, 504, 504]);
    expect(get.headers["retry-after"]).toMatch(/^\d+$/);
    expect(lb.backends.map(({ seen }) => seen.length)).toEqual([3, 3, 3]);
    for (const { id } of lb.backends) expect(changesOf(lb, id)).toEqual([]);
  });
});

describe.concurrent.each([
  ["a new client", {}],
  ["a client whose session is there", boundTo("cf")],
])("once the headers have come, no timer cuts what %s gets", (_, client) => {
  const LONG_MS = 2_500;
  const vars = { ...HINTS_ONLY, PROBE_AFTER: 500, BACKEND_TIMEOUT: 1_000 };

  it("a body that comes slowly, or not for long, and no check is made", async () => {
    await using lb = await startLoadBalancer(vars);
    for (const backend of lb.backends) {
      backend.handler = async (request, response) => {
        response.writeHead(200).write("the beginning");
        const parts = request.url === "/slowly" ? 10 : 1;
        for (let part = 0; part < parts; part++) {
          await sleep(LONG_MS / parts);
          response.write(".");
        }
        response.end();
      };
    }
    const answers = await Promise.all(["/slowly", "/late"].map((path) => lb.worker.open(path, client)));
    const checks = lb.backends.map(({ checks }) => checks);
    expect(await Promise.all(answers.map((answer) => text(answer)))).toEqual([
      "the beginning..........",
      "the beginning.",
    ]);
    expect(lb.backends.map(({ checks }) => checks)).toEqual(checks);
  });

  it("a WebSocket on which nothing is said", async () => {
    await using lb = await startLoadBalancer(vars);
    const webSocket = await lb.worker.webSocket("/socket", client);
    await sleep(LONG_MS);
    webSocket.send("still there");
    const [message] = await once(webSocket, "message");
    expect(String(message)).toBe("still there");
    webSocket.close();
  });
});
