import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { send } from "../support/aiostreams.ts";
import { Authority, selfSigned } from "../support/certificate.ts";
import { DOMAIN, hostOf, IDS, type Line, linesOf, World } from "./doctor-world.ts";

/** Accepts connections, and never says a word. */
async function silentServer(): Promise<AsyncDisposable & { port: number }> {
  const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

describe.concurrent("a backend that is not there", () => {
  it("has no name, or refuses connections: says which variable, and asks the others all the same", async () => {
    await using world = await World.start();
    delete world.names["koyeb.films.test:443"];
    world.backends.duck.stop();
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 2 });
    expect(linesOf(report, { about: "koyeb" })).toEqual([
      {
        section: "reachable",
        kind: "wrong",
        about: "koyeb",
        found: "the name koyeb.films.test does not exist",
        todo: "Create it in your DNS (or start the dynamic DNS client on koyeb), or correct BACKEND_KOYEB in wrangler.toml.",
      },
    ]);
    const [refusing, ...more] = linesOf(report, { about: "duck" });
    expect(refusing?.found).toBe("duck.films.test refuses connections on port 443: nothing listens there");
    expect(refusing?.todo).toContain("correct BACKEND_DUCK");
    expect(more).toEqual([]);
    expect(linesOf(report, { about: "cf" }).map(({ kind }) => kind)).toEqual(["ok", "ok"]);
  });

  it("is silent, from the start or from its check on: each is given up after ten seconds", async () => {
    await using silent = await silentServer();
    await using world = await World.start();
    world.names["koyeb.films.test:443"] = silent.port;
    world.backends.duck.settings.instead = () => true;
    const report = await world.report();
    expect(linesOf(report, { kind: "wrong" })).toMatchObject([
      { section: "reachable", about: "koyeb", found: "koyeb.films.test does not answer on port 443 within 10 s" },
      { section: "health", about: "duck", found: "duck.films.test does not answer on port 443 within 10 s" },
    ]);
    expect(world.backends.duck.seen).toEqual(["GET /api/v1/health"]);
  });

  it("has a certificate that has expired or is for another name, or none since it speaks plain HTTP", async () => {
    await using world = await World.start();
    await world.replace("cf", world.authority.issue([hostOf("cf")], -3));
    await world.replace("duck", world.authority.issue(["app.koyeb.test"]));
    await world.replace("koyeb", null);
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 3 });
    const [[expired], [misnamed], [plain]] = IDS.map((about) => linesOf(report, { about })) as [Line[], Line[], Line[]];
    expect(expired).toMatchObject({ kind: "wrong", found: "its certificate has expired" });
    expect(expired?.todo).toContain("Renew the certificate on cf");
    expect(misnamed).toMatchObject({
      kind: "wrong",
      found: "its certificate is for another name than duck.films.test",
    });
    expect(misnamed?.todo).toContain("correct BACKEND_DUCK");
    expect(plain).toMatchObject({ kind: "wrong", found: "it does not speak TLS on port 443" });
    expect(plain?.todo).toContain('write BACKEND_KOYEB = "http://koyeb.films.test" in wrangler.toml');
  });

  it("has a certificate that nobody vouches for, or only itself", async () => {
    await using world = await World.start();
    await world.replace("duck", new Authority("A stranger").issue([hostOf("duck")]));
    await world.replace("koyeb", selfSigned(hostOf("koyeb")));
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 2 });
    expect(linesOf(report, { about: "duck" })[0]?.found).toContain("comes from an issuer that is not trusted");
    expect(linesOf(report, { about: "koyeb" })[0]?.found).toContain("its certificate is self-signed");
  });

  it("has a certificate that ends in less than 14 days: that is no fault yet", async () => {
    await using world = await World.start();
    await world.replace("duck", world.authority.issue([hostOf("duck")], 9.5));
    const report = await world.report();
    expect(report).toMatchObject({ code: 0, wrong: 0, warnings: 1 });
    expect(linesOf(report, { about: "duck" })[0]).toMatchObject({
      kind: "warning",
      found: expect.stringMatching(/valid for only 9 more days \(until \d{4}-\d\d-\d\d\)/),
      todo: "Renew the certificate on duck, and look why that did not happen by itself.",
    });
  });
});

describe.concurrent("a backend that is not up", () => {
  it("answers no 2xx to its check: that is a fault, though it is still compared", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.instead = ({ url }, response) => {
      if (url !== "/api/v1/health") return false;
      response.writeHead(302, { Location: "https://login.test/secret-path" }).end();
      return true;
    };
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 1 });
    const [line] = linesOf(report, { kind: "wrong" });
    expect(line).toMatchObject({ section: "health", found: "/api/v1/health answers 302, where 2xx is due" });
    expect(line?.todo).toBe(
      "It redirects to https://login.test. Write into BACKEND_KOYEB the address that answers itself, or correct HEALTH_CHECK_PATH.",
    );
    expect(linesOf(report, { about: "koyeb" }).at(-1)).toMatchObject({ section: "user", kind: "ok" });
  });

  it("was asleep, as a backup may be: that is a slow answer, and no fault", async () => {
    await using world = await World.start();
    world.vars.BACKEND_DUCK += " backup";
    for (const id of ["duck", "koyeb"] as const) {
      let isAwake = false;
      world.backends[id].settings.instead = (_, response) => {
        if (isAwake) return false;
        isAwake = true;
        setTimeout(() => send(response, 200, {}), 3_300);
        return true;
      };
    }
    const report = await world.report();
    expect(report).toMatchObject({ code: 0, warnings: 2 });
    const [[backup], [primary]] = (["duck", "koyeb"] as const).map((about) =>
      linesOf(report, { about, kind: "warning" }),
    ) as [Line[], Line[]];
    expect(backup?.found).toMatch(/answered after \d{4} ms, and when asked again after \d+ ms: it was asleep/);
    expect(backup?.todo).toContain("As a backup it may sleep");
    expect(primary?.todo).toContain("write the word backup behind its address in BACKEND_KOYEB");
  });

  it("is always slower than the Worker waits: that is a fault", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.instead = ({ url }, response) => {
      if (url !== "/api/v1/health") return false;
      setTimeout(() => send(response, 200, {}), 3_300);
      return true;
    };
    const [line] = linesOf(await world.report(), { kind: "wrong" });
    expect(line?.found).toMatch(/answers only after \d{4} ms and \d{4} ms; the Worker's check waits 3000 ms/);
  });
});

describe("backends that say different things of themselves", () => {
  it("have different versions: says which has which", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.version = "2.32.1";
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 1 });
    const [line] = linesOf(report, { kind: "wrong" });
    expect(line?.found).toBe("different versions: 2.33.2 on cf and duck; 2.32.1 on koyeb");
    expect(line?.todo).toContain("Run the same AIOStreams image on all of them");
  });

  it("have another BASE_URL, or none", async () => {
    await using world = await World.start();
    world.backends.cf.settings.baseUrl = undefined;
    world.backends.duck.settings.baseUrl = `https://${DOMAIN}/stremio/uuid/secret`;
    world.backends.koyeb.settings.baseUrl = "https://koyeb.films.test";
    const report = await world.report();
    expect(linesOf(report, { kind: "wrong" })).toMatchObject([
      {
        about: "cf",
        found: "has no BASE_URL",
        todo: `Set BASE_URL=https://${DOMAIN} on cf, and start it again: else its players go past the Worker.`,
      },
      {
        about: "duck",
        found: `its BASE_URL is "https://${DOMAIN}" with a path behind it, which is not the Worker's address`,
      },
      { about: "koyeb", found: 'its BASE_URL is "https://koyeb.films.test", which is not the Worker\'s address' },
    ]);
  });
});

describe("backends that are no AIOStreams", () => {
  it("are not compared when none of them is: another application behind the Worker is no fault", async () => {
    await using world = await World.start();
    for (const id of IDS) {
      world.backends[id].settings.instead = ({ url }, response) => {
        if (url === "/api/v1/health") return false;
        response.writeHead(404, { "Content-Type": "text/html" }).end("<!doctype html>Nothing here");
        return true;
      };
    }
    const report = await world.report();
    expect(report).toMatchObject({ code: 0, wrong: 0 });
    expect(linesOf(report, { about: "cf" }).at(-1)).toMatchObject({
      kind: "skipped",
      found: "not AIOStreams (/api/v1/status answers 404 with HTML): not compared",
    });
    expect(IDS.flatMap((id) => world.backends[id].seen).some((line) => line.includes("/api/v1/user"))).toBe(false);
  });

  it("are a fault beside AIOStreams: HTML where JSON is due, and JSON of another kind", async () => {
    await using world = await World.start();
    world.backends.duck.settings.instead = (_, response) => {
      response.end('{"status":"fine"}');
      return true;
    };
    world.backends.koyeb.settings.instead = (_, response) => {
      response.end("<!doctype html><title>Welcome</title>");
      return true;
    };
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 2 });
    expect(linesOf(report, { kind: "wrong" })).toMatchObject([
      { about: "duck", found: "is not AIOStreams: /api/v1/status answers 200 with other JSON" },
      {
        about: "koyeb",
        found: "is not AIOStreams: /api/v1/status answers 200 with HTML",
        todo: expect.stringContaining("BACKEND_KOYEB"),
      },
    ]);
  });

  it("send JSON that is cut off, or more than 4 MiB, of which no more is read", async () => {
    await using world = await World.start();
    let written = 0;
    world.backends.duck.settings.instead = (_, response) => {
      response.end('{"success":true,"data":{"version');
      return true;
    };
    world.backends.koyeb.settings.instead = ({ url }, response) => {
      if (url !== "/api/v1/status") return false;
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(256 * 1024, " "))) written += 256 * 1024;
      };
      response.on("drain", more);
      more();
      return true;
    };
    const report = await world.report();
    expect(linesOf(report, { kind: "wrong" })).toMatchObject([
      { about: "koyeb", found: "/api/v1/status: it sent more than 4 MiB, so the answer was not read" },
      { about: "duck", found: "is not AIOStreams: /api/v1/status answers 200 without JSON" },
    ]);
    // Beyond the 4 MiB there is only what was on its way when the doctor hung up.
    expect(written).toBeLessThan(40 * 1024 * 1024);
  });
});

it("finds several faults at once, each with what to do", async () => {
  await using world = await World.start();
  world.backends.cf.settings.baseUrl = "https://cf.films.test";
  world.backends.duck.settings.version = "2.32.1";
  world.backends.duck.settings.database = new Map();
  world.backends.koyeb.settings.secretKey = "f".repeat(64);
  await world.replace("koyeb", world.authority.issue([hostOf("koyeb")], 3));
  const report = await world.report();
  expect(report).toMatchObject({ code: 1, wrong: 4, warnings: 1 });
  const lines = linesOf(report, {}).filter(({ kind }) => kind === "wrong" || kind === "warning");
  expect(lines.map(({ section, about }) => `${section} ${about}`).sort()).toEqual([
    "reachable koyeb",
    "user duck",
    "user koyeb",
    "version cf",
    "version undefined",
  ]);
  expect(lines.every(({ todo }) => todo !== undefined)).toBe(true);
});
