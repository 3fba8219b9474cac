import { describe, expect, it } from "vitest";
import { boundTo, IDS, type Id, loadBalancer } from "../support/fixture.ts";
import { handshake } from "../support/raw-http.ts";
import type { Answer } from "../support/worker.ts";

const ATTRIBUTES = "Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=86400";

function anotherThan(id: string): Id {
  return IDS.find((other) => other !== id) as Id;
}

describe("the session cookie", () => {
  const lb = loadBalancer();

  it("is set on a client's first answer, with the backend's id and these attributes", async () => {
    const { headers, text } = await lb.worker.fetch("/");
    expect(headers["set-cookie"]).toEqual([`aiostreams_backend=${JSON.parse(text).id}; ${ATTRIBUTES}`]);
  });

  it.each(IDS)("keeps its client on its backend: %s", async (id) => {
    for (const ip of ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]) {
      expect(await lb.servedBy(boundTo(id, { ip }))).toBe(id);
    }
  });

  it("is not set again while it is right", async () => {
    for (const id of IDS) expect((await lb.worker.fetch("/", boundTo(id))).headers["set-cookie"]).toBeUndefined();
  });

  it("is found among other cookies", async () => {
    const home = await lb.servedBy();
    const id = anotherThan(home);
    const headers = { Cookie: `a=1; notaiostreams_backend=${home}; aiostreams_backend=${id}; b="x=y"` };
    expect(await lb.servedBy({ headers })).toBe(id);
  });

  it.each([200, 201, 204, 206, 302, 304, 400, 404, 429, 499])("is set on a %i", async (status) => {
    for (const backend of lb.backends) backend.handler = (_, response) => void response.writeHead(status).end();
    expect((await lb.worker.fetch("/")).session).toBeDefined();
  });

  it("is set on the 101 of a WebSocket", async () => {
    const { statusCode, headers } = await handshake(lb.worker, "/socket");
    expect(statusCode).toBe(101);
    expect(headers["set-cookie"]).toEqual([expect.stringMatching(/^aiostreams_backend=(cf|duck|koyeb); Path=/)]);
  });

  it("is not set on a 101 while it is right", async () => {
    expect((await handshake(lb.worker, "/socket", boundTo("cf"))).headers["set-cookie"]).toBeUndefined();
  });

  it("stands beside the application's own cookies", async () => {
    const own = ["theme=dark; Path=/", "id=a%20b; HttpOnly"];
    for (const backend of lb.backends) {
      backend.handler = (_, response) => void response.writeHead(200, { "Set-Cookie": own }).end();
    }
    const cookies = (await lb.worker.fetch("/")).headers["set-cookie"] ?? [];
    expect(cookies.slice(0, 2)).toEqual(own);
    expect(cookies).toHaveLength(3);
  });

  it("stands beside the application's own cookies on a 101", async () => {
    for (const backend of lb.backends) backend.upgradeHeaders = ["Set-Cookie: theme=dark", "Set-Cookie: id=1"];
    const cookies = (await handshake(lb.worker, "/socket")).headers["set-cookie"] ?? [];
    expect(cookies.slice(0, 2)).toEqual(["theme=dark", "id=1"]);
    expect(cookies).toHaveLength(3);
  });

  it.each([500, 501, 502, 503, 504, 505, 599])("is never set on a %i", async (status) => {
    for (const backend of lb.backends) backend.mode = { kind: "status", status };
    const answer = await lb.worker.fetch("/");
    expect(answer.status).toBe(status);
    expect(answer.headers["set-cookie"]).toBeUndefined();
  });

  it("is never set on an answer of the Worker's own", async () => {
    const foreign = await lb.worker.fetch("/", { host: "elsewhere.example.net" });
    const insecure = await lb.worker.fetch("/", { scheme: "http" });
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    const unreachable = await lb.worker.fetch("/");
    expect([foreign.status, insecure.status, unreachable.status]).toEqual([421, 301, 502]);
    for (const { headers } of [foreign, insecure, unreachable]) expect(headers["set-cookie"]).toBeUndefined();
  });

  it.each([
    "",
    "%E0%A4%A",
    "%",
    "CF",
    "cf ",
    '"cf"',
    "cf.evil.example.net",
    "https://evil.example.net",
    "127.0.0.1:80",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "nobody",
    "0",
    "caf\u00e9",
    "\u00ff\u0080",
    "x".repeat(4000),
    "=cf",
    "cf=",
    "cf,duck",
  ])("counts as absent when no backend is called %j", async (value) => {
    const home = await lb.servedBy();
    const cookie = `aiostreams_backend=${value}${value.endsWith(" ") ? "x" : ""}`;
    const answer = await lb.worker.fetch("/", { headers: { Cookie: cookie } });
    expect(answer).toMatchObject({ status: 200, session: home });
  });

  it.each(["aiostreams_backend", "; ; ;", "=", ";=;aiostreams_backend;", "\t"])(
    "counts as absent where the header is no list of cookies: %j",
    async (header) => {
      const home = await lb.servedBy();
      expect(await lb.worker.fetch("/", { headers: { Cookie: header } })).toMatchObject({ status: 200, session: home });
    },
  );

  it("moves with its client when its backend is dead, and stays there when that one is back", async () => {
    await lb.cf.kill();
    const moved = await lb.worker.fetch("/", boundTo("cf"));
    expect(moved.status).toBe(200);
    expect(["duck", "koyeb"]).toContain(moved.session);
    await lb.cf.start();
    const answer = await lb.worker.fetch("/", boundTo(moved.session ?? ""));
    expect(JSON.parse(answer.text).id).toBe(moved.session);
    expect(answer.headers["set-cookie"]).toBeUndefined();
  });

  it("moves at once, without a failed attempt, while its backend is known to be dead", async () => {
    lb.cf.mode = { kind: "status", status: 503 };
    await lb.worker.fetch("/", boundTo("cf"));
    const asked = lb.cf.seen.length;
    const { session } = await lb.worker.fetch("/", boundTo("cf"));
    expect(["duck", "koyeb"]).toContain(session);
    expect(lb.cf.seen).toHaveLength(asked);
  });
});

describe("the session cookie's name and age", () => {
  const lb = loadBalancer({ SESSION_COOKIE_NAME: "my.lb", SESSION_COOKIE_TTL: "60" });

  it("are those of the configuration", async () => {
    const { headers, text } = await lb.worker.fetch("/");
    const expected = `my.lb=${JSON.parse(text).id}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60`;
    expect(headers["set-cookie"]).toEqual([expected]);
  });

  it("are matched exactly: the right name", async () => {
    for (const id of IDS) expect(await lb.servedBy({ headers: { Cookie: `my.lb=${id}` } })).toBe(id);
  });

  it.each(["notmy.lb", "myxlb", "my.lbx", "MY.LB", "my", "lb", "my.lb.my.lb"])(
    "are matched exactly: %s is another cookie",
    async (name) => {
      const home = await lb.servedBy();
      expect(await lb.servedBy({ headers: { Cookie: `${name}=${anotherThan(home)}` } })).toBe(home);
    },
  );
});

describe.each([["false"], ["FALSE"], [false]])("without sessions (STICKY_SESSIONS=%j)", (value) => {
  const lb = loadBalancer({ STICKY_SESSIONS: value });

  it("no cookie is set, and one that is there is not heeded", async () => {
    const home = await lb.servedBy();
    for (const id of IDS) {
      const answer = await lb.worker.fetch("/", boundTo(id));
      expect(answer.headers["set-cookie"]).toBeUndefined();
      expect(JSON.parse(answer.text).id).toBe(home);
    }
    expect((await handshake(lb.worker, "/socket")).headers["set-cookie"]).toBeUndefined();
  });
});

describe("a client without a cookie", () => {
  const lb = loadBalancer();

  it("is served by the same backend every time", async () => {
    const first = await lb.servedBy({ ip: "198.51.100.7" });
    for (let i = 0; i < 5; i++) expect(await lb.servedBy({ ip: "198.51.100.7" })).toBe(first);
  });

  it("moves exactly when its backend dies, and about half of the dead one's clients go to each survivor", async () => {
    const ips = Array.from({ length: 300 }, (_, i) => `203.0.${i >> 8}.${i & 255}`);
    const before = await homes(ips);
    await lb.cf.kill();
    const after = await homes(ips);
    const moved = ips.filter((ip) => after.get(ip) !== before.get(ip));
    const orphans = ips.filter((ip) => before.get(ip) === "cf");
    expect(moved).toEqual(orphans);
    expect(orphans.length).toBeGreaterThan(60);
    // The addresses are fixed and so is the hash: this says once and for all that the halves are halves.
    const toDuck = orphans.filter((ip) => after.get(ip) === "duck").length;
    expect(toDuck / orphans.length).toBeGreaterThan(0.35);
    expect(toDuck / orphans.length).toBeLessThan(0.65);
  });

  it("is on the backend of its household: all addresses of an IPv6 /64, however they are written", async () => {
    for (const network of ["2001:db8:1:1", "2001:db8:1:2", "2001:db8:1:3", "2001:db8:1:4", "2001:db8:1:5"]) {
      const addresses = [
        `${network}::1`,
        `${network}:0:0:0:2`,
        `${network}:dead:beef:cafe:f00d`,
        `${network.toUpperCase()}:FFFF::1`,
        `${network.replace("db8", "0db8")}::9`,
      ];
      expect(new Set((await homes(addresses)).values()).size).toBe(1);
    }
  });

  it("is spread over the backends by its /64", async () => {
    const addresses = Array.from({ length: 40 }, (_, i) => `2001:db8:0:${i.toString(16)}::1`);
    expect(new Set((await homes(addresses)).values())).toEqual(new Set(IDS));
  });

  it("is not moved by an address that it writes itself", async () => {
    const home = await lb.servedBy({ ip: "198.51.100.7" });
    for (const name of ["X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Forwarded"]) {
      for (const address of ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"]) {
        expect(await lb.servedBy({ ip: "198.51.100.7", headers: { [name]: address } })).toBe(home);
      }
    }
  });

  it("is served where nobody says what its address is", async () => {
    const answer: Answer = await lb.worker.fetch("/");
    expect(answer.status).toBe(200);
  });

  async function homes(ips: readonly string[]): Promise<Map<string, string>> {
    const found: [string, string][] = [];
    for (let i = 0; i < ips.length; i += 25) {
      const batch = ips.slice(i, i + 25);
      found.push(
        ...(await Promise.all(batch.map(async (ip): Promise<[string, string]> => [ip, await lb.servedBy({ ip })]))),
      );
    }
    return new Map(found);
  }
});
