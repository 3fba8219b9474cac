import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        // The modules, one by one, inside workerd.
        plugins: [cloudflareTest({ wrangler: { configPath: "./wrangler.toml" } })],
        // They share nothing but modules, which hold no state.
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          exclude: ["test/unit/cli/**"],
          isolate: false,
          maxWorkers: 8,
          sequence: { groupOrder: 1 },
        },
      },
      {
        // The programs, module by module, on Node as they run.
        test: { name: "cli", include: ["test/unit/cli/**/*.test.ts"], sequence: { groupOrder: 1 } },
      },
      {
        // The whole Worker inside workerd, against real servers.
        test: {
          name: "worker",
          include: ["test/worker/**/*.test.ts"],
          sequence: { groupOrder: 1 },
          maxWorkers: 8, // Most of their time they wait, for a timeout or a process to start.
          globalSetup: ["test/support/build.ts"],
          testTimeout: 30_000,
        },
      },
      {
        // The pages, in a real browser; on a machine without one these tests say that they were not run.
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          maxWorkers: 8,
          sequence: { groupOrder: 1 },
          globalSetup: ["test/support/build.ts", "test/support/browser.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // `wrangler dev` and the demo, as a person runs them.
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          maxWorkers: 8,
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
