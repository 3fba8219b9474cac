import { describe, expect, it } from "vitest";
import { fail, RateLimit } from "../support/aiostreams.ts";
import { ADDON_PASSWORD, IDS, linesOf, userLines, World } from "./doctor-world.ts";

const USER = "/api/v1/user";

describe("backends that do not share", () => {
  it("have another database: says which, and what to set where", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.database = new Map();
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 1, left: [] });
    expect(linesOf(report, { kind: "wrong" })).toMatchObject([
      {
        about: "koyeb",
        found: "does not know the user that cf has just made: another database",
        todo: "Set the same DATABASE_URI on cf and koyeb: that of the database that holds your users. Then run this again, for SECRET_KEY can only be compared on one database.",
      },
    ]);
    expect(userLines(report)).toContainEqual(
      expect.objectContaining({ kind: "ok", found: "the throwaway user is deleted, and gone on cf and duck" }),
    );
    expect(world.database.size).toBe(0);
  });

  it("have another SECRET_KEY", async () => {
    await using world = await World.start();
    world.backends.duck.settings.secretKey = "f".repeat(64);
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 1 });
    expect(linesOf(report, { kind: "wrong" })).toMatchObject([
      {
        about: "duck",
        found: "knows the user that cf has just made, but cannot decrypt it: another SECRET_KEY",
        todo: "Set the same SECRET_KEY on cf and duck: the one that your users were made with.",
      },
    ]);
    expect(world.database.size).toBe(0);
  });

  it("serve the user to the API, but not to a player", async () => {
    await using world = await World.start();
    world.backends.duck.settings.instead = ({ url }, response) => {
      if (!url?.startsWith("/stremio/")) return false;
      fail(response, 500, "ENCRYPTION_ERROR");
      return true;
    };
    expect(linesOf(await world.report(), { about: "duck", kind: "wrong" })[0]?.found).toContain("another SECRET_KEY");
  });

  it("are two databases behind one backend", async () => {
    await using world = await World.start();
    world.backends.cf.settings.instead = ({ url, method }, response) => {
      if (url !== USER || method === "POST") return false;
      fail(response, 400, "USER_INVALID_DETAILS");
      return true;
    };
    world.backends.duck.settings.database = new Map();
    world.backends.koyeb.settings.database = new Map();
    const report = await world.report();
    const [uuid] = world.database.keys();
    expect(linesOf(report, { about: "cf", kind: "wrong" })[0]?.found).toContain("it has more than one database");
    expect(report.left).toEqual([{ uuid, backend: "cf" }]);
  });

  it("answer HTML where JSON is due, or an error: they are not compared, and that is a fault", async () => {
    await using world = await World.start();
    world.backends.duck.settings.instead = ({ url }, response) => {
      if (url === USER) fail(response, 500, "DATABASE_ERROR");
      return url === USER;
    };
    world.backends.koyeb.settings.instead = ({ url }, response) => {
      if (url === USER) response.writeHead(200, { "Content-Type": "text/html" }).end("<p>Welcome</p>");
      return url === USER;
    };
    const report = await world.report();
    expect(report).toMatchObject({ code: 1, wrong: 2 });
    expect(linesOf(report, { about: "duck", kind: "wrong" })[0]).toMatchObject({
      found: "asked for the user, it answers 500 DATABASE_ERROR: not compared",
      todo: "Look into the log of AIOStreams on duck for the reason.",
    });
    expect(linesOf(report, { about: "koyeb", kind: "wrong" })[0]?.found).toBe(
      "asked for the user, it answers 200 with HTML where JSON is due: not compared",
    );
    expect(world.database.size).toBe(0);
  });
});

describe("the rate limit", () => {
  it("is waited for, not failed on", async () => {
    await using world = await World.start();
    const shared = new RateLimit();
    for (const id of IDS) world.backends[id].settings.rateLimit = shared;
    const report = await world.report();
    expect(report).toMatchObject({ code: 0, wrong: 0, warnings: 0 });
    expect(shared.refusals).toBeGreaterThan(0);
    expect(world.database.size).toBe(0);
  });

  it("is not waited for when that takes more than a minute", async () => {
    await using world = await World.start();
    world.backends.koyeb.settings.instead = ({ url }, response) => {
      if (url !== USER) return false;
      response.setHeader("Retry-After", "3600");
      fail(response, 429, "RATE_LIMIT_EXCEEDED");
      return true;
    };
    const report = await world.report();
    expect(linesOf(report, { about: "koyeb", kind: "warning" })[0]).toMatchObject({
      found: "asked for the user, it answers 429 RATE_LIMIT_EXCEEDED: not compared",
      todo: "Wait some minutes, then run this again.",
    });
    expect(world.database.size).toBe(0);
  });
});

describe("the add-on password", () => {
  it("is asked for and not known: the question is skipped, and says how to have it asked", async () => {
    await using world = await World.start();
    for (const id of IDS) world.backends[id].settings.addonPassword = ADDON_PASSWORD;
    const report = await world.report();
    expect(report).toMatchObject({ code: 0, wrong: 0 });
    expect(userLines(report)[0]).toMatchObject({
      kind: "skipped",
      found: "cf, duck and koyeb want the add-on password before a user is made: not compared",
      todo: "Put it into the environment variable AIOSTREAMS_ADDON_PASSWORD, then run this again.",
    });
  });

  it("comes from the environment", async () => {
    await using world = await World.start();
    for (const id of IDS) world.backends[id].settings.addonPassword = ADDON_PASSWORD;
    const report = await world.report([], { AIOSTREAMS_ADDON_PASSWORD: ADDON_PASSWORD });
    expect(report).toMatchObject({ code: 0, wrong: 0 });
    expect(userLines(report).filter(({ kind }) => kind === "ok")).toHaveLength(4);
  });

  it("is wrong in the environment", async () => {
    await using world = await World.start();
    for (const id of IDS) world.backends[id].settings.addonPassword = "another";
    const report = await world.report([], { AIOSTREAMS_ADDON_PASSWORD: ADDON_PASSWORD });
    expect(linesOf(report, { kind: "wrong" })).toMatchObject([
      {
        found: "cf, duck and koyeb refuse the add-on password",
        todo: expect.stringContaining("AIOSTREAMS_ADDON_PASSWORD"),
      },
    ]);
  });
});

it("asks a single backend nothing about users: there is nothing to compare it with", async () => {
  await using world = await World.start();
  for (const variable of ["BACKEND_DUCK", "BACKEND_KOYEB"]) world.vars[variable] = "";
  const report = await world.report();
  expect(report.code).toBe(0);
  expect(userLines(report)).toMatchObject([
    { kind: "skipped", found: "only cf can be asked: nothing to compare it with" },
  ]);
});
