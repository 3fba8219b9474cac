import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { healthOf, newHealth, takeFinding } from "../../../src/health/findings.ts";
import { ENTRY_BYTES_MAX, entryUrl, formatEntry, readEntry, writeEntry } from "../../../src/health/shared.ts";
import { configWith } from "../sample.ts";
import { found } from "./given.ts";

const config = configWith();
const health = newHealth(0);
takeFinding(healthOf(health, "a"), found("bad status", 1_000), 1_000, false);
const ENTRY = formatEntry(config, health);

interface SampleCache {
  readonly match?: (url: string) => Promise<Response | undefined>;
  readonly put?: (url: string, response: Response) => Promise<void>;
}

function stubCache(cache: SampleCache) {
  const open = vi.fn(async (_name: string) => cache);
  vi.stubGlobal("caches", { open });
  return open;
}
const stubEntry = (body: BodyInit | null, status = 200) =>
  stubCache({ match: async () => new Response(body, { status }) });

beforeEach(() => {
  vi.useFakeTimers({ now: 2_000 });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("what is read from the cache", () => {
  it("is what another isolate has written there, under the same name", async () => {
    const kept = new Map<string, Response>();
    const open = stubCache({
      put: async (url, response) => void kept.set(url, response),
      match: async (url) => kept.get(url),
    });
    await writeEntry(config, health);
    expect(await readEntry(config)).toEqual(new Map([["a", found("bad status", 1_000)]]));
    expect([...kept.keys()]).toEqual([entryUrl(config)]);
    expect(new Set(open.mock.calls.flat()).size).toBe(1);
  });

  it("is nothing when there is no Cache API", async () => {
    vi.stubGlobal("caches", undefined);
    expect(await readEntry(config)).toBeUndefined();
  });

  it("is nothing when the cache cannot be opened", async () => {
    vi.stubGlobal("caches", {
      open() {
        throw new Error("no cache");
      },
    });
    expect(await readEntry(config)).toBeUndefined();
  });

  it("is nothing when there is no entry", async () => {
    stubCache({ match: async () => undefined });
    expect(await readEntry(config)).toBeUndefined();
  });

  it("is nothing when the cache fails", async () => {
    stubCache({ match: () => Promise.reject(new Error("internal error")) });
    expect(await readEntry(config)).toBeUndefined();
  });

  it.each([
    ["without a body", null, 500],
    ["with a page of the cache's own", "<h1>500 Internal Server Error</h1>", 500],
    ["that is empty", "", 200],
  ])("is nothing in an answer %s", async (_, body, status) => {
    stubEntry(body, status);
    expect([...((await readEntry(config)) ?? [])]).toEqual([]);
  });

  it("is nothing when the body breaks halfway", async () => {
    const body = new ReadableStream({
      type: "bytes",
      start(controller) {
        controller.enqueue(new TextEncoder().encode(ENTRY.slice(0, 20)));
      },
      pull() {
        throw new Error("gone");
      },
    });
    stubEntry(body);
    expect(await readEntry(config)).toBeUndefined();
  });

  it("comes whole, in however many pieces it arrives", async () => {
    const bytes = new TextEncoder().encode(ENTRY);
    let sent = 0;
    const body = new ReadableStream({
      type: "bytes",
      pull(controller) {
        controller.enqueue(bytes.slice(sent, ++sent));
        if (sent === bytes.length) controller.close();
      },
    });
    stubEntry(body);
    expect(await readEntry(config)).toEqual(new Map([["a", found("bad status", 1_000)]]));
  });

  it("is as large as an entry may be, and not a byte larger", async () => {
    const readPadded = (length: number) => {
      const headers = { "Content-Length": `${length}` };
      stubCache({ match: async () => new Response(ENTRY.padEnd(length), { headers }) });
      return readEntry(config);
    };
    expect((await readPadded(ENTRY_BYTES_MAX))?.size).toBe(1);
    expect(await readPadded(ENTRY_BYTES_MAX + 1)).toBeUndefined();
  });

  it("is not read at all when it is 10 MB, and is let go", async () => {
    let pulled = 0;
    const cancel = vi.fn();
    const body = new ReadableStream(
      {
        pull(controller) {
          pulled++;
          controller.enqueue(new Uint8Array(16_384));
        },
        cancel,
      },
      { highWaterMark: 0 },
    );
    stubCache({ match: async () => new Response(body, { headers: { "Content-Length": "10000000" } }) });
    expect(await readEntry(config)).toBeUndefined();
    await vi.waitFor(() => expect(cancel).toHaveBeenCalledTimes(1));
    expect(pulled).toBe(0);
  });
});

describe("what is written to the cache", () => {
  it("may be kept for two minutes", async () => {
    let written: Response | undefined;
    stubCache({
      put: async (_, response) => {
        written = response;
      },
    });
    await writeEntry(config, health);
    expect(written?.headers.get("Cache-Control")).toBe("max-age=120");
    expect(await written?.text()).toBe(ENTRY);
  });

  it.each([
    ["there is none", undefined],
    ["it cannot be opened", { open: () => Promise.reject(new Error("no cache")) }],
    ["it fails", { open: async () => ({ put: () => Promise.reject(new Error("internal error")) }) }],
    [
      "it throws",
      {
        open: () => ({
          put: () => {
            throw new Error("413");
          },
        }),
      },
    ],
  ])("is lost without a word when %s", async (_, caches) => {
    vi.stubGlobal("caches", caches);
    await expect(writeEntry(config, health)).resolves.toBeUndefined();
  });
});
