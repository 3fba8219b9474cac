import { describe, expect, it } from "vitest";
import { isCloudflareErrorPage, JUDGEMENTS, mayRetry, outcomeOf } from "../../src/outcome.ts";

describe("a status", () => {
  it.each([101, 200, 206, 304, 400, 404, 429, 499])("%d is an answer", (status) => {
    expect(outcomeOf(status)).toBe("answered");
  });

  it.each([521, 522, 523, 525, 526, 530])("%d says that the backend is unreachable", (status) => {
    expect(outcomeOf(status)).toBe("unreachable");
  });

  it.each([502, 503, 504, 520, 524, 527, 528, 529])("%d says that it is unavailable", (status) => {
    expect(outcomeOf(status)).toBe("unavailable");
  });

  it.each([500, 501, 505, 507, 511, 531, 599])("%d is an application error", (status) => {
    expect(outcomeOf(status)).toBe("application error");
  });
});

describe("an ejection", () => {
  it("follows at once from what leaves no doubt", () => {
    const atOnce = Object.entries(JUDGEMENTS).filter(([, { ejects }]) => ejects === "at once");
    expect(atOnce.map(([outcome]) => outcome)).toEqual(["network error", "unreachable", "silent", "timeout"]);
  });

  it("can be acquitted only when one request alone may be to blame", () => {
    const acquittable = Object.entries(JUDGEMENTS).filter(([, judgement]) => judgement.acquittable);
    expect(acquittable.map(([outcome]) => outcome)).toEqual(["timeout", "application error"]);
  });
});

it("asks only a backend that threw a network error again", () => {
  const again = Object.entries(JUDGEMENTS).filter(([, { askAgain }]) => askAgain);
  expect(again.map(([outcome]) => outcome)).toEqual(["network error"]);
});

it("knows which statuses come with an error page of Cloudflare's", () => {
  const statuses = Array.from({ length: 100 }, (_, n) => 500 + n);
  expect(statuses.filter(isCloudflareErrorPage)).toEqual([520, 521, 522, 523, 524, 525, 526, 527, 530]);
});

describe("a retry", () => {
  const always = { retryNonIdempotent: true };
  const careful = { retryNonIdempotent: false };

  it("is never made of a body that was streamed", () => {
    expect(mayRetry("PUT", true, 521, always)).toBe(false);
  });

  it("is made of any method by default", () => {
    expect(["GET", "POST", "PATCH"].map((method) => mayRetry(method, false, 503, always))).toEqual([true, true, true]);
  });

  it("is not made of POST and PATCH where the variable says so", () => {
    const methods = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "POST", "PATCH"];
    expect(methods.filter((method) => !mayRetry(method, false, 503, careful))).toEqual(["POST", "PATCH"]);
  });

  it("is made even then where the backend cannot have seen the request", () => {
    const statuses = [undefined, 500, 502, 503, 520, 521, 522, 523, 524, 525, 526, 527, 530];
    expect(statuses.filter((status) => mayRetry("POST", false, status, careful))).toEqual([521, 523, 525, 526, 530]);
  });
});
