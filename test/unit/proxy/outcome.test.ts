import { describe, expect, it } from "vitest";
import { failureOf, isIdempotent, isRelayable, mayRetry } from "../../../src/proxy/outcome.ts";

const METHODS = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND", "POST", "PATCH"];
const SERVER_ERRORS = Array.from({ length: 100 }, (_, n) => 500 + n);

describe("a status", () => {
  it.each([101, 200, 206, 304, 400, 401, 404, 429, 499])("%d is an answer", (status) => {
    expect(failureOf(status)).toBeUndefined();
  });

  it.each([521, 522, 523, 525, 526, 530])("%d says that the backend is unreachable", (status) => {
    expect(failureOf(status)).toBe("unreachable");
  });

  it.each([502, 503, 504, 520, 524, 527, 528, 529])("%d says that it is unavailable", (status) => {
    expect(failureOf(status)).toBe("unavailable");
  });

  it.each([500, 501, 505, 507, 511, 519, 531, 599])("%d is an application error", (status) => {
    expect(failureOf(status)).toBe("application error");
  });

  it("of 5xx is always a failure", () => {
    expect(SERVER_ERRORS.filter((status) => failureOf(status) === undefined)).toEqual([]);
  });
});

it("relays no error page of Cloudflare's, which names the backend", () => {
  const unfit = [200, 404, ...SERVER_ERRORS].filter((status) => !isRelayable(status));
  expect(unfit).toEqual([520, 521, 522, 523, 524, 525, 526, 527, 530]);
});

it("takes every method but POST and PATCH for idempotent", () => {
  expect(METHODS.filter((method) => !isIdempotent(method))).toEqual(["POST", "PATCH"]);
});

describe("a retry", () => {
  const always = { retryNonIdempotent: true };
  const careful = { retryNonIdempotent: false };

  it("is never made of a body that was streamed", () => {
    expect(METHODS.filter((method) => mayRetry(method, true, 521, always))).toEqual([]);
    expect(METHODS.filter((method) => mayRetry(method, true, 521, careful))).toEqual([]);
  });

  it("is made of any method by default", () => {
    for (const status of [undefined, 500, 503, 522]) {
      expect(METHODS.filter((method) => mayRetry(method, false, status, always))).toEqual(METHODS);
    }
  });

  it("is not made of POST and PATCH where the variable says so", () => {
    expect(METHODS.filter((method) => !mayRetry(method, false, 503, careful))).toEqual(["POST", "PATCH"]);
    expect(METHODS.filter((method) => !mayRetry(method, false, undefined, careful))).toEqual(["POST", "PATCH"]);
  });

  it("is made even then where the backend cannot have seen the request", () => {
    expect(SERVER_ERRORS.filter((status) => mayRetry("POST", false, status, careful))).toEqual([
      521, 523, 525, 526, 530,
    ]);
  });
});
