import { type ClientRequest, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../support/random.ts";
import { PRIMARY_DOMAIN } from "../support/worker.ts";
import { SCHEME_HEADER } from "../support/workerd.ts";
import { ATTACK_NAMES, type Attack, attackPath, EVERY } from "./attacks.ts";

/** Fifty requests a second. */
const EVERY_MS = 20;

/** How long one attack lasts, at least and at most; between these all of them together last as long as the run. */
const TURN_MS = [1_000, 5_000] as const;

interface Turn {
  readonly attack: Attack;
  /** The backend that the attacker's cookie names, so that it is the first to be asked. */
  readonly boundTo: string;
  readonly target: string;
}

/** One client that asks for what breaks one backend, or every one, and does not care for the answers. */
export class Attacker {
  readonly #port: number;
  readonly #turns: readonly Turn[];
  readonly #random: Random;
  /** How many requests there were of each attack. */
  readonly sent = new Map<string, number>();

  constructor(port: number, ids: readonly string[], seed: number) {
    this.#port = port;
    this.#random = Random.forPart(seed, "attacker");
    this.#turns = this.#random.shuffled(
      ATTACK_NAMES.flatMap((attack) => {
        const boundTo = this.#random.pick(ids);
        return [boundTo, EVERY].map((target) => ({ attack, boundTo, target }));
      }),
    );
  }

  async run(untilMs: number): Promise<void> {
    const [minMs, maxMs] = TURN_MS;
    const shareMs = (untilMs - performance.now()) / this.#turns.length;
    const turnMs = Math.min(Math.max(shareMs, minMs), maxMs);
    for (let turn = 0; performance.now() < untilMs; turn++) {
      await this.#attack(this.#turns[turn % this.#turns.length] as Turn, Math.min(untilMs, performance.now() + turnMs));
    }
  }

  async #attack({ attack, boundTo, target }: Turn, untilMs: number): Promise<void> {
    const name = `${attack} of ${target === EVERY ? "every backend" : "one backend"}`;
    const open = new Set<ClientRequest>();
    for (let dueMs = performance.now(); dueMs < untilMs; dueMs += EVERY_MS) {
      const request = httpRequest({
        port: this.#port,
        path: attackPath(attack, target),
        agent: false,
        headers: {
          Host: PRIMARY_DOMAIN,
          [SCHEME_HEADER]: "https",
          "CF-Connecting-IP": "192.0.2.66",
          Cookie: `aiostreams_backend=${boundTo}`,
        },
      });
      open.add(request);
      request.on("response", (response) => response.resume());
      request.on("error", () => {}); // It may have been told anything.
      request.on("close", () => open.delete(request));
      request.end();
      this.sent.set(name, (this.sent.get(name) ?? 0) + 1);
      await sleep(Math.max(0, dueMs + EVERY_MS - performance.now()));
    }
    for (const request of open) request.destroy();
  }
}
