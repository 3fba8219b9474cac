import { describe, expect, it } from "vitest";
import { PATIENT, sharedLoadBalancer } from "../support/fixture.ts";
import { PRIMARY_DOMAIN } from "../support/worker.ts";

const lb = sharedLoadBalancer(PATIENT);

describe("the host and the scheme of a request are those that its client used", () => {
  it.each([PRIMARY_DOMAIN.toUpperCase(), `${PRIMARY_DOMAIN}:8443`, `${PRIMARY_DOMAIN}.:443`])(
    "the public host however it is written, and the path stays as it is: %s",
    async (host) => {
      expect(JSON.parse((await lb.worker.fetch("/a%2Fb//c?x=1&x=2", { host })).text).url).toBe("/a%2Fb//c?x=1&x=2");
    },
  );

  it("a foreign one and one without TLS reach no backend", async () => {
    const path = "/a%2Fb//c?x=1&x=2";
    const host = `${PRIMARY_DOMAIN}:8080`;
    const { status, headers } = await lb.worker.fetch(path, { method: "POST", scheme: "http", host });
    expect([status, headers.location]).toEqual([308, `https://${PRIMARY_DOMAIN}${path}`]);
    for (const host of [`user@${PRIMARY_DOMAIN}`, "[::1]"]) {
      expect((await lb.worker.fetch("/", { host })).status).toBe(421);
    }
    expect(lb.backends.flatMap(({ seen }) => seen)).toEqual([]);
  });
});

describe("an answer of the Worker's own", () => {
  it("says 502 where no backend can be reached, 504 where none answers in time, and has no body for a HEAD", async () => {
    const worker = await lb.isolate({ BACKEND_TIMEOUT: 300 });
    for (const backend of lb.backends) backend.mode = { kind: "hang" };
    expect((await worker.fetch("/")).status).toBe(504);
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    expect((await lb.worker.fetch("/")).status).toBe(502);
    expect(await lb.worker.fetch("/", { method: "HEAD" })).toMatchObject({ status: 502, text: "" });
  });

  it("says 500 and names each variable that is wrong, but not what was found, which is logged once", async () => {
    const wrong = await lb.isolate({ BACKEND_CF: "https://user:hunter2@one.example.com", MAX_RETRIES: "-1" });
    const answers = await Promise.all(Array.from({ length: 5 }, () => wrong.fetch("/", { scheme: "http" })));
    for (const answer of answers) {
      expect(answer.status).toBe(500);
      expect(answer.text).toMatch(/^BACKEND_CF /m);
      expect(answer.text).toMatch(/^MAX_RETRIES must be a whole number from 0 to 10$/m);
    }
    await expect.poll(() => wrong.log.length).toBe(1);
    expect(wrong.log[0]).toMatchObject({ event: "bad_configuration" });
    expect(wrong.log[0]?.issues).toContainEqual(expect.objectContaining({ variable: "MAX_RETRIES", found: "-1" }));
    expect(wrong.output).not.toContain("hunter2");
  });
});
