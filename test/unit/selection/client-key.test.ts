import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clientKey } from "../../../src/selection/rendezvous.ts";
import { anyText } from "../sample.ts";

describe("a client's key", () => {
  it.each(["192.0.2.1", "", "unknown", "localhost"])("is the text itself where that is no IPv6 address: %j", (text) => {
    expect(clientKey(text)).toBe(text);
  });

  it.each([
    "::ffff:1.2.3.4",
    "::FFFF:1.2.3.4",
    "::ffff:102:304",
    "::FFFF:0102:0304",
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
    ["2001:db8:1:2:a:b:c:d", "2001:db8:1:2::1", true],
    ["2001:db8:1:2::", "2001:DB8:1:2:ffff:ffff:ffff:ffff", true],
    ["2001:0db8:0001:0002::1", "2001:db8:1:2::1", true],
    ["2001:db8::1", "2001:db8:0:0:5:6:7:8", true],
    ["::1", "::2", true],
    ["::", "0:0:0:0:0:0:0:1", true],
    ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["2001:db8::1", "2001:db9::1", false],
    ["::ffff:1.2.3.4", "::ffff:1.2.3.5", false],
    ["::fffe:102:304", "1.2.3.4", false],
    ["1::ffff:102:304", "1.2.3.4", false],
  ])("is the same for two addresses of one /64 network only: %s and %s: %s", (one, other, isSame) => {
    expect(clientKey(one) === clientKey(other)).toBe(isSame);
  });

  it("exists for any text", () => {
    const colons = fc.string({ unit: fc.constantFrom(..."0123456789abcdef:.%[]g ") });
    fc.assert(fc.property(fc.oneof(colons, anyText), (text) => typeof clientKey(text) === "string"));
  });
});
