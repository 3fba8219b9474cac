import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseArguments } from "../../../src/cli/arguments.ts";
import { ask, isAnswer } from "../../../src/cli/ask.ts";
import type { DeployedBackend } from "../../../src/cli/deployment.ts";
import { retryAfterMs } from "../../../src/cli/patience.ts";
import { reach } from "../../../src/cli/reach.ts";
import { readDevVars, withSecretHeaders } from "../../../src/cli/secret-headers.ts";
import { serve } from "../../support/aiostreams.ts";
import { AUTHORITY, certificate } from "../../support/certificate.ts";
import { backend } from "./doctor-world.ts";

const never = new AbortController().signal;

describe("a question", () => {
  it("follows no redirect, so its headers go nowhere else", async () => {
    const paths: string[] = [];
    using server = await serve(({ path }) => {
      paths.push(path);
      return { status: 302, headers: { Location: "/elsewhere" } };
    });
    expect(await ask({ url: `http://127.0.0.1:${server.port}/` })).toMatchObject({ status: 302 });
    expect(paths).toEqual(["/"]);
  });

  it("reads as much as is enough, or all of it up to 4 MiB", async () => {
    using server = await serve(({ path }) => ({ status: 200, body: "x".repeat(Number(path.slice(1))) }));
    const lengthOf = async (bytes: number, enoughBytes?: number) => {
      const url = `http://127.0.0.1:${server.port}/${bytes}`;
      const reply = await ask({ url, ...(enoughBytes !== undefined && { enoughBytes }) });
      return isAnswer(reply) ? reply.text.length : reply.code;
    };
    expect(await lengthOf(280_000)).toBe(280_000);
    expect(await lengthOf(280_000, 65_536)).toBe(65_536);
    expect(await lengthOf(280_000, 0)).toBe(0);
    expect(await lengthOf(5_000_000)).toBe("TOO_LARGE");
  });

  it("ends after its time, and at once when it is interrupted", async () => {
    using server = await serve(() => "nothing");
    const url = `http://127.0.0.1:${server.port}/`;
    expect(await ask({ url }, 50)).toEqual({ code: "TIMEOUT" });
    expect(await ask({ url, signal: AbortSignal.abort() })).toEqual({ code: "INTERRUPTED" });
  });
});

describe("a connection", () => {
  beforeAll(() => tls.setDefaultCACertificates([readFileSync(AUTHORITY, "utf8")]));
  afterAll(() => tls.setDefaultCACertificates(tls.getCACertificates("bundled")));

  it.each([
    { name: "valid", found: { validToMs: Date.parse("2126-11-04T04:45:17Z") } },
    { name: "expired", found: { code: "CERT_HAS_EXPIRED" } },
    { name: "misnamed", found: { code: "ERR_TLS_CERT_ALTNAME_INVALID" } },
    { name: "untrusted", found: { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" } },
    { name: "self-signed", found: { code: "DEPTH_ZERO_SELF_SIGNED_CERT" } },
  ] as const)("to a server whose certificate is $name", async ({ name, found }) => {
    using server = await serve(() => "nothing", certificate(name));
    const reached = await reach(backend({ origin: `https://localhost:${server.port}` }), never);
    expect(reached).toEqual({ address: expect.stringMatching(/^(127\.0\.0\.1|::1)$/), ...found });
  });

  it("to one without TLS, or with plain HTTP as it should be", async () => {
    using server = await serve(() => "nothing");
    const toTls = await reach(backend({ origin: `https://localhost:${server.port}` }), never);
    expect(toTls.code).toMatch(/SSL|EPROTO/);
    expect(await reach(backend({ origin: `http://127.0.0.1:${server.port}` }), never)).toEqual({
      address: "127.0.0.1",
    });
  });

  it("to one that never says a word ends after its time", async () => {
    const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const reached = await reach(backend({ origin: `https://127.0.0.1:${port}` }), never, 100);
    expect(reached).toEqual({ address: "127.0.0.1", code: "TIMEOUT" });
    server.close();
  });
});

describe("Retry-After", () => {
  it.each([
    { header: "4", ms: 4_000 },
    { header: "0", ms: 1_000 },
    { header: new Date(30_000).toUTCString(), ms: 20_000 },
    { header: new Date(0).toUTCString(), ms: 1_000 },
    { header: null, ms: 5_000 },
    { header: "soon", ms: 5_000 },
  ])("of $header is a wait of $ms ms", ({ header, ms }) => {
    expect(retryAfterMs(header, 10_000)).toBe(ms);
  });
});

describe("HEADERS_<NAME>", () => {
  const CF = backend({ id: "cf" });
  const deployed = (...backends: DeployedBackend[]) => ({
    backends,
    backendVariables: backends.map(({ variable }) => variable),
  });

  it("comes from .dev.vars beside wrangler.toml, which need not be there", async () => {
    const folder = await mkdtemp(join(tmpdir(), "load-balancer-doctor-"));
    const toml = join(folder, "wrangler.toml");
    expect(await readDevVars(toml)).toEqual({});
    await writeFile(join(folder, ".dev.vars"), 'HEADERS_CF="CF-Access-Client-Id: a\\nCF-Access-Client-Secret: b=c"\n');
    const { backends, lines } = withSecretHeaders(deployed(CF, backend()), await readDevVars(toml), {});
    const headers = { "CF-Access-Client-Id": "a", "CF-Access-Client-Secret": "b=c" };
    expect(backends.map((one) => Object.fromEntries(one.headers))).toEqual([headers, {}]);
    expect(lines).toEqual([]);
    await rm(folder, { recursive: true });
  });

  it("of the environment wins, in any case, and that of no backend needs a look", () => {
    const devVars = { HEADERS_CF: "X-Key: file", HEADERS_koyeb: "X-Key: koyeb", HEADERS_X: "?" };
    const environment = { HEADERS_CF: "X-Key: own", HEADERS_KOYB: "?" };
    const { backends, lines } = withSecretHeaders(deployed(CF, backend()), devVars, environment);
    expect(backends.map(({ headers }) => headers)).toEqual([[["X-Key", "own"]], [["X-Key", "koyeb"]]]);
    const todo = "in .dev.vars or the environment, and if the Worker has it: npx wrangler secret delete";
    expect(lines).toMatchObject([
      { kind: "warning", about: "HEADERS_X", todo: `Remove it ${todo} HEADERS_X` },
      { about: "HEADERS_KOYB", todo: `Did you mean HEADERS_KOYEB? Correct its name ${todo} HEADERS_KOYB` },
    ]);
  });

  it("that the Worker would refuse is a fault, which does not show it", () => {
    const { backends, lines } = withSecretHeaders(deployed(CF), { HEADERS_CF: "Host: secret.test" }, {});
    expect(lines).toMatchObject([{ kind: "wrong", about: "HEADERS_CF", found: expect.stringContaining("not Host") }]);
    expect(JSON.stringify([backends, lines])).not.toContain("secret.test");
  });
});

describe("the command line", () => {
  it("takes --url, --config, --json and --help", () => {
    const args = ["--url", "http://localhost:8787/", "--config", "a.toml", "--json"];
    expect(parseArguments(args)).toEqual({ url: "http://localhost:8787", config: "a.toml", isJson: true });
    expect(parseArguments(["-h"])).toBe("help");
  });

  it.each([
    { args: ["--fast"], answer: "--fast" },
    { args: ["films"], answer: "films" },
    { args: ["--url", "localhost:8787"], answer: "--url must be http(s)://host[:port] without a path" },
    { args: ["--url", "https://films.test/lb"], answer: "--url must be http(s)://host[:port] without a path" },
  ])("refuses $args, and shows how it is used", ({ args, answer }) => {
    expect(() => parseArguments(args)).toThrow(answer);
    expect(() => parseArguments(args)).toThrow("Usage: npm run doctor");
  });
});
