import { availableParallelism } from "node:os";
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";

/** Tests that start processes mostly wait for them: two more than there are cores. More would only slow each other down. */
const WAITING = availableParallelism() + 2;

/**
 * Only a test that fails takes so long: on a machine that is busy all of them take ten times as long as on one that idles. What is
 * waited for says so itself, before its test is cut off.
 */
const PATIENT = {
  testTimeout: 360_000,
  hookTimeout: 360_000,
  expect: { poll: { timeout: 60_000, interval: 20 } },
};

export default defineConfig({
  test: {
    reporters: ["minimal", "./test/support/skip-reporter.ts"],
    // More would not be faster: what they start burns CPU, and tests that merely wait do so side by side within a file.
    maxWorkers: availableParallelism(),
    projects: [
      {
        // The modules, one by one, inside workerd.
        plugins: [cloudflareTest({ wrangler: { configPath: "./wrangler.toml" } })],
        // They share nothing but modules, which hold no state.
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          exclude: ["test/unit/cli/**", "test/unit/simulation/**"],
          isolate: false,
          setupFiles: ["test/unit/no-network.ts"],
          sequence: { groupOrder: 1 },
          ...PATIENT,
        },
      },
      {
        // The whole Worker and its backends, in virtual time.
        test: {
          name: "simulation",
          include: ["test/unit/simulation/**/*.test.ts"],
          setupFiles: ["test/unit/no-network.ts"],
          sequence: { groupOrder: 1 },
          ...PATIENT,
        },
      },
      {
        // The programs, module by module, on Node as they run.
        test: { name: "cli", include: ["test/unit/cli/**/*.test.ts"], sequence: { groupOrder: 1 }, ...PATIENT },
      },
      {
        // The whole Worker inside workerd, against real servers.
        test: {
          name: "worker",
          include: ["test/worker/**/*.test.ts"],
          sequence: { groupOrder: 2 },
          maxWorkers: WAITING,
          isolate: false, // No module keeps what a test could leave behind.
          globalSetup: ["test/support/build.ts"],
          ...PATIENT,
        },
      },
      {
        // The pages, in a real browser; on a machine without one these tests say that they were not run.
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          sequence: { groupOrder: 2 },
          maxWorkers: WAITING,
          globalSetup: ["test/support/build.ts"],
          ...PATIENT,
        },
      },
      {
        // `wrangler dev` and the demo, as a person runs them.
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          sequence: { groupOrder: 2 },
          maxWorkers: WAITING,
          ...PATIENT,
        },
      },
    ],
  },
});
