/** Resolves after `ms`. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What a promise resolves to, or `undefined` after `ms`. It must not reject. The timer ends with it: nothing fires later. */
export function withTimeout<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, undefined);
    promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}
