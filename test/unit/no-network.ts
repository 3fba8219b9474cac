/** No unit test sends anything: what is not stubbed fails, also after the test that began it. */
globalThis.fetch = async () => {
  throw new Error("a unit test has no network");
};
