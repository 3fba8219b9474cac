import { describe, expect, it } from "vitest";
import { PATIENT, sharedLoadBalancer } from "../support/fixture.ts";
import { type Answer, PRIMARY_DOMAIN } from "../support/worker.ts";

const lb = sharedLoadBalancer(PATIENT);
const seen = () => lb.backends.flatMap((backend) => backend.seen);

function expectOwnAnswer(answer: Answer): void {
  expect(answer.headers).toMatchObject({ "cache-control": "no-store", "access-control-allow-origin": "*" });
  expect(answer.headers["content-type"]).toMatch(/^text\/plain/);
  expect(answer.text).not.toBe("");
  const hosts = lb.backends.map(({ port }) => `:${port}`).join("|");
  expect(JSON.stringify([answer.rawHeaders, answer.text])).not.toMatch(new RegExp(`127\\.0\\.0\\.1|${hosts}`));
}

describe("a host name", () => {
  it.each(["elsewhere.example.net", `${PRIMARY_DOMAIN}.evil.example.net`, `user@${PRIMARY_DOMAIN}`, "[::1]"])(
    "that is not the public one is refused with 421, and no backend is asked: %s",
    async (host) => {
      for (const scheme of ["http", "https"] as const) {
        const answer = await lb.worker.fetch("/", { host, scheme });
        expect(answer.status).toBe(421);
        expect(answer.headers["retry-after"]).toBeUndefined();
        expectOwnAnswer(answer);
      }
      expect(seen()).toEqual([]);
    },
  );

  it.each([PRIMARY_DOMAIN.toUpperCase(), `${PRIMARY_DOMAIN}:8443`, `${PRIMARY_DOMAIN}.:443`])(
    "is the public one however it is written, and the path stays as it is: %s",
    async (host) => {
      expect(JSON.parse((await lb.worker.fetch("/a%2Fb//c?x=1&x=2", { host })).text).url).toBe("/a%2Fb//c?x=1&x=2");
    },
  );
});

it.each([
  ["GET", 301],
  ["POST", 308],
])("a request without TLS is redirected, %s with %i, and reaches no backend", async (method, status) => {
  const path = "/a%2Fb//c?x=1&x=2";
  const answer = await lb.worker.fetch(path, { method, scheme: "http", host: `${PRIMARY_DOMAIN}:8080` });
  expect([answer.status, answer.headers.location]).toEqual([status, `https://${PRIMARY_DOMAIN}${path}`]);
  expect(seen()).toEqual([]);
});

describe("an answer of the Worker's own", () => {
  it("says 504 where no backend answers in time", async () => {
    const worker = await lb.isolate({ BACKEND_TIMEOUT: 300 });
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    const answer = await worker.fetch("/");
    expect(answer.status).toBe(504);
    expectOwnAnswer(answer);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
  });

  it("says 502 where no backend can be reached, and has no body for a HEAD", async () => {
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    const answer = await lb.worker.fetch("/");
    expect(answer.status).toBe(502);
    expectOwnAnswer(answer);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
    expect(await lb.worker.fetch("/", { method: "HEAD" })).toMatchObject({ status: 502, text: "" });
  });

  it("says 500 and names each variable that is wrong, but not what was found, which is logged once", async () => {
    const wrong = await lb.isolate({ BACKEND_CF: "https://user:hunter2@one.example.com", MAX_RETRIES: "-1" });
    const answers = await Promise.all(Array.from({ length: 5 }, () => wrong.fetch("/", { scheme: "http" })));
    for (const answer of answers) {
      expect(answer.status).toBe(500);
      expectOwnAnswer(answer);
      expect(answer.text).toMatch(/^BACKEND_CF /m);
      expect(answer.text).toMatch(/^MAX_RETRIES must be a whole number from 0 to 10$/m);
    }
    await expect.poll(() => wrong.log.length).toBe(1);
    expect(wrong.log[0]).toMatchObject({ event: "bad_configuration" });
    expect(wrong.log[0]?.issues).toContainEqual(expect.objectContaining({ variable: "MAX_RETRIES", found: "-1" }));
    expect(wrong.output).not.toContain("hunter2");
  });
});
