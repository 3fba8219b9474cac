import type { Reporter, TestModule } from "vitest/node";

/** Says at the end of a run what was not run, and why: the other reporter only counts it. */
export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = new Map<string, number>();
    for (const module of modules) {
      for (const test of module.children.allTests("skipped")) {
        const result = test.result();
        // One that was left out by a filter has no reason, and needs none.
        const reason = result.state === "skipped" ? result.note : undefined;
        if (reason !== undefined) counts.set(reason, (counts.get(reason) ?? 0) + 1);
      }
    }
    for (const [reason, count] of counts) console.log(`${count} tests were not run: ${reason}`);
  }
}
