import { setTimeout as sleep } from "node:timers/promises";

/** Waits until a condition holds; for what happens beside a request. Fails after `timeoutMs`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`still waiting until ${what}`);
    await sleep(10);
  }
}
