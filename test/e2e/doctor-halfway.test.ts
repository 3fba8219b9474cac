import { describe, expect, it } from "vitest";
import { send } from "../support/aiostreams.ts";
import { IDS, linesOf, until, userLines, World } from "./doctor-world.ts";

const USER = "/api/v1/user";

describe.concurrent("a backend that dies halfway", () => {
  it("made the user: another one on the same database deletes it", async () => {
    await using world = await World.start();
    const { cf } = world.backends;
    cf.settings.instead = ({ url, method }) => {
      if (url !== USER || method === "POST") return false;
      cf.stop();
      return true;
    };
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, left: [] });
    expect(linesOf(report, { about: "cf", kind: "wrong" })[0]?.found).toContain("breaks the connection");
    expect(world.database.size).toBe(0);
  });

  it("made the user, and nobody else shares its database: says which user is left, and where", async () => {
    await using world = await World.start();
    const { cf, duck, koyeb } = world.backends;
    cf.settings.instead = ({ url, method }) => {
      if (url !== USER || method === "POST") return false;
      cf.stop();
      return true;
    };
    duck.settings.database = new Map();
    koyeb.settings.database = new Map();
    const report = await world.report();
    const [uuid] = world.database.keys();
    expect(report.left).toEqual([{ uuid, backend: "cf" }]);
    expect(userLines(report)).toContainEqual({
      section: "user",
      kind: "wrong",
      about: "cf",
      found: expect.stringContaining(`the throwaway user ${uuid} is left in its database`),
      todo: `Delete it in the PostgreSQL of cf: DELETE FROM users WHERE uuid = '${uuid}'. It does no harm: nobody knows its password.`,
    });
  });

  it("dies while it makes the user: says that one may be left, and goes on with the next", async () => {
    await using world = await World.start();
    const { cf } = world.backends;
    cf.settings.instead = ({ url, method }) => {
      if (url !== USER || method !== "POST") return false;
      cf.stop();
      return true;
    };
    const report = await world.report();
    expect(report.left).toEqual([{ backend: "cf" }]);
    expect(linesOf(report, { about: "cf", kind: "wrong" })[0]?.found).toMatch(
      /one may be left .*its uuid is not known/,
    );
    expect(linesOf(report, { about: "koyeb", kind: "ok" }).at(-1)?.found).toContain("reads the user that duck made");
    expect(world.database.size).toBe(0);
  });

  it("hangs when the user is to be deleted: another one deletes it", async () => {
    await using world = await World.start();
    world.backends.cf.settings.instead = ({ url, method }) => url === USER && method === "DELETE";
    const report = await world.report();
    expect(report.left).toEqual([]);
    expect(world.database.size).toBe(0);
  });
});

describe("Ctrl-C", () => {
  it("after the user was made deletes it first", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.instead = ({ url }) => url === USER;
    const doctor = await world.start();
    await until("koyeb is asked", () => world.backends.koyeb.seen.includes(`GET ${USER}`));
    expect(world.database.size).toBe(1);
    // As it may come by way of npm: from the terminal, and from npm once more.
    doctor.child.kill("SIGINT");
    await until("the first one has come", () => doctor.errors.includes("Interrupted."));
    doctor.child.kill("SIGINT");
    expect(await doctor.ended()).toBe(2);
    expect(world.database.size).toBe(0);
    expect(doctor.output).toContain("✓ the throwaway user is deleted.");
    expect(doctor.lastLine).toBe("Interrupted: not everything was asked. Run npm run doctor again.");
  });

  it("in a terminal, by way of npm, deletes it too", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.instead = ({ url }) => url === USER;
    const doctor = await world.startInTerminal();
    await until("koyeb is asked", () => world.backends.koyeb.seen.includes(`GET ${USER}`));
    doctor.child.stdin?.write("\u0003");
    await doctor.ended();
    expect(doctor.output).toContain("Interrupted. Deleting the throwaway user first");
    await until("the user is deleted", () => world.database.size === 0);
  });

  it("while the user is being made waits for its uuid, and deletes it", async () => {
    await using world = await World.start();
    const { cf } = world.backends;
    let goOn = () => {};
    cf.settings.instead = (request, response) => {
      if (request.url !== USER || request.method !== "POST" || goOn.name === "continued") return false;
      goOn = function continued() {
        cf.answer(request, response);
      };
      return true;
    };
    const doctor = await world.start(["--json"]);
    await until("cf is to make a user", () => goOn.name === "continued");
    doctor.child.kill("SIGINT");
    await until("the doctor has understood", () => doctor.errors.includes("Interrupted."));
    goOn();
    expect(await doctor.ended()).toBe(2);
    expect(JSON.parse(doctor.output)).toMatchObject({ ok: false, interrupted: true, left: [] });
    expect(cf.seen.at(-1)).toBe(`DELETE ${USER}`);
    expect(world.database.size).toBe(0);
  });

  it("twice leaves the user, and says which and where", async () => {
    await using world = await World.start();
    world.backends.cf.settings.instead = ({ url, method }) => url === USER && method !== "POST";
    const doctor = await world.start();
    await until("cf is asked", () => world.backends.cf.seen.includes(`GET ${USER}`));
    doctor.child.kill("SIGINT");
    await until("the user is being deleted", () => world.backends.cf.seen.includes(`DELETE ${USER}`));
    // A second one at the same moment would count as the first.
    await until("it has ended", () => !doctor.child.kill("SIGINT") || !doctor.isRunning);
    expect(await doctor.ended()).toBe(2);
    const [uuid] = world.database.keys();
    expect(doctor.errors).toContain(`The throwaway user ${uuid} may be left in the database of cf.`);
  });

  it("on a pipe that nobody reads any more deletes the user too", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.instead = ({ url }) => {
      if (url === USER) doctor.child.stdout?.destroy();
      return false;
    };
    const doctor = await world.start();
    expect(await doctor.ended()).toBe(2);
    expect(world.database.size).toBe(0);
  });

  it("before the user was made makes none", async () => {
    await using world = await World.start();
    world.backends.duck.settings.instead = (_, response) => {
      doctor.child.kill("SIGINT");
      send(response, 200, {});
      return true;
    };
    const doctor = await world.start();
    expect(await doctor.ended()).toBe(2);
    expect(IDS.flatMap((id) => world.backends[id].seen)).not.toContain(`POST ${USER}`);
    expect(doctor.lastLine).toContain("Interrupted");
  });
});
