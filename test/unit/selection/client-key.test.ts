import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clientKey } from "../../../src/selection/rendezvous.ts";
import { anyText } from "../sample.ts";

describe("a client's key", () => {
  it("is an IPv4 address as it is", () => {
    expect(clientKey("192.0.2.1")).toBe("192.0.2.1");
  });

  it.each([
    "::ffff:1.2.3.4",
    "::FFFF:1.2.3.4",
    "::ffff:102:304",
    "::FFFF:0102:0304",
    "0:0:0:0:0:ffff:102:304",
    "0000:0000:0000:0000:0000:ffff:0102:0304",
    "0:0:0:0:0:ffff:1.2.3.4",
    "0::ffff:102:304",
  ])("is that of the IPv4 address which an IPv6 address maps: %s", (ip) => {
    expect(clientKey(ip)).toBe("1.2.3.4");
  });

  it("is that of the mapped address, whatever that is", () => {
    fc.assert(
      fc.property(fc.ipV4(), (ip) => {
        const canonical = new URL(`http://[::ffff:${ip}]`).hostname.slice(1, -1);
        return clientKey(canonical) === ip && clientKey(`::ffff:${ip}`) === ip;
      }),
    );
  });

  it.each([
    ["2001:db8:1:2:a:b:c:d", "2001:db8:1:2::1"],
    ["2001:db8:1:2::", "2001:DB8:1:2:ffff:ffff:ffff:ffff"],
    ["2001:0db8:0001:0002::1", "2001:db8:1:2::1"],
    ["2001:db8::1", "2001:db8:0:0:5:6:7:8"],
    ["::1", "::2"],
    ["::", "0:0:0:0:0:0:0:1"],
  ])("is the same for two addresses of one /64 network: %s and %s", (one, other) => {
    expect(clientKey(one)).toBe(clientKey(other));
  });

  it.each([
    ["2001:db8:1:2::1", "2001:db8:1:3::1"],
    ["2001:db8::1", "2001:db9::1"],
    ["::ffff:1.2.3.4", "::ffff:1.2.3.5"],
    ["::fffe:102:304", "1.2.3.4"],
    ["1::ffff:102:304", "1.2.3.4"],
  ])("differs between two networks: %s and %s", (one, other) => {
    expect(clientKey(one)).not.toBe(clientKey(other));
  });

  it("is the same however an address of the /64 is written", () => {
    const canonical = (ip: string) => new URL(`http://[${ip}]`).hostname.slice(1, -1);
    fc.assert(
      // Cloudflare writes no IPv6 address with dots but a mapped one.
      fc.property(
        fc.ipV6().filter((ip) => !ip.includes(".")),
        fc.string({ unit: fc.constantFrom(..."1234abcd"), minLength: 4, maxLength: 4 }),
        (ip, digits) => {
          const key = clientKey(canonical(ip));
          if (key.includes(".")) return true;
          const sibling = `${key}:${[...digits].join(":")}`;
          return [ip, ip.toUpperCase(), sibling].every((written) => clientKey(written) === key);
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each(["", "unknown", "localhost"])("is the text itself where that is no address: %j", (text) => {
    expect(clientKey(text)).toBe(text);
  });

  it("exists for any text, and is the same each time", () => {
    const colons = fc.string({ unit: fc.constantFrom(..."0123456789abcdef:.%[]g ") });
    fc.assert(
      fc.property(fc.oneof(colons, anyText), (text) => {
        const key = clientKey(text);
        return typeof key === "string" && key === clientKey(text);
      }),
      { numRuns: 1_000 },
    );
  });
});
