import { describe, expect, it } from "vitest";
import { until } from "../support/waiting.ts";
import { DOMAIN, World } from "./doctor-world.ts";

const USER = "/api/v1/user";
const ESCAPE = "\u001b[";

describe("the doctor", () => {
  it("says of each question that all is well, past Cloudflare Access, and shows no secret", async () => {
    await using world = await World.start();
    await world.deploy();
    world.vars.BACKEND_DUCK = "duck.films.test backup";
    await world.file(".dev.vars", 'HEADERS_CF="CF-Access-Client-Id: token\\nCF-Access-Client-Secret: token-secret"\n');
    world.backends.cf.settings.instead = ({ headers }) =>
      headers.get("CF-Access-Client-Secret") === "token-secret"
        ? undefined
        : { status: 302, headers: { Location: "https://team.cloudflareaccess.com/login" } };
    const doctor = await world.doctor();
    expect(await doctor.ended(), doctor.output + doctor.errors).toBe(0);
    for (const text of [
      "✓ nothing is wrong in wrangler.toml; it names cf, duck (backup) and koyeb.",
      "✓ koyeb  koyeb.films.test is there, and its certificate is valid for",
      "✓ cf     /api/v1/health answers 200 in",
      "✓ AIOStreams 2.33.2 (commit f36d0f9) on cf, duck and koyeb.",
      `✓ BASE_URL is https://${DOMAIN} on cf, duck and koyeb.`,
      "✓ the throwaway user is deleted, and gone on cf, duck and koyeb.",
      "✓ cf, duck and koyeb share one database and one SECRET_KEY.",
      "✓ clients are told apart by X-Forwarded-For on cf, duck and koyeb.",
      `✓ https://${DOMAIN} answers 200 in`,
      "✓ session  the cookie holds: asked again with it, the answer stays with cf.",
      `✓ redirect  plain HTTP is redirected to https://${DOMAIN} (301).`,
      "✓ status page  it answers; backends on it: 3.",
    ]) {
      expect(doctor.output).toContain(text);
    }
    expect(doctor.output.trimEnd().split("\n").at(-1)).toBe("Nothing is wrong, 1 thing was not asked (–).");
    expect(doctor.output).not.toContain(ESCAPE);
    expect(world.database.size).toBe(0);
  });

  it("finds several faults at once, and says so to programs as JSON", async () => {
    await using world = await World.start();
    world.vars.MAX_RETRIES = 33;
    world.backends.cf.settings.baseUrl = "https://cf.films.test";
    await world.listen("duck", "expired");
    await world.listen("koyeb", undefined);
    const doctor = await world.doctor(["--json"]);
    expect(await doctor.ended(), doctor.errors).toBe(1);
    const report = JSON.parse(doctor.output);
    expect(report).toMatchObject({ ok: false, interrupted: false, wrong: 4, warnings: 0, left: [] });
    const faults = report.lines.filter(({ kind }: { kind: string }) => kind === "wrong");
    expect(faults).toMatchObject([
      { section: "configuration", about: "MAX_RETRIES", found: 'must be a whole number from 0 to 10, found "33"' },
      { section: "reachable", about: expect.any(String), todo: expect.any(String) },
      { section: "reachable", about: expect.any(String), todo: expect.any(String) },
      { section: "version", about: "cf", found: expect.stringContaining("its BASE_URL is") },
    ]);
  });

  it("says to programs too when it could not run", async () => {
    await using world = await World.start();
    const doctor = await world.doctor(["--json", "--url", "films"]);
    expect(await doctor.ended()).toBe(2);
    expect(JSON.parse(doctor.output)).toMatchObject({ ok: false, error: expect.stringContaining("--url must be") });
    expect(doctor.errors).toContain("The doctor could not run: --url must be");
  });

  it("in a terminal is coloured, names what it waits for, and deletes its user on Ctrl-C", async () => {
    await using world = await World.start();
    let isAsked = false;
    world.backends.koyeb.settings.instead = ({ path }) => {
      isAsked ||= path === USER;
      return path === USER ? "nothing" : undefined;
    };
    const doctor = await world.doctor([], { hasTerminal: true });
    await until("koyeb is asked about the user", () => isAsked);
    expect(world.database.size).toBe(1);
    doctor.child.stdin?.write("\u0003");
    await doctor.ended();
    await until("the user is deleted", () => world.database.size === 0);
    expect(doctor.output).toContain(`${ESCAPE}32m✓${ESCAPE}39m`);
    expect(doctor.output).toMatch(/… waiting for .*koyeb/);
    expect(doctor.output).toContain("Interrupted. Deleting the throwaway user first");
  });

  it("that is interrupted twice leaves its user, and says which and where", async () => {
    await using world = await World.start();
    let isBeingDeleted = false;
    world.backends.cf.settings.instead = ({ path, method }) => {
      isBeingDeleted ||= method === "DELETE";
      if (path === USER && method === "GET") doctor.child.kill("SIGINT");
      return path === USER && method !== "POST" ? "nothing" : undefined;
    };
    const doctor = await world.doctor();
    await until("the user is being deleted", () => isBeingDeleted);
    // A second one within a second counts as the first, which npm may have passed on.
    await until("it has ended", () => !doctor.child.kill("SIGINT") || doctor.child.exitCode !== null);
    expect(await doctor.ended()).toBe(2);
    const [uuid] = world.database.keys();
    expect(doctor.errors).toContain(`The throwaway user ${uuid} may be left in the database of cf.`);
  });

  it("on a pipe that is closed deletes its user too", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.instead = ({ path }) => {
      if (path === USER) doctor.child.stdout?.destroy();
      return undefined;
    };
    const doctor = await world.doctor();
    expect(await doctor.ended()).toBe(2);
    expect(world.database.size).toBe(0);
  });
});
