import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { send } from "../support/aiostreams.ts";
import { COMPILE_CACHE } from "../support/processes.ts";
import { DOMAIN, IDS, type JsonReport, until, World } from "./doctor-world.ts";

/** On two cores that are shared with other tests Wrangler takes its time. */
const START_TIMEOUT_MS = 45_000;
const ROOT = join(import.meta.dirname, "../..");

/** The lines about the public address, without those that say that all is well. */
function complaints({ lines }: JsonReport) {
  return lines.filter(({ section, kind }) => section === "public" && kind !== "ok");
}

/** A world whose Worker is deployed, and whose status page is known. */
async function deployed(): Promise<World> {
  const world = await World.start();
  await world.deploy();
  world.vars.STATUS_PATH = world.worker.statusPath;
  return world;
}

describe.concurrent("the public address", () => {
  it("answers that its variables are wrong: nothing more can be learnt of it", async () => {
    await using world = await deployed();
    world.worker.instead = (_, response) => {
      response.writeHead(500).end("The load balancer is not configured:\nMAX_RETRIES must be a whole number");
      return true;
    };
    const report = await world.report();
    expect(report.code).toBe(1);
    expect(complaints(report)[0]).toMatchObject({
      kind: "wrong",
      found: `https://${DOMAIN} answers 500: variables of the Worker are wrong`,
      todo: expect.stringContaining("Change them in wrangler.toml"),
    });
  });

  it("has no certificate yet", async () => {
    await using world = await deployed();
    world.names[`${DOMAIN}:443`] = world.backends.cf.port;
    const [line] = complaints(await world.report());
    expect(line).toMatchObject({ kind: "wrong", found: `its certificate is for another name than ${DOMAIN}` });
    expect(line?.todo).toContain("Cloudflare takes some minutes to get a certificate for a new domain");
  });

  it("does not answer: after ten seconds it is given up", async () => {
    await using world = await deployed();
    world.worker.instead = () => true;
    const [line] = complaints(await world.report());
    expect(line).toMatchObject({ kind: "wrong", found: `${DOMAIN} does not answer on port 443 within 10 s` });
  });

  it("is answered by something else, which sets no session cookie", async () => {
    await using world = await deployed();
    world.worker.instead = ({ url }, response) => {
      if (url !== "/api/v1/health") return false;
      send(response, 200, {});
      return true;
    };
    const [line] = complaints(await world.report());
    expect(line).toMatchObject({
      about: "session",
      kind: "wrong",
      found: "the answer sets no session cookie, so it does not come from this Worker",
    });
    expect(line?.todo).toContain("Not deployed yet? Then remove its DNS record");
  });

  it("has no session cookie to look for when STICKY_SESSIONS is false", async () => {
    await using world = await deployed();
    world.vars.STICKY_SESSIONS = false;
    const report = await world.report();
    expect(report.code).toBe(0);
    expect(complaints(report)).toMatchObject([{ about: "session", kind: "skipped" }]);
  });

  it("answers from a backend that wrangler.toml does not have", async () => {
    await using world = await deployed();
    world.worker.backend = "old";
    expect(complaints(await world.report())).toMatchObject([
      {
        about: "session",
        kind: "wrong",
        found: "the answer comes from old, and wrangler.toml has only cf, duck and koyeb",
        todo: "What is deployed differs from wrangler.toml: npm run deploy.",
      },
    ]);
  });

  it("does not hold the session: that deserves a look", async () => {
    await using world = await deployed();
    world.worker.instead = ({ url, headers }, response) => {
      if (url === "/api/v1/health" && headers.cookie !== undefined) world.worker.backend = "koyeb";
      return response.destroyed;
    };
    const report = await world.report();
    expect(report).toMatchObject({ code: 0, warnings: 1 });
    expect(complaints(report)).toMatchObject([
      { about: "session", kind: "warning", todo: expect.stringContaining("look what is said about cf above") },
    ]);
  });

  it("does not redirect plain HTTP", async () => {
    await using world = await deployed();
    world.worker.instead = ({ headers }, response) => {
      if (headers.host !== DOMAIN || headers.cookie !== undefined) return false;
      response.writeHead(302, { Location: `https://${DOMAIN}.evil.test/` }).end();
      return true;
    };
    expect(complaints(await world.report())).toContainEqual(
      expect.objectContaining({
        about: "redirect",
        kind: "wrong",
        found: `plain HTTP answers 302 and does not lead to https://${DOMAIN}`,
      }),
    );
  });

  it("has no status page at STATUS_PATH", async () => {
    await using world = await deployed();
    world.worker.statusPath = "/another-path";
    expect(complaints(await world.report())).toMatchObject([
      { about: "status page", kind: "wrong", found: "its address answers 200 without the page" },
    ]);
  });
});

describe("--url", () => {
  it("asks a Worker under wrangler dev, by way of plain HTTP", async () => {
    await using world = await World.start();
    for (const id of IDS) {
      await world.replace(id, null);
      world.vars[`BACKEND_${id.toUpperCase()}`] = `http://127.0.0.1:${world.backends[id].port}`;
    }
    Object.assign(world.vars, {
      STATUS_PATH: "/lb-status-8f3a",
      SERVED_BY_HEADER: "X-Served-By",
      BACKEND_TIMEOUT: 20_000,
    });
    await using dev = await wranglerDev({ ...world.vars, PRIMARY_DOMAIN: "aiostreams.example.com" });
    const report = await world.report(["--url", dev.url]);
    expect(report, JSON.stringify(report)).toMatchObject({ code: 0, wrong: 0, warnings: 0 });
    expect(report.lines.filter(({ section }) => section === "public")).toMatchObject([
      { kind: "ok", found: expect.stringMatching(`^${dev.url} answers 200 in \\d+ ms$`) },
      { kind: "ok", about: "session", found: expect.stringContaining("the answer comes from") },
      { kind: "ok", about: "session", found: expect.stringContaining("the cookie holds") },
      { kind: "skipped", about: "redirect" },
      { kind: "ok", about: "status page", found: "it answers; backends on it: 3" },
    ]);
  });

  it("with a name that does not exist is a fault, for somebody has said that the Worker is there", async () => {
    await using world = await World.start();
    const report = await world.report(["--url", "http://nowhere.test:8787"]);
    expect(report.code).toBe(1);
    expect(complaints(report)).toMatchObject([
      { kind: "wrong", found: "the name nowhere.test does not exist", todo: "Correct --url." },
    ]);
  });

  it("where nothing listens says how to start the Worker", async () => {
    await using world = await World.start();
    world.names["worker.test:80"] = world.backends.cf.port;
    const report = await world.report(["--url", "http://worker.test:8787"]);
    expect(complaints(report)).toMatchObject([
      {
        kind: "wrong",
        found: "worker.test refuses connections on port 8787: nothing listens there",
        todo: "Start the Worker there first (npm run dev), or correct --url.",
      },
    ]);
  });
});

/** `wrangler dev` with these variables, on a port that it chooses itself. */
async function wranglerDev(vars: World["vars"]): Promise<AsyncDisposable & { url: string }> {
  const args = ["dev", "--local", "--port", "0", "--inspector-port", "0", "--show-interactive-dev-session=false"];
  const values = Object.entries(vars).flatMap(([name, value]) => ["--var", `${name}:${value}`]);
  const child = spawn(process.execPath, [join(ROOT, "node_modules/wrangler/bin/wrangler.js"), ...args, ...values], {
    cwd: ROOT,
    env: {
      ...process.env,
      ...COMPILE_CACHE,
      WRANGLER_SEND_METRICS: "false",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      NO_COLOR: "1",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += chunk;
    });
  }
  const url = () => /Ready on (http:\/\/\S+:\d+)/.exec(output)?.[1] ?? "";
  const isAnswering = async () => (await fetch(`${url()}/api/v1/health`).catch(() => undefined))?.ok === true;
  const isDone = async () => child.exitCode !== null || (url() !== "" && (await isAnswering()));
  await until("wrangler dev answers", isDone, START_TIMEOUT_MS).catch(() => {});
  if (!(await isAnswering())) throw new Error(`wrangler dev did not start:\n${output}`);
  return {
    url: url(),
    [Symbol.asyncDispose]: async () => {
      const closed = once(child, "close");
      child.kill("SIGTERM");
      await closed;
    },
  };
}
