import { describe, expect, it } from "vitest";
import type { Mode } from "../support/backend.ts";
import {
  boundTo,
  HINTS_ONLY,
  IDS,
  type Id,
  type LoadBalancer,
  startLoadBalancer,
  takeDown,
} from "../support/fixture.ts";
import { handshake } from "../support/raw-http.ts";
import { until } from "../support/waiting.ts";
import type { Answer } from "../support/worker.ts";

const ATTRIBUTES = "Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=86400";

function anotherThan(id: string): Id {
  return IDS.find((other) => other !== id) as Id;
}

describe.concurrent("the session cookie", () => {
  it("is set on a client's first answer, with the backend's id and these attributes", async () => {
    await using lb = await startLoadBalancer();
    const { headers, text } = await lb.worker.fetch("/");
    expect(headers["set-cookie"]).toEqual([`aiostreams_backend=${JSON.parse(text).id}; ${ATTRIBUTES}`]);
  });

  it("keeps its client on its backend, wherever it comes from, and is not set again", async () => {
    await using lb = await startLoadBalancer();
    for (const id of IDS) {
      for (const ip of ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]) {
        const { text, headers } = await lb.worker.fetch("/", boundTo(id, { ip }));
        expect(JSON.parse(text).id).toBe(id);
        expect(headers["set-cookie"]).toBeUndefined();
      }
    }
  });

  it("is found among other cookies", async () => {
    await using lb = await startLoadBalancer();
    const home = await lb.servedBy();
    const id = anotherThan(home);
    const headers = { Cookie: `a=1; notaiostreams_backend=${home}; aiostreams_backend=${id}; b="x=y"` };
    expect(await lb.servedBy({ headers })).toBe(id);
  });

  it("is set on every answer below 500, and on none from 500 on", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    let status = 0;
    for (const backend of lb.backends) backend.onRequest = (_, response) => void response.writeHead(status).end();
    for (status of [200, 201, 204, 206, 302, 304, 400, 404, 429, 499]) {
      expect((await lb.worker.fetch("/")).session, String(status)).toBeDefined();
    }
    for (status of [500, 501, 502, 503, 504, 505, 529, 599]) {
      const answer = await lb.worker.fetch("/");
      expect(answer.status).toBe(status);
      expect(answer.headers["set-cookie"], String(status)).toBeUndefined();
    }
  });

  it("is set on the 101 of a WebSocket, beside the application's own, and not while it is right", async () => {
    await using lb = await startLoadBalancer();
    for (const backend of lb.backends) backend.upgradeHeaders = ["Set-Cookie: theme=dark", "Set-Cookie: id=1"];
    const { statusCode, headers } = await handshake(lb.worker, "/socket");
    expect(statusCode).toBe(101);
    const session = `aiostreams_backend=${headers["x-served-by-backend"]}; ${ATTRIBUTES}`;
    expect(headers["set-cookie"]).toEqual(["theme=dark", "id=1", session]);
    const right = await handshake(lb.worker, "/socket", boundTo("cf"));
    expect(right.headers["set-cookie"]).toEqual(["theme=dark", "id=1"]);
  });

  it("stands beside the application's own cookies", async () => {
    await using lb = await startLoadBalancer();
    const own = ["theme=dark; Path=/", "id=a%20b; HttpOnly"];
    for (const backend of lb.backends) {
      backend.handler = (_, response) => void response.writeHead(200, { "Set-Cookie": own }).end();
    }
    const cookies = (await lb.worker.fetch("/")).headers["set-cookie"] ?? [];
    expect(cookies.slice(0, 2)).toEqual(own);
    expect(cookies).toHaveLength(3);
  });

  it("is never set on an answer of the Worker's own", async () => {
    await using lb = await startLoadBalancer();
    const foreign = await lb.worker.fetch("/", { host: "elsewhere.example.net" });
    const insecure = await lb.worker.fetch("/", { scheme: "http" });
    await Promise.all(lb.backends.map((backend) => backend.kill()));
    const unreachable = await lb.worker.fetch("/");
    expect([foreign.status, insecure.status, unreachable.status]).toEqual([421, 301, 502]);
    for (const { headers } of [foreign, insecure, unreachable]) expect(headers["set-cookie"]).toBeUndefined();
  });

  it("counts as absent when no backend is called so, and is replaced", async () => {
    await using lb = await startLoadBalancer();
    const home = await lb.servedBy();
    const values = [
      ...["", "%E0%A4%A", "%", "CF", "cf x", '"cf"', "=cf", "cf=", "cf,duck", "nobody", "0"],
      ...["cf.evil.example.net", "https://evil.example.net", "127.0.0.1:80"],
      ...["__proto__", "constructor", "toString", "hasOwnProperty"],
      ...["caf\u00e9", "\u00ff\u0080", "x".repeat(4000)],
    ];
    for (const value of values) {
      const answer = await lb.worker.fetch("/", { headers: { Cookie: `aiostreams_backend=${value}` } });
      expect(answer, value).toMatchObject({ status: 200, session: home });
    }
  });

  it("counts as absent where the header is no list of cookies", async () => {
    await using lb = await startLoadBalancer();
    const home = await lb.servedBy();
    for (const Cookie of ["aiostreams_backend", "; ; ;", "=", ";=;aiostreams_backend;", "\t"]) {
      expect(await lb.worker.fetch("/", { headers: { Cookie } }), Cookie).toMatchObject({ status: 200, session: home });
    }
  });
});

describe.concurrent("a session", () => {
  it("stays where it is when one request fails there, although the answer came from another", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    const breakages: Mode[] = [
      { kind: "status", status: 500, healthStatus: 200 },
      { kind: "status", status: 503, healthStatus: 200 },
      { kind: "status", status: 521, healthStatus: 200 },
    ];
    for (const mode of breakages) {
      lb.cf.mode = mode;
      const { text, headers } = await lb.worker.fetch("/", boundTo("cf"));
      expect(JSON.parse(text).id).not.toBe("cf");
      expect(headers["set-cookie"]).toBeUndefined();
      const { statusCode, headers: upgraded } = await handshake(lb.worker, "/socket", boundTo("cf"));
      expect([statusCode, upgraded["set-cookie"]]).toEqual([101, undefined]);
      lb.cf.mode = { kind: "well" };
      expect(await lb.isUp("cf")).toBe(true);
    }
    lb.cf.onRequest = ({ socket }) => void socket.resetAndDestroy();
    expect(await lb.worker.fetch("/", boundTo("cf"))).toMatchObject({ status: 200, session: undefined });
    lb.cf.onRequest = undefined;
    expect(await lb.isUp("cf")).toBe(true);
  });

  it("moves once its backend is found down, without a failed attempt, and stays there when that one is back", async () => {
    await using lb = await startLoadBalancer({ HEALTH_CHECK_INTERVAL: 0, BACKEND_DOWN_TIME: 500 });
    await takeDown(lb, ["cf"], { kind: "status", status: 503 });
    const moved = await lb.worker.fetch("/", boundTo("cf"));
    expect(moved).toMatchObject({ status: 200, session: expect.stringMatching(/^(duck|koyeb)$/) });
    expect(JSON.parse(moved.text).id).toBe(moved.session);
    const socket = await handshake(lb.worker, "/socket", boundTo("cf"));
    expect(socket.headers["set-cookie"]).toEqual([expect.stringMatching(/^aiostreams_backend=(duck|koyeb); Path=/)]);
    expect(lb.cf.seen).toEqual([]);

    lb.cf.mode = { kind: "well" };
    await until("it is back", () => lb.isUp("cf"));
    const answer = await lb.worker.fetch("/", boundTo(moved.session ?? ""));
    expect(JSON.parse(answer.text).id).toBe(moved.session);
    expect(answer.headers["set-cookie"]).toBeUndefined();
  });

  it("does not move to an answer that is a failure, though its backend is down", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    await takeDown(lb, ["cf"], { kind: "reset" });
    for (const backend of [lb.duck, lb.koyeb]) backend.mode = { kind: "status", status: 500, healthStatus: 200 };
    const answer = await lb.worker.fetch("/", boundTo("cf"));
    expect(answer.status).toBe(500);
    expect(answer.headers["set-cookie"]).toBeUndefined();
  });
});

describe.concurrent("the session cookie's name and age", () => {
  const vars = { SESSION_COOKIE_NAME: "my.lb", SESSION_COOKIE_TTL: "60" };

  it("are those of the configuration", async () => {
    await using lb = await startLoadBalancer(vars);
    const { headers, text } = await lb.worker.fetch("/");
    const expected = `my.lb=${JSON.parse(text).id}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60`;
    expect(headers["set-cookie"]).toEqual([expected]);
  });

  it("are matched exactly", async () => {
    await using lb = await startLoadBalancer(vars);
    for (const id of IDS) expect(await lb.servedBy({ headers: { Cookie: `my.lb=${id}` } })).toBe(id);
    const home = await lb.servedBy();
    for (const name of ["notmy.lb", "myxlb", "my.lbx", "MY.LB", "my", "lb", "my.lb.my.lb"]) {
      expect(await lb.servedBy({ headers: { Cookie: `${name}=${anotherThan(home)}` } }), name).toBe(home);
    }
  });
});

describe.concurrent.each([["false"], ["FALSE"], [false]])("without sessions (STICKY_SESSIONS=%j)", (value) => {
  it("no cookie is set, and one that is there is not heeded", async () => {
    await using lb = await startLoadBalancer({ STICKY_SESSIONS: value });
    const home = await lb.servedBy();
    for (const id of IDS) {
      const answer = await lb.worker.fetch("/", boundTo(id));
      expect(answer.headers["set-cookie"]).toBeUndefined();
      expect(JSON.parse(answer.text).id).toBe(home);
    }
    expect((await handshake(lb.worker, "/socket")).headers["set-cookie"]).toBeUndefined();
  });
});

describe.concurrent("a client without a cookie", () => {
  it("is served by the same backend every time", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    const first = await lb.servedBy({ ip: "198.51.100.7" });
    for (let i = 0; i < 5; i++) expect(await lb.servedBy({ ip: "198.51.100.7" })).toBe(first);
  });

  it("moves exactly when its backend dies, and about half of the dead one's clients go to each survivor", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    const ips = Array.from({ length: 300 }, (_, i) => `203.0.${i >> 8}.${i & 255}`);
    const before = await homes(lb, ips);
    await lb.cf.kill();
    const after = await homes(lb, ips);
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
    await using lb = await startLoadBalancer(HINTS_ONLY);
    for (const network of ["2001:db8:1:1", "2001:db8:1:2", "2001:db8:1:3", "2001:db8:1:4", "2001:db8:1:5"]) {
      const addresses = [
        `${network}::1`,
        `${network}:0:0:0:2`,
        `${network}:dead:beef:cafe:f00d`,
        `${network.toUpperCase()}:FFFF::1`,
        `${network.replace("db8", "0db8")}::9`,
      ];
      expect(new Set((await homes(lb, addresses)).values()).size).toBe(1);
    }
  });

  it("is spread over the backends by its /64", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    const addresses = Array.from({ length: 40 }, (_, i) => `2001:db8:0:${i.toString(16)}::1`);
    expect(new Set((await homes(lb, addresses)).values())).toEqual(new Set(IDS));
  });

  it("is not moved by an address that it writes itself", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    const home = await lb.servedBy({ ip: "198.51.100.7" });
    for (const name of ["X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Forwarded"]) {
      for (const address of ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"]) {
        expect(await lb.servedBy({ ip: "198.51.100.7", headers: { [name]: address } })).toBe(home);
      }
    }
  });

  it("is served where nobody says what its address is", async () => {
    await using lb = await startLoadBalancer(HINTS_ONLY);
    const answer: Answer = await lb.worker.fetch("/");
    expect(answer.status).toBe(200);
  });
});

async function homes(lb: LoadBalancer, ips: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (let i = 0; i < ips.length; i += 25) {
    const batch = ips.slice(i, i + 25).map(async (ip) => found.set(ip, await lb.servedBy({ ip })));
    await Promise.all(batch);
  }
  return found;
}
