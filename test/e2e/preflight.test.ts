import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { verdictOn } from "../../src/cli/preflight.ts";
import { COMPILE_CACHE } from "../support/processes.ts";
import { DOMAIN, tomlOf } from "./doctor-world.ts";

const ROOT = join(import.meta.dirname, "../..");
const NOTHING = { refusal: "", warning: "" };
let directory: string;

/** The lines of wrangler.toml that a person changes first. With another value in one of them it is no longer what ships. */
const EXAMPLES = [
  'routes = [{ pattern = "aiostreams.example.com", custom_domain = true }]',
  'PRIMARY_DOMAIN = "aiostreams.example.com"',
  ...["CF", "KOYEB", "DUCK"].map((name) => `BACKEND_${name} = "aiostreams-${name.toLowerCase()}.example.com"`),
];

/** Those of a wrangler.toml that works, whatever a person has made of the other. */
const VARS = { PRIMARY_DOMAIN: DOMAIN, BACKEND_CF: "cf.films.test" };

async function written(toml: string): Promise<string> {
  const path = join(directory, "wrangler.toml");
  await writeFile(path, toml);
  return path;
}

/** What is said of a wrangler.toml, as Wrangler reads it. */
const verdict = async (toml: string) => verdictOn(await written(toml));

/** The same by the program, as `npm run deploy` runs it. */
async function run(toml: string): Promise<{ code: number; output: string }> {
  const args = [join(ROOT, "src/cli/preflight.ts"), await written(toml)];
  const child = promisify(execFile)(process.execPath, args, { env: { ...process.env, ...COMPILE_CACHE } });
  const { code = 0, stdout, stderr } = await child.catch((error) => error);
  return { code, output: stdout + stderr };
}

beforeAll(async () => {
  vi.stubEnv("WRANGLER_LOG", "none"); // What Wrangler itself says of these files would look like a failure.
  directory = await mkdtemp(join(tmpdir(), "load-balancer-preflight-"));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

describe("the wrangler.toml that this project ships", () => {
  let shipped: string;
  /** After every line that says CHANGE was changed. */
  const filledIn = () => shipped.replaceAll("example.com", "films.test");

  beforeEach(async ({ skip }) => {
    shipped = await readFile(join(ROOT, "wrangler.toml"), "utf8");
    const isAsShipped = EXAMPLES.every((line) => shipped.split(/\r?\n/).includes(line));
    // A clean clone has no excuse.
    skip(
      !isAsShipped && process.env.AS_SHIPPED === undefined,
      "wrangler.toml holds values of your own, so what ships is not there to be tested",
    );
  });

  it("is refused while the example host names are left, each named", async () => {
    const { refusal } = await verdict(shipped);
    const named = [...refusal.matchAll(/^ {2}- (\w+) still has its example value/gm)].map(([, name]) => name);
    expect(named).toEqual(["PRIMARY_DOMAIN", "BACKEND_CF", "BACKEND_KOYEB", "BACKEND_DUCK", "routes"]);
    const withStatusPage = await verdict(filledIn().replace("# STATUS_PATH", "STATUS_PATH"));
    expect(withStatusPage.refusal).toContain("STATUS_PATH still has its example value");
  });

  it("passes without a warning once every line that says CHANGE has been changed", async () => {
    expect(await verdict(filledIn())).toEqual(NOTHING);
  });

  it("passes with the lines that it has as comments, and takes a line at its end for a variable", async () => {
    const toml = filledIn()
      .replace(/^# (HEALTH_CHECK_EXPECT|STATUS_PATH|\[\[analytics_engine_datasets\]\]|binding)/gm, "$1")
      .replace("/lb-status-8f3a", "/lb-status-of-our-own")
      .concat('\nBACKEND_FOURTH = "fourth.films.test"\n');
    for (const line of ["HEALTH_CHECK_EXPECT", "STATUS_PATH", "[[", "binding"]) expect(toml).toContain(`\n${line}`);
    expect(await verdict(toml)).toEqual(NOTHING);
    const { refusal } = await verdict(toml.replace("fourth.films.test", "fourth.films.test/x"));
    expect(refusal).toContain("BACKEND_FOURTH must be host");
  });
});

describe("a wrangler.toml", () => {
  it("is read with a single route, and searched for variables in other tables", async () => {
    const toml = tomlOf(VARS, '[dev]\nBACKEND_FOURTH = "fourth.films.test"');
    const { refusal } = await verdict(toml.replace(/^routes = .*$/m, `route = "${DOMAIN}"`));
    expect(refusal).toContain("  - route must match every path");
    expect(refusal).toContain("  - BACKEND_FOURTH stands in [dev]");
  });

  it("is judged as a whole where Wrangler does not take its route", async () => {
    const toml = tomlOf({ ...VARS, MAX_RETRIES: 33 });
    const { refusal } = await verdict(toml.replace(", custom_domain = true", ""));
    expect(refusal).toContain(`Write routes = [{ pattern = "${DOMAIN}", custom_domain = true }]`);
    expect(refusal).toContain("  - MAX_RETRIES must be");
  });

  it.each([
    ["PRIMARY_DOMAIN = streams.films.test", "put quotes around the value of PRIMARY_DOMAIN"],
    ["A = 1", "A stands there twice: remove one of the two lines"],
  ])("is refused with the line that is no TOML, and what to do about it: %s", async (line, hint) => {
    const toml = `[vars]\nA = 1\n${line}\n`;
    expect((await verdict(toml)).refusal).toContain(`(line 3: ${hint})`);
  });
});

describe("the program", () => {
  it("exits with 0 where all that it has to say is a warning", async () => {
    const { code, output } = await run(tomlOf(VARS, "[observability]\nenabled = true"));
    expect(code).toBe(0);
    expect(output).toMatch(
      /^Better change this in .*wrangler\.toml:\n {2}- invocation_logs is on: [^\n]*\nThis alone does not stop the deployment\.\n$/,
    );
  });

  it("exits with 1 in words, not with a stack trace, where the file is missing or broken", async () => {
    expect(await run("[vars")).toEqual({
      code: 1,
      output: expect.stringMatching(/^Nothing was deployed\. .*wrangler\.toml cannot be used \(line 1\): [^\n]*\n$/),
    });
  });
});
