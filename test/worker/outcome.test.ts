import { describe, expect, it } from "vitest";
import type { Backend } from "../support/backend.ts";
import { boundTo, IDS, loadBalancer } from "../support/fixture.ts";
import { until } from "../support/waiting.ts";

const APPLICATION_ERRORS = [500, 501, 505, 507, 599];
const UNAVAILABLE = [502, 503, 504];
const UNREACHABLE = [521, 522, 523, 525, 526, 530];
const CLOUDFLARE_PAGES = [520, 521, 522, 523, 524, 525, 526, 527, 530];

function everyoneAnswers(backends: readonly Backend[], status: number): void {
  for (const backend of backends) backend.mode = { kind: "status", status };
}

function everyoneIsWell(backends: readonly Backend[]): void {
  for (const backend of backends) backend.mode = { kind: "well" };
}

describe("a request that every backend fails at", () => {
  const lb = loadBalancer();

  it.each([...APPLICATION_ERRORS, ...UNAVAILABLE, 529])(
    "with %i gets the last backend's own answer",
    async (status) => {
      let asked = 0;
      for (const backend of lb.backends) {
        backend.handler = (_, response) =>
          void response.writeHead(status, { "X-Kind": "own" }).end(`answer ${++asked}`);
      }
      const answer = await lb.worker.fetch("/%E0%A4%A");
      expect(answer).toMatchObject({ status, text: "answer 3" });
      expect(answer.headers["x-kind"]).toBe("own");
    },
  );

  it.each([...APPLICATION_ERRORS, ...UNAVAILABLE, 520, 524, 527, 529])(
    "with %i ejects nobody and moves no session",
    async (status) => {
      everyoneAnswers(lb.backends, status);
      await lb.worker.fetch("/%E0%A4%A");
      everyoneIsWell(lb.backends);
      for (const id of IDS) expect(await lb.isUp(id)).toBe(true);
      expect(lb.worker.log.filter(({ event }) => event === "ejected")).toEqual([]);
    },
  );

  it.each(CLOUDFLARE_PAGES)("with %i gets 502, never Cloudflare's page, which names the backend", async (status) => {
    for (const backend of lb.backends) {
      backend.handler = (_, response) => void response.writeHead(status).end(`<h1>${backend.url} is down</h1>`);
    }
    const answer = await lb.worker.fetch("/");
    expect(answer.status).toBe(502);
    expect(answer.text).not.toContain("127.0.0.1");
    expect(answer.headers["retry-after"]).toBeDefined();
  });

  it("gets the answer that is a backend's own, where the later ones are Cloudflare's", async () => {
    everyoneAnswers(lb.backends, 520);
    lb.cf.mode = { kind: "status", status: 503 };
    expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 503, text: "cf says 503" });
  });
});

describe("a backend that fails where another answers", () => {
  const lb = loadBalancer();

  it.each([...APPLICATION_ERRORS, ...UNAVAILABLE, ...CLOUDFLARE_PAGES, 528, 529])(
    "costs the client nothing: %i",
    async (status) => {
      lb.cf.mode = { kind: "status", status };
      expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    },
  );

  it.each([...APPLICATION_ERRORS, ...UNAVAILABLE, ...CLOUDFLARE_PAGES, 528, 529])("is ejected: %i", async (status) => {
    lb.cf.mode = { kind: "status", status };
    await lb.worker.fetch("/", boundTo("cf"));
    lb.cf.mode = { kind: "status", status, healthStatus: 500 };
    await lb.worker.fetch("/", boundTo("cf"));
    expect(lb.cf.seen).toHaveLength(1);
  });

  it("is ejected also where the answer is 404", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    lb.duck.mode = { kind: "status", status: 404 };
    lb.koyeb.mode = { kind: "status", status: 404 };
    expect((await lb.worker.fetch("/", boundTo("cf"))).status).toBe(404);
    everyoneIsWell(lb.backends);
    expect(await lb.isUp("cf")).toBe(false);
  });

  it.each(APPLICATION_ERRORS)("is back at once if its health route is well: %i", async (status) => {
    lb.cf.mode = { kind: "status", status, healthStatus: 200 };
    expect(await lb.servedBy(boundTo("cf"))).not.toBe("cf");
    await until("it is acquitted", () => lb.worker.log.some(({ event }) => event === "back"));
    expect(lb.worker.log.find(({ event }) => event === "back")).toMatchObject({ backend: "cf", reason: "acquitted" });
    lb.cf.mode = { kind: "well" };
    expect(await lb.isUp("cf")).toBe(true);
    expect(lb.cf.checks).toBe(1);
  });

  it.each([404, 429, 500, 503])("stays out after 500 if its health route answers %i", async (healthStatus) => {
    lb.cf.mode = { kind: "status", status: 500, healthStatus };
    await lb.worker.fetch("/", boundTo("cf"));
    await until("it was asked", () => lb.cf.checks === 1);
    lb.cf.mode = { kind: "well" };
    for (let i = 0; i < 5; i++) expect(await lb.isUp("cf")).toBe(false);
  });

  it.each([...UNAVAILABLE, ...CLOUDFLARE_PAGES, 528, 529])("is not asked to be acquitted of %i", async (status) => {
    lb.cf.mode = { kind: "status", status, healthStatus: 200 };
    await lb.worker.fetch("/", boundTo("cf"));
    lb.cf.mode = { kind: "well" };
    for (let i = 0; i < 5; i++) expect(await lb.isUp("cf")).toBe(false);
    expect(lb.cf.checks).toBe(0);
  });

  it("is not asked to be acquitted of a reset connection", async () => {
    lb.cf.onRequest = (request) => request.socket.resetAndDestroy();
    await lb.worker.fetch("/", boundTo("cf"));
    lb.cf.onRequest = undefined;
    for (let i = 0; i < 5; i++) expect(await lb.isUp("cf")).toBe(false);
    expect(lb.cf.checks).toBe(0);
  });

  it("has its own answer let go as soon as a later failure replaces it", async () => {
    let asked = 0;
    let letGo = false;
    let answer = () => {};
    for (const backend of lb.backends) {
      backend.onRequest = (_, response) => {
        asked++;
        if (asked === 1) {
          response.on("close", () => {
            letGo = true;
          });
          response.writeHead(503).write("the beginning of a page without an end");
        } else if (asked === 2) {
          response.writeHead(503).end("another failure");
        } else {
          answer = () => response.end("an answer");
        }
      };
    }
    const answered = lb.worker.fetch("/");
    await until("the third is asked, and the first let go", () => asked === 3 && letGo);
    answer();
    expect(await answered).toMatchObject({ status: 200, text: "an answer" });
  });
});

describe("a backend that Cloudflare cannot reach", () => {
  const lb = loadBalancer();

  it.each(UNREACHABLE)("is ejected even where all others fail too: %i", async (status) => {
    everyoneAnswers(lb.backends, 500);
    lb.cf.mode = { kind: "status", status };
    expect((await lb.worker.fetch("/", boundTo("cf"))).status).toBe(500);
    everyoneIsWell(lb.backends);
    expect(await lb.isUp("cf")).toBe(false);
    expect(await lb.isUp("duck")).toBe(true);
    expect(await lb.isUp("koyeb")).toBe(true);
  });
});

describe("MAX_RETRIES=1", () => {
  const lb = loadBalancer({ MAX_RETRIES: 1 });

  it("allows two attempts", async () => {
    everyoneAnswers(lb.backends, 503);
    expect((await lb.worker.fetch("/", boundTo("cf"))).status).toBe(503);
    expect(lb.backends.flatMap(({ seen }) => seen)).toHaveLength(2);
  });

  it.each([500, 503])(
    "ejects whoever failed with %i when the attempts ran out before every backend was asked",
    async (status) => {
      for (const backend of lb.backends) backend.mode = { kind: "status", status };
      await lb.worker.fetch("/", boundTo("cf"));
      const asked = lb.backends.filter(({ seen }) => seen.length > 0).map(({ id }) => id);
      await until("both are ejected", () => lb.worker.log.filter(({ event }) => event === "ejected").length === 2);
      const ejected = lb.worker.log.filter(({ event }) => event === "ejected").map(({ backend }) => backend);
      expect(ejected.sort()).toEqual(asked.sort());
    },
  );

  it("finds the third backend with the next request", async () => {
    everyoneAnswers(lb.backends, 503);
    await lb.worker.fetch("/", boundTo("cf"));
    const [third] = lb.backends.filter(({ seen }) => seen.length === 0);
    if (third) third.mode = { kind: "well" };
    expect(await lb.servedBy(boundTo("cf"))).toBe(third?.id);
  });
});

describe("MAX_RETRIES=0", () => {
  const lb = loadBalancer({ MAX_RETRIES: "0" });

  it("allows one attempt, and ejects whoever failed", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 503, text: "cf says 503" });
    expect([...lb.duck.seen, ...lb.koyeb.seen]).toEqual([]);
    lb.cf.mode = { kind: "well" };
    expect(await lb.isUp("cf")).toBe(false);
  });
});

describe("MAX_RETRIES=10", () => {
  const lb = loadBalancer({ MAX_RETRIES: 10, PROBE_AFTER: 50, BACKEND_TIMEOUT: 300 });

  it("asks nobody twice who has answered", async () => {
    everyoneAnswers(lb.backends, 503);
    await lb.worker.fetch("/");
    expect(lb.backends.map(({ seen }) => seen.length)).toEqual([1, 1, 1]);
  });

  it("asks nobody twice who stayed silent", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "hang", healthStatus: 503 };
    expect((await lb.worker.fetch("/")).status).toBe(504);
    expect(lb.backends.map(({ seen }) => seen.length)).toEqual([1, 1, 1]);
  });

  it("bounds how often backends are asked that break every connection", async () => {
    let asked = 0;
    for (const backend of lb.backends) {
      backend.onRequest = (request) => {
        asked++;
        request.socket.resetAndDestroy();
      };
    }
    expect((await lb.worker.fetch("/")).status).toBe(502);
    expect(asked).toBe(11);
  });
});

describe("a connection that breaks", () => {
  const lb = loadBalancer();

  it("is tried again once all others have been tried", async () => {
    const order: string[] = [];
    for (const backend of lb.backends) {
      backend.onRequest = (request, response) => {
        order.push(backend.id);
        if (backend.id !== "cf") return void response.writeHead(503).end();
        if (order.length === 1) return void request.socket.resetAndDestroy();
        response.end("here again");
      };
    }
    expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 200, text: "here again" });
    expect(order).toHaveLength(4);
    expect(order[0]).toBe("cf");
    expect(order[3]).toBe("cf");
  });
});

describe("a lone backend", () => {
  const lb = loadBalancer({ BACKEND_DUCK: "", BACKEND_KOYEB: "", MAX_RETRIES: 2 });

  it("is asked again when its connection breaks", async () => {
    let asked = 0;
    lb.cf.onRequest = (request, response) => {
      if (++asked === 1) request.socket.resetAndDestroy();
      else response.end("here again");
    };
    expect(await lb.worker.fetch("/")).toMatchObject({ status: 200, text: "here again" });
    expect(asked).toBe(2);
  });

  it("is asked again only as often as MAX_RETRIES says", async () => {
    let asked = 0;
    lb.cf.onRequest = (request) => {
      asked++;
      request.socket.resetAndDestroy();
    };
    expect((await lb.worker.fetch("/")).status).toBe(502);
    expect(asked).toBe(3);
  });

  it("is asked by the next request, whatever it did to the last one", async () => {
    for (const status of [500, 503, 521]) {
      lb.cf.mode = { kind: "status", status };
      await lb.worker.fetch("/");
      lb.cf.mode = { kind: "well" };
      expect(await lb.servedBy()).toBe("cf");
    }
    await lb.cf.kill();
    expect((await lb.worker.fetch("/")).status).toBe(502);
    await lb.cf.start();
    expect(await lb.servedBy()).toBe("cf");
  });

  it("answers its own 503 to its clients", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    expect(await lb.worker.fetch("/")).toMatchObject({ status: 503, text: "cf says 503" });
    expect(lb.cf.seen).toHaveLength(1);
  });
});
