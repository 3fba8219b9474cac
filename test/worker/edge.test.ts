import { describe, expect, inject, it } from "vitest";
import { boundTo, loadBalancer } from "../support/fixture.ts";
import { rawFetch } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import { type Answer, PRIMARY_DOMAIN, Worker } from "../support/worker.ts";

function expectOwnAnswer(answer: Answer): void {
  expect(answer.headers).toMatchObject({
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
  });
  expect(answer.text).not.toBe("");
  expect(JSON.stringify([answer.rawHeaders, answer.text])).not.toContain("127.0.0.1");
}

describe("a host name", () => {
  const lb = loadBalancer();

  it.each([
    "elsewhere.example.net",
    "example.com",
    `www.${PRIMARY_DOMAIN}`,
    `${PRIMARY_DOMAIN}.evil.example.net`,
    `not${PRIMARY_DOMAIN}`,
    "127.0.0.1",
    "localhost:8787",
    "[::1]",
  ])("that is not the public one is refused: %s", async (host) => {
    for (const scheme of ["http", "https"] as const) {
      const answer = await lb.worker.fetch("/", { host, scheme });
      expect(answer.status).toBe(421);
      expectOwnAnswer(answer);
    }
    expect(lb.backends.flatMap(({ seen }) => seen)).toEqual([]);
  });

  it.each([
    PRIMARY_DOMAIN,
    PRIMARY_DOMAIN.toUpperCase(),
    `${PRIMARY_DOMAIN}:443`,
    `${PRIMARY_DOMAIN}:8443`,
    `${PRIMARY_DOMAIN}.`,
    `${PRIMARY_DOMAIN}.:443`,
  ])("is the public one however it is written: %s", async (host) => {
    expect(await lb.servedBy({ host })).toBeDefined();
    const { status, headers } = await lb.worker.fetch("/x?y=1", { host, scheme: "http" });
    expect({ status, location: headers.location }).toEqual({
      status: 301,
      location: `https://${PRIMARY_DOMAIN}/x?y=1`,
    });
  });

  it("keeps the path verbatim where it is written in another way", async () => {
    const { text } = await lb.worker.fetch("/a%2Fb//c?x=1&x=2", { host: `${PRIMARY_DOMAIN.toUpperCase()}:8443` });
    expect(JSON.parse(text).url).toBe("/a%2Fb//c?x=1&x=2");
  });
});

describe("a request without TLS", () => {
  const lb = loadBalancer();

  it.each(["GET", "HEAD"])("is redirected with 301: %s", async (method) => {
    const answer = await lb.worker.fetch("/configure", { method, scheme: "http" });
    expect(answer.status).toBe(301);
    expect(answer.headers.location).toBe(`https://${PRIMARY_DOMAIN}/configure`);
  });

  it.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])(
    "is redirected with 308, which keeps method and body: %s",
    async (method) => {
      const answer = await lb.worker.fetch("/configure", { method, scheme: "http", body: "x" });
      expect(answer.status).toBe(308);
      expect(answer.headers.location).toBe(`https://${PRIMARY_DOMAIN}/configure`);
    },
  );

  it("reaches no backend", async () => {
    await lb.worker.fetch("/", { scheme: "http" });
    expect(lb.backends.flatMap(({ seen }) => seen)).toEqual([]);
  });

  it.each([
    "/",
    "/a%2Fb//c?x=1&x=2",
    "/%E0%A4%A",
    "//evil.example.net/x",
    "///evil.example.net",
    "/\\evil.example.net/",
    "/@evil.example.net/",
    "/.evil.example.net",
    "/%2f%2fevil.example.net",
    "/a|b{c}'d",
    "/?next=//evil.example.net",
    "/%0d%0aLocation:%20https://evil.example.net",
  ])("is led to the public domain and nowhere else, by the path as it was written: %s", async (path) => {
    const { status, location } = await rawFetch(lb.worker, "GET", path, { "Test-Scheme": "http" });
    expect({ status, location }).toEqual({ status: 301, location: `https://${PRIMARY_DOMAIN}${path}` });
    expect(new URL(location ?? "").host).toBe(PRIMARY_DOMAIN);
  });
});

describe("an answer of the Worker's own", () => {
  const lb = loadBalancer({ BACKEND_TIMEOUT: 100 });

  it("says so where no backend can be reached: 502", async () => {
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    const answer = await lb.worker.fetch("/");
    expect(answer.status).toBe(502);
    expectOwnAnswer(answer);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
  });

  it("says so where no backend answers in time: 504", async () => {
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const answer = await lb.worker.fetch("/");
    expect(answer.status).toBe(504);
    expectOwnAnswer(answer);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
  });

  it("has no body for a HEAD", async () => {
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    expect(await lb.worker.fetch("/", { method: "HEAD" })).toMatchObject({ status: 502, text: "" });
  });

  it("asks nobody to come back sooner or later where that would not help: 421", async () => {
    const answer = await lb.worker.fetch("/", { host: "elsewhere.example.net" });
    expect(answer.headers["retry-after"]).toBeUndefined();
  });
});

describe("a configuration that cannot work", () => {
  const BAD = {
    PRIMARY_DOMAIN: "https://aiostreams.example.com/",
    BACKEND_CF: "one.internal.example.com/path",
    BACKEND_DUCK: "two.internal.example.com",
    BACKEND_KOYEB: "https://two.internal.example.com",
    STICKY_SESSIONS: "yes",
    SESSION_COOKIE_NAME: "a b",
    SESSION_COOKIE_TTL: 0,
    BACKEND_DOWN_TIME: "soon",
    MAX_RETRIES: "-1",
    BACKEND_TIMEOUT: "1.5",
    HEALTH_CHECK_PATH: "health",
    HEALTH_CHECK_INTERVAL: 999,
    PROBE_AFTER: "",
    SHARE_HEALTH: "maybe",
    RETRY_NON_IDEMPOTENT: 1,
    STATUS_PATH: "s3cr3t-status",
    SERVED_BY_HEADER: "Content-Length",
  };

  async function withWorker<T>(vars: Record<string, string | number | boolean>, use: (worker: Worker) => Promise<T>) {
    const worker = await Worker.start(inject("script"), vars);
    try {
      return await use(worker);
    } finally {
      await worker.stop();
    }
  }

  it("is answered 500, with every fault by the name of its variable", async () => {
    await withWorker(BAD, async (worker) => {
      const answer = await worker.fetch("/");
      expect(answer.status).toBe(500);
      expectOwnAnswer(answer);
      const named = Object.keys(BAD).filter((variable) => variable !== "BACKEND_DUCK");
      expect(answer.text.match(/^[A-Z_]+(?= (?:must|is))/gm)?.sort()).toEqual(named.sort());
      expect(answer.text).toContain("MAX_RETRIES must be a whole number from 0 to 10");
    });
  });

  it("is answered without what was found, which stands in the log", async () => {
    await withWorker(BAD, async (worker) => {
      const answer = await worker.fetch("/");
      for (const found of ["internal", "yes", "a b", "soon", "-1", "1.5", "maybe", "s3cr3t"]) {
        expect(answer.text).not.toContain(found);
      }
      await until("it is logged", () => worker.log.length > 0);
      expect(worker.log[0]).toMatchObject({ event: "bad_configuration" });
      expect(worker.log[0]?.issues).toContainEqual({
        variable: "MAX_RETRIES",
        allowed: "must be a whole number from 0 to 10",
        found: "-1",
      });
      expect(worker.log[0]?.issues).toContainEqual(
        expect.objectContaining({
          variable: "BACKEND_CF",
          found: expect.stringMatching(/^one\.internal\.example\.com\/?…$/),
        }),
      );
    });
  });

  it("is logged without credentials, without a path that may be a user's, and without the status page's address", async () => {
    const vars = {
      BACKEND_CF: "https://user:hunter2@one.internal.example.com/stremio/hunter2",
      BACKEND_DUCK: "two.internal.example.com/?key=hunter2",
      BACKEND_KOYEB: "user:hunter2@three.internal.example.com weight=0",
      STATUS_PATH: "hunter2",
    };
    await withWorker(vars, async (worker) => {
      const { status, text } = await worker.fetch("/");
      expect(status).toBe(500);
      for (const variable of Object.keys(vars)) expect(text).toMatch(new RegExp(`^${variable} `, "m"));
      await until("it is logged", () => worker.log.length > 0);
      expect(worker.output).toContain("two.internal.example.com");
      expect(text + worker.output).not.toContain("hunter2");
    });
  });

  it("is logged once, however many ask", async () => {
    await withWorker(BAD, async (worker) => {
      await Promise.all(Array.from({ length: 20 }, () => worker.fetch("/")));
      expect((await worker.fetch("/", { scheme: "http", host: "elsewhere.example.net" })).status).toBe(500);
      await until("it is logged", () => worker.log.length > 0);
      expect(worker.log).toHaveLength(1);
    });
  });

  it("is one without a backend", async () => {
    await withWorker({ BACKEND_CF: "" }, async (worker) => {
      const { status, text } = await worker.fetch("/");
      expect(status).toBe(500);
      expect(text).toMatch(/at least one backend/);
    });
  });

  it.each(["weight=0", "weight=101", "weight=1.5", "weight=2 weight=3", "down", "backup backup", "two.example.com"])(
    "is one with an option like this behind a backend: %s",
    async (options) => {
      await withWorker({ BACKEND_CF: `one.example.com ${options}` }, async (worker) => {
        const { status, text } = await worker.fetch("/");
        expect(status).toBe(500);
        expect(text).toMatch(/^BACKEND_CF may have these options/m);
      });
    },
  );

  it("is one of nothing but backups", async () => {
    await withWorker(
      { BACKEND_CF: "one.example.com backup", BACKEND_DUCK: "two.example.com backup" },
      async (worker) => {
        expect((await worker.fetch("/")).text).toMatch(/at least one backend must not be a backup/);
      },
    );
  });

  it("is one whose backend is the public domain itself", async () => {
    await withWorker({ BACKEND_CF: PRIMARY_DOMAIN }, async (worker) => {
      const { status, text } = await worker.fetch("/", boundTo("cf"));
      expect(status).toBe(500);
      expect(text).toMatch(/^BACKEND_CF must not be PRIMARY_DOMAIN/m);
    });
  });
});
