import { describe, expect, it } from "vitest";
import { hashText } from "../../../src/hash.ts";
import { clientKey, score } from "../../../src/selection/rendezvous.ts";
import { configWith } from "../sample.ts";

/** Addresses of both kinds, the same for ever. */
const CLIENTS = Array.from({ length: 200 }, (_, n) =>
  n % 4 === 3
    ? `2001:db8:${((n * 7919) % 65536).toString(16)}:${n.toString(16)}::1`
    : `198.51.${n % 256}.${(n * 37) % 256}`,
);

/**
 * The first letters of the backends that these clients went to, first and second, before there were weights. Who sees one of
 * these tests fail is about to move the clients of every deployment to other backends.
 */
const FROZEN = [
  {
    ids: ["cf", "duck", "koyeb"],
    homes:
      "kckdcdkkcdkkdccdddkckkccdkdcdcddkcdccdcccccddkkkkkddkcddkcckcckcdcdkcddckckcccckdcccdkdccckddcckkdkk" +
      "dckkdkddddcckddkddddkddkkcdkkdccdddkdckdcckkdkckdccdkddcdddddkdkcccckckdccckkdccddcckcddccccdkddccck",
    seconds:
      "cdckkkdckcddkddckkdkcckkkdkkkkckcdkddcdkkdkkcddcdcckddckcdkcdkckcdcdkcckddcdkddckdkkkccddkdkkdkcdkdd" +
      "cddckdckkkdkckcdckccdkkcckkcdkkkkccdcddkkdccccdckdkkdkcdckcccdkckddkckccdkkddkdkckkkckkcdddkcdkckkdd",
  },
  {
    ids: ["attic", "cf", "duck", "home", "koyeb"],
    homes:
      "khkdaakacdkkdcchddackkacdkdcacddacacadhccccddakkkaaakaadhccachkhdadacadckakaccckhchcdaahcakddcchahak" +
      "dhakdahdadcckahkddaakdhkaadahdhcadhhdckdchahdkakhhcdkadcdhddakdkccachhkdhcckkdcaaahhkcahccccdkdaacak",
    seconds:
      "ccaahddkkaddkaadakkkacckkdaadhckkdddhacakdhkckdcdhhddcdkkdakachcahhkkhaahcchhdhhadcakkdadchhhaaakdkd" +
      "cakchhdkdkahcddhhkddakdhhckkkhckhhdkaadakckkhcchdchkdhhdcaahddkakdchkchcchhhakhcdhcccaddaddhadkdckch",
  },
];

describe("with equal weights every client stays where it was before there were weights", () => {
  for (const { ids, homes, seconds } of FROZEN) {
    it.each([1, 7, 100])(`among ${ids.join(", ")}, each of weight %d`, (weight) => {
      const { backends } = configWith({
        BACKEND_A: "",
        BACKEND_B: "",
        BACKEND_C: "",
        ...Object.fromEntries(ids.map((id) => [`BACKEND_${id}`, `${id}.example.net weight=${weight}`])),
      });
      const orders = CLIENTS.map((ip) => {
        const keyHash = hashText(clientKey(ip));
        return [...backends].sort((a, b) => score(keyHash, b) - score(keyHash, a)).map(({ id }) => id.charAt(0));
      });
      expect(orders.map(([first]) => first).join("")).toBe(homes);
      expect(orders.map(([, second]) => second).join("")).toBe(seconds);
    });
  }
});
