import fc from "fast-check";
import { expect, it } from "vitest";
import { always, type Behaviour, frozen, refuses, simulated, split, start, status, works } from "./simulation.ts";

simulated();

const PAGE = always(status(200, { "Content-Type": "text/html" }));

/** What may happen to a backend while another one works. */
const FAULTS: Readonly<Record<string, Behaviour>> = {
  refuses,
  frozen,
  "404": always(status(404)),
  "403": always(status(403)),
  // A redirect and an empty answer are taken for what they are where a POST gets them.
  "302": (asked) =>
    always(asked.method === "POST" ? status(404) : status(302, { Location: "https://login.example.org/" }))(asked),
  "empty 200": (asked) =>
    always(asked.method === "GET" ? status(200, { "Content-Length": "0" }, "") : status(404))(asked),
  "page for everything": PAGE,
  "503": always(status(503)),
  "521": always(status(521)),
  "far 404": always(status(404), 400),
  "page for .json": (asked) => (asked.path.endsWith(".json") ? PAGE : works())(asked),
  "broken app": split(always(status(500)), works()),
  "hanging app": split(frozen, works()),
  "slow app": split(works(3_000), works()),
  "slow health": split(works(), works(1_700)),
  "bad health": split(works(), always(status(503))),
  "hanging health": split(works(), frozen),
  challenge: split(always(status(403, { "cf-mitigated": "challenge" })), works()),
};

/** Whose users are served while its check is bad: no check can tell its page from the application's when it changes. */
const BAD_CHECKS = ["bad health", "hanging health", "slow health"];

const fault = fc.constantFrom(...Object.keys(FAULTS));
const phase = fc.record({
  good: fc.nat(3),
  faults: fc.tuple(fault, fault, fault, fault),
  lastsMs: fc.integer({ min: 200, max: 60_000 }),
});
const visit = fc.record({
  client: fc.nat(7),
  hasCookie: fc.boolean(),
  pauseMs: fc.constantFrom(0, 5, 300, 2_000, 20_000),
  method: fc.constantFrom("GET", "GET", "HEAD", "POST"),
  path: fc.constantFrom("/x/manifest.json", "/x/manifest.json", "/configure"),
});

const hasAny = (faults: readonly string[], some: readonly string[]) => faults.some((name) => some.includes(name));

it("a request succeeds while one backend works, within 50 subrequests and six connections", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(phase, { minLength: 1, maxLength: 6 }),
      fc.array(visit, { minLength: 1, maxLength: 25 }),
      fc.integer({ min: 2, max: 4 }),
      async (phases, visits, count) => {
        const ids = ["a", "b", "c", "d"].slice(0, count);
        const { world, isolate } = await start(Object.fromEntries(ids.map((id) => [id, works()])), {
          BACKEND_TIMEOUT: 20_000,
        });
        const beganMs = world.nowMs;
        const phaseAt = (nowMs: number) => {
          let sinceMs = nowMs - beganMs;
          for (const [index, phase] of phases.entries()) {
            if (sinceMs < phase.lastsMs || phase === phases.at(-1)) return { ...phase, index, sinceMs };
            sinceMs -= phase.lastsMs;
          }
          return undefined;
        };
        for (const [i, id] of ids.entries()) {
          world.set(id, (asked) => {
            const now = phaseAt(asked.atMs);
            if (!now || now.good % count === i) return works()(asked);
            return (FAULTS[now.faults[i] ?? ""] ?? works())(asked);
          });
        }
        for (const { client, hasCookie, pauseMs, method, path } of visits) {
          const options = { ip: `192.0.2.${client}`, method, ...(hasCookie && { cookie: ids[client % count] ?? "a" }) };
          const sentIn = phaseAt(world.nowMs);
          const answer = await isolate.ask(path, options);
          // What works changed meanwhile: then no backend need have worked all the time.
          if (phaseAt(world.nowMs)?.index !== sentIn?.index) continue;
          // A check that was good a second ago vouches for a platform, and so does an answer that took 3 s. An honest failure
          // ends the patience with one that is suspect, and its check may have begun while it was frozen.
          const isChanging = (phaseAt(world.nowMs)?.sinceMs ?? 0) <= 4_000 + answer.tookMs;
          if (isChanging && answer.status <= 500) continue;
          // A page for a path without .json is the application's until a check has said otherwise.
          const isPage = answer.headers.get("Content-Type") === "text/html";
          const isChange = (event: unknown) => event === "ejected" || event === "recovered";
          const last = world.log.findLast(({ event, backend }) => isChange(event) && backend === answer.backend);
          const isKnown = last?.event === "ejected" && !phases.some(({ faults }) => hasAny(faults, BAD_CHECKS));
          if (isPage && path === "/configure" && !isKnown) continue;
          expect({ status: answer.status, text: answer.text }).toEqual({
            status: 200,
            text: method === "HEAD" ? answer.text : "fine",
          });
          // Silence behind a good health route may be an honest answer that takes its time.
          if (!sentIn?.faults.includes("hanging app")) expect(answer.tookMs).toBeLessThan(10_000);
          await world.pass(pauseMs);
        }
        for (const { subrequests, maxWaiting } of world.invocations) {
          expect(subrequests).toBeLessThanOrEqual(50);
          expect(maxWaiting).toBeLessThanOrEqual(6);
        }
      },
    ),
    { numRuns: Number(process.env.RUNS ?? 60) },
  );
});
