import { expect, it } from "vitest";
import { readCookie } from "../../src/affinity.ts";

it("finds a cookie by its exact name", () => {
  expect(readCookie("notmy.lb=a; my.lb=b", "my.lb")).toBe("b");
});
