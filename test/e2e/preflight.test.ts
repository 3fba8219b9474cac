import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { refusalOf } from "../../src/cli/preflight.ts";
import { COMPILE_CACHE } from "../support/processes.ts";

const ROOT = join(import.meta.dirname, "../..");
let directory: string;
let shipped: string;

/** wrangler.toml as a deployer leaves it who follows every line that says CHANGE. */
const filledIn = () => shipped.replaceAll("example.com", "films.test");

async function written(toml: string): Promise<string> {
  const path = join(directory, "wrangler.toml");
  await writeFile(path, toml);
  return path;
}

/** What the check before a deployment says of a wrangler.toml; empty when it lets it pass. */
async function complaintsAbout(toml: string): Promise<string> {
  return refusalOf(await written(toml));
}

/** The same by the program, as `npm run deploy` runs it. */
async function run(toml: string): Promise<{ code: number; output: string }> {
  const args = [join(ROOT, "src/cli/preflight.ts"), await written(toml)];
  const child = promisify(execFile)(process.execPath, args, { env: { ...process.env, ...COMPILE_CACHE } });
  const { code = 0, stdout, stderr } = await child.catch((error) => error);
  return { code, output: stdout + stderr };
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "load-balancer-preflight-"));
  shipped = await readFile(join(ROOT, "wrangler.toml"), "utf8");
});

afterAll(() => rm(directory, { recursive: true, force: true }));

describe("a deployment", () => {
  it("goes ahead once every line that says CHANGE has been changed", async () => {
    expect(await run(filledIn())).toEqual({ code: 0, output: "" });
  });

  it("is refused while the example host names are left, each named", async () => {
    const complaints = await complaintsAbout(shipped);
    for (const variable of ["PRIMARY_DOMAIN", "BACKEND_CF", "BACKEND_KOYEB", "BACKEND_DUCK"]) {
      expect(complaints).toContain(`${variable} still has its example value`);
    }
  });

  it("is refused while one example backend is left among real ones", async () => {
    const toml = filledIn().replace("aiostreams-duck.films.test", "aiostreams-duck.example.com");
    expect(await complaintsAbout(toml)).toContain("BACKEND_DUCK still has its example value");
  });

  it("is refused when the route is not the public domain", async () => {
    const toml = filledIn().replace('pattern = "aiostreams.films.test"', 'pattern = "www.films.test"');
    expect(await complaintsAbout(toml)).toContain("routes must name PRIMARY_DOMAIN (aiostreams.films.test)");
  });

  it("is refused when a variable is misspelt", async () => {
    expect(await complaintsAbout(filledIn().replace("MAX_RETRIES", "MAX_RETRY"))).toContain("MAX_RETRY is no variable");
  });

  it("is refused for every fault that the Worker would refuse, with what was found", async () => {
    const toml = filledIn()
      .replace("MAX_RETRIES = 3", "MAX_RETRIES = 33")
      .replace("STICKY_SESSIONS = true", 'STICKY_SESSIONS = "yes"');
    const complaints = await complaintsAbout(toml);
    expect(complaints).toContain('MAX_RETRIES must be a whole number from 0 to 10, found "33"');
    expect(complaints).toContain('STICKY_SESSIONS must be true or false, found "yes"');
  });

  it("goes ahead with options behind a backend's address", async () => {
    const toml = filledIn()
      .replace("aiostreams-cf.films.test", "aiostreams-cf.films.test weight=2")
      .replace("aiostreams-duck.films.test", "aiostreams-duck.films.test:8443  weight=1 backup");
    expect(await complaintsAbout(toml)).toBe("");
  });

  it("is refused while an example name is left in front of options", async () => {
    const toml = filledIn().replace("aiostreams-koyeb.films.test", "aiostreams-koyeb.example.com weight=2 backup");
    const complaints = await complaintsAbout(toml);
    expect(complaints).toContain('BACKEND_KOYEB still has its example value "aiostreams-koyeb.example.com"');
  });

  it("is refused for an option that there is not, and for nothing but backups", async () => {
    const unknown = filledIn().replace("aiostreams-cf.films.test", "aiostreams-cf.films.test wieght=2");
    expect(await complaintsAbout(unknown)).toContain("BACKEND_CF may have these options");
    const backups = filledIn().replace(/(aiostreams-\w+\.films\.test)/g, "$1 backup");
    expect(await complaintsAbout(backups)).toContain("at least one backend must not be a backup");
  });

  it("is refused without a word of what may be a secret in a wrong value", async () => {
    const toml = filledIn()
      .replace("aiostreams-cf.films.test", "https://me:hunter2@aiostreams-cf.example.com/stremio/uuid/manifest-secret")
      .replace("aiostreams-duck.films.test", "me:hunter2@aiostreams-duck.example.com")
      .replace("[vars]", '[vars]\nSTATUS_PATH = "lb-status-secret"');
    const { code, output } = await run(toml);
    expect(code).toBe(1);
    for (const variable of ["BACKEND_CF", "BACKEND_DUCK", "STATUS_PATH"]) expect(output).toContain(variable);
    expect(output).not.toMatch(/hunter2|manifest-secret|lb-status-secret/);
  });

  it("is refused in words, not with a stack trace, when the file is missing or broken", async () => {
    expect(await run("[vars")).toEqual({
      code: 1,
      output: expect.stringMatching(/^Nothing was deployed\. .*wrangler\.toml cannot be used \(line 1\): [^\n]*\n$/),
    });
  });
});
