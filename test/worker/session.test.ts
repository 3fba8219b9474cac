import { beforeEach, describe, expect, it } from "vitest";
import { addresses, boundTo, IDS, PATIENT, sharedLoadBalancer } from "../support/fixture.ts";

const lb = sharedLoadBalancer(PATIENT);
beforeEach(async () => {
  for (const id of IDS) await expect.poll(() => lb.isUp(id)).toBe(true);
});

describe("a sticky session", () => {
  it("begins with a cookie on the first success, behind the application's own, and is not set again", async () => {
    const own = ["theme=dark; Path=/", "id=a%20b; HttpOnly"];
    for (const backend of lb.backends) {
      backend.handler = (_, response) => void response.writeHead(200, { "Set-Cookie": own }).end(backend.id);
    }
    const first = await lb.worker.fetch("/");
    const attributes = "Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=86400";
    expect(first.headers["set-cookie"]).toEqual([...own, `aiostreams_backend=${first.text}; ${attributes}`]);
    const next = await lb.worker.fetch("/", boundTo(first.text));
    expect([next.text, next.headers["set-cookie"]]).toEqual([first.text, own]);
  });

  it("moves once its backend is down, without a request there, and does not move back", async () => {
    await lb.cf.kill();
    await lb.servedBy(boundTo("cf"));
    await expect.poll(() => lb.changes("cf").at(-1)).toBe("ejected");
    const { text, session = "" } = await lb.worker.fetch("/", boundTo("cf"));
    expect(session).toMatch(/duck|koyeb/);
    expect(JSON.parse(text).id).toBe(session);
    await lb.cf.start();
    await expect.poll(() => lb.isUp("cf")).toBe(true);
    const next = await lb.worker.fetch("/", boundTo(session));
    expect([JSON.parse(next.text).id, next.session]).toEqual([session, undefined]);
  });
});

describe("the IP hash of a client without a cookie", () => {
  it("goes by the address that Cloudflare vouches for, not by what the client writes", async () => {
    const [ip = "", ...others] = addresses(8);
    const home = await lb.servedBy({ ip });
    expect(new Set((await lb.homes(others)).values()).size).toBeGreaterThan(1);
    for (const other of others) {
      const headers = { "X-Forwarded-For": other, "X-Real-IP": other, "X-Client-IP": other, Forwarded: `for=${other}` };
      expect(await lb.servedBy({ ip, headers })).toBe(home);
    }
  });
});
