import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { DOMAIN, hostOf, IDS, until, World } from "./doctor-world.ts";

const ESCAPE = "\u001b[";

describe("the doctor, when all is well", () => {
  it("says so of each question, leaves no user, and ends with 0", async () => {
    await using world = await World.start();
    world.hasWrangler = true;
    await world.deploy();
    world.vars.STATUS_PATH = world.worker.statusPath;
    world.vars.BACKEND_DUCK = "duck.films.test backup";
    const doctor = await world.run();
    expect(await doctor.ended(), doctor.output).toBe(0);
    expect(doctor.output).not.toMatch(/^ +[✗!]/m);
    for (const text of [
      "✓ nothing is wrong in it; it names cf, duck (backup) and koyeb.",
      "✓ koyeb  koyeb.films.test is there, and its certificate is valid for 89 more days.",
      "✓ AIOStreams 2.33.2 (commit f36d0f9) on cf, duck and koyeb.",
      `✓ BASE_URL is https://${DOMAIN} on cf, duck and koyeb.`,
      "✓ cf     made a throwaway user.",
      "✓ koyeb  reads the user that cf made: the same database and SECRET_KEY.",
      "✓ the throwaway user is deleted, and gone on cf, duck and koyeb.",
      `✓ https://${DOMAIN} answers 200 in`,
      "✓ session  the answer comes from cf, and sets a session cookie that says so.",
      "✓ session  the cookie holds: asked again with it, the answer stays with cf.",
      `✓ redirect  plain HTTP is redirected to https://${DOMAIN} (301).`,
      "✓ status page  it answers; backends on it: 3.",
    ]) {
      expect(doctor.output).toContain(text);
    }
    expect(doctor.output).toMatch(/✓ koyeb {2}\/api\/v1\/health answers 200 in \d+ ms\./);
    expect(doctor.lastLine).toBe("Nothing is wrong, 1 thing was not asked (–).");
    expect(world.database.size).toBe(0);
  });

  it("names the deployment as the next step while the public domain does not resolve", async () => {
    await using world = await World.start();
    const doctor = await world.run();
    expect(await doctor.ended()).toBe(0);
    expect(doctor.output).toContain(
      `– ${DOMAIN} does not resolve yet: not asked.\n    → npm run deploy creates the name.`,
    );
    expect(doctor.lastLine).toContain("Next: npm run deploy, then npm run doctor once more.");
  });

  it("says the same as JSON to programs, and nothing else", async () => {
    await using world = await World.start();
    const report = await world.report();
    expect(report).toMatchObject({
      code: 0,
      ok: true,
      interrupted: false,
      wrong: 0,
      warnings: 0,
      skipped: 2,
      left: [],
    });
    const sections = new Set(report.lines.map(({ section }) => section));
    expect([...sections]).toEqual(["configuration", "reachable", "health", "version", "user", "public"]);
  });
});

describe("the doctor at work", () => {
  it("prints what it knows while it still waits for the rest", async () => {
    await using world = await World.start();
    world.backends.duck.settings.instead = (request) => request.url === "/api/v1/health";
    const doctor = await world.start();
    await until(
      "two backends are up",
      () => /✓ cf +\/api.*/.test(doctor.output) && /✓ koyeb +\/api/.test(doctor.output),
    );
    expect(doctor.isRunning).toBe(true);
    expect(doctor.output).not.toContain("Do they run the same AIOStreams?");
  });

  it("is coloured in a terminal, and names there what it waits for", async () => {
    await using world = await World.start();
    const doctor = await world.startInTerminal();
    expect(await doctor.ended(), doctor.output).toBe(0);
    expect(doctor.output).toContain(`${ESCAPE}32m✓${ESCAPE}39m`);
    expect(doctor.output).toMatch(/… waiting for cf, duck, koyeb/);
  });

  it.each([
    { where: "in a terminal with NO_COLOR", inTerminal: true },
    { where: "without a terminal", inTerminal: false },
  ])("is plain $where", async ({ inTerminal }) => {
    await using world = await World.start();
    const doctor = inTerminal ? await world.startInTerminal([], { NO_COLOR: "1" }) : await world.start();
    expect(await doctor.ended(), doctor.output).toBe(0);
    expect(doctor.output).toContain("✓ cf     made a throwaway user");
    // A colour is a list of numbers that ends in m.
    expect(doctor.output.split(ESCAPE).filter((text) => /^[\d;]*m/.test(text))).toEqual([]);
  });

  it("puts the summary last, in which it counts what is wrong", async () => {
    await using world = await World.start();
    world.backends.cf.settings.baseUrl = "https://cf.films.test";
    await world.replace("duck", world.authority.issue([hostOf("duck")], 9));
    await world.replace("koyeb", null);
    const doctor = await world.run();
    expect(await doctor.ended()).toBe(1);
    expect(doctor.lastLine).toBe(
      "2 things are wrong (✗), 1 needs a look (!), 2 things were not asked (–). Do what → says, then run npm run doctor again.",
    );
  });
});

describe("wrangler.toml", () => {
  it("is judged as the preflight judges it, and what is right in it is asked all the same", async () => {
    await using world = await World.start();
    world.hasWrangler = true;
    Object.assign(world.vars, {
      MAX_RETRIES: 33,
      MAX_RETRY: 3,
      BACKEND_OLD: "old.example.com weight=2",
      BACKEND_TWIN: "cf.films.test",
      BACKEND_WRONG: "https://me:hunter2@cf.films.test/stremio/uuid/manifest-secret",
      STATUS_PATH: "status-secret",
    });
    const report = await world.report();
    expect(report.code).toBe(1);
    const wrong = new Map(report.lines.filter(({ kind }) => kind === "wrong").map((line) => [line.about, line]));
    expect([...wrong.keys()].sort()).toEqual(
      ["BACKEND_OLD", "BACKEND_TWIN", "BACKEND_WRONG", "MAX_RETRIES", "MAX_RETRY", "STATUS_PATH"].sort(),
    );
    expect(wrong.get("MAX_RETRIES")?.found).toBe('must be a whole number from 0 to 10, found "33"');
    expect(wrong.get("MAX_RETRY")?.found).toContain("is it misspelt?");
    expect(wrong.get("BACKEND_OLD")?.found).toBe('still has its example value "old.example.com"');
    expect([...wrong.values()].every(({ todo }) => todo?.includes("wrangler.toml"))).toBe(true);
    expect(JSON.stringify(report)).not.toMatch(/hunter2|manifest-secret/);
    expect(report.lines.filter(({ section }) => section === "user")).toHaveLength(5);
  });

  it("is the only thing asked about while it names nothing to ask", async () => {
    await using world = await World.start();
    world.hasWrangler = true;
    for (const id of IDS) world.vars[`BACKEND_${id.toUpperCase()}`] = `${id}.example.com`;
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 3, skipped: 1 });
    expect(report.lines.at(-1)?.found).toContain("nothing was asked");
  });

  it("has to be there and to be TOML: otherwise the doctor cannot run, and ends with 2", async () => {
    await using world = await World.start();
    world.hasWrangler = true;
    const missing = await world.run(["--config", "/nowhere/wrangler.toml"]);
    expect(await missing.ended()).toBe(2);
    expect(missing.errors).toContain("The doctor could not run: /nowhere/wrangler.toml cannot be used");
    const asJson = await world.run(["--json", "--config", "/nowhere/wrangler.toml"]);
    expect(JSON.parse(asJson.output)).toMatchObject({ ok: false, error: expect.stringContaining("/nowhere") });
  });
});

describe("the command line", () => {
  it.each([
    { args: ["--fast"], answer: "--fast" },
    { args: ["films"], answer: "films" },
    { args: ["--url", "localhost:8787"], answer: "--url must be http(s)://host[:port] without a path" },
    { args: ["--url", "https://films.test/lb"], answer: "--url must be http(s)://host[:port] without a path" },
  ])("refuses $args, shows how it is used, and ends with 2", async ({ args, answer }) => {
    await using world = await World.start();
    const doctor = await world.run(args);
    expect(await doctor.ended()).toBe(2);
    expect(doctor.errors).toContain(answer);
    expect(doctor.errors).toContain("Usage: npm run doctor");
  });

  it("shows its help", async () => {
    const { stdout } = await promisify(execFile)("npm", ["run", "--silent", "doctor", "--", "--help"], {
      cwd: join(import.meta.dirname, "../.."),
    });
    expect(stdout).toContain("Usage: npm run doctor");
    expect(stdout).toContain("AIOSTREAMS_ADDON_PASSWORD");
  });
});
