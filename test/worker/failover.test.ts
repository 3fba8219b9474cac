import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { beforeEach, describe, expect, it } from "vitest";
import { noise, pieces } from "../support/bytes.ts";
import { boundTo, IDS, LINGERING, PATIENT, sharedLoadBalancer } from "../support/fixture.ts";
import { sha256 } from "../support/hashing.ts";

const lb = sharedLoadBalancer(PATIENT, LINGERING);
beforeEach(async () => {
  for (const id of IDS) await expect.poll(() => lb.isUp(id)).toBe(true);
  for (const { seen } of lb.backends) seen.length = 0;
});

/** Has every backend do this with a user's request. */
function onEvery(onRequest: (request: IncomingMessage, response: ServerResponse, id: string) => void): void {
  for (const backend of lb.backends) {
    backend.onRequest = (request, response) => onRequest(request, response, backend.id);
  }
}

describe("a network error is answered by a failover, when a backend", () => {
  it.each<[string, (socket: Socket) => void]>([
    ["resets the connection", (socket) => socket.resetAndDestroy()],
    ["closes the connection", (socket) => socket.end()],
    ["answers no HTTP", (socket) => socket.end("no HTTP at all\r\n\r\n")],
    ["breaks off its headers", (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Le")],
  ])("%s", async (_, fail) => {
    lb.cf.onRequest = ({ socket }) => fail(socket);
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
  });

  it("refuses connections, which ejects it", async () => {
    await lb.cf.kill();
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    await expect.poll(() => lb.changes("cf").at(-1)).toBe("ejected");
  });
});

describe("a failure", () => {
  it("has its answer let go at once, where it can be no fallback", async () => {
    const failed: Socket[] = [];
    let answer: (() => void) | undefined;
    onEvery(({ socket }, response) => {
      if (failed.length === 2) answer = () => response.end("the third");
      else {
        failed.push(socket);
        response.writeHead(521).write("a page that never ends");
      }
    });
    const answered = lb.worker.fetch("/", boundTo("cf"));
    await expect.poll(() => answer && failed.map(({ destroyed }) => destroyed)).toEqual([true, true]);
    answer?.();
    expect(await answered).toMatchObject({ status: 200, text: "the third" });
  });

  it("has its answer let go as soon as another backend succeeds, although it could be a fallback", async () => {
    const failed: Socket[] = [];
    let finish = () => {};
    onEvery(({ socket }, response) => {
      if (failed.length === 2) {
        response.write("it begins");
        finish = () => response.end(" and ends");
      } else {
        failed.push(socket);
        response.writeHead(503).write("a page that never ends");
      }
    });
    const answer = await lb.worker.open("/", boundTo("cf"));
    await expect.poll(() => failed.map(({ destroyed }) => destroyed)).toEqual([true, true]);
    finish();
    expect(await text(answer)).toBe("it begins and ends");
  });

  it("is relayed byte for byte as the fallback, where every backend fails", async () => {
    const page = noise(1_000_000);
    const asked: string[] = [];
    onEvery((_, response, id) => {
      asked.push(id);
      response.writeHead(500, { "X-From": id }).end(page);
    });
    const { status, headers, body } = await lb.worker.fetch("/", boundTo("cf"));
    expect([status, headers["x-from"], sha256(body)]).toEqual([500, asked.at(-1), sha256(page)]);
    expect(asked.toSorted()).toEqual([...IDS]);
  });
});

it.each([
  ["with a length", {}],
  ["chunked", { "Transfer-Encoding": "chunked" }],
])(
  "an upload that its backend breaks off while it streams is that backend's failure, each time: %s",
  async (_, headers) => {
    lb.cf.onRequest = ({ socket }) => void socket.resetAndDestroy();
    const bytes = noise(1_200_000);
    const statuses: number[] = [];
    for (let i = 0; i < 20; i++) {
      const body = "Transfer-Encoding" in headers ? pieces(bytes) : bytes;
      statuses.push((await lb.worker.fetch("/upload", boundTo("cf", { method: "POST", body, headers }))).status);
    }
    expect(statuses).toEqual(Array(20).fill(502));
  },
);

describe("once more", () => {
  it("the same backend is asked when a pooled connection was stale, so that no session moves", async () => {
    const used = new Set<Socket>();
    let isStale = true;
    lb.cf.onRequest = ({ socket }, response) => {
      if (isStale && used.has(socket)) {
        isStale = false;
        socket.resetAndDestroy();
      } else {
        used.add(socket);
        response.end("cf");
      }
    };
    while (isStale) {
      expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ text: "cf", session: undefined });
    }
  });

  it.each([
    ["a GET may be carried out, so that it reaches each backend twice", {}, 2],
    ["a POST may not, so that it reaches each backend once", { method: "POST", body: "a=1" }, 1],
  ])("%s", async (_, options, times) => {
    const asked: string[] = [];
    onEvery((request, _response, id) => {
      asked.push(id);
      request.resume().on("end", () => request.socket.resetAndDestroy());
    });
    expect((await lb.worker.fetch("/", boundTo("cf", options))).status).toBe(502);
    expect(asked.toSorted()).toEqual(IDS.flatMap((id) => Array(times).fill(id)));
  });
});
