/** The longest that any one question waits for its answer, the body included. */
const QUESTION_MS = 10_000;

/** An error with one of Node's codes, or one of `TIMEOUT`, `INTERRUPTED` and `TOO_LARGE`. */
export class CodedError extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/**
 * Carries out a task for as long as a question may take, which is `patienceMs`. What does not obey its signal, such as a
 * name server that is silent, is left to itself.
 *
 * @throws {CodedError} `TIMEOUT`, or `INTERRUPTED` when `signal` says so.
 */
export async function bounded<T>(
  signal: AbortSignal | undefined,
  task: (limit: AbortSignal) => Promise<T>,
  patienceMs = QUESTION_MS,
): Promise<T> {
  const controller = new AbortController();
  const { promise: cut, reject } = Promise.withResolvers<never>();
  const interrupt = () => reject(new CodedError("INTERRUPTED"));
  const timer = setTimeout(() => reject(new CodedError("TIMEOUT")), patienceMs);
  signal?.addEventListener("abort", interrupt);
  if (signal?.aborted) interrupt();
  const work = task(controller.signal);
  // One of the two is late, and then its rejection has no listener any more.
  work.catch(() => {});
  cut.catch(() => {});
  try {
    return await Promise.race([cut, work]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", interrupt);
    controller.abort();
  }
}

/** The code of an error: its own, or that of what caused it. */
export function codeOf(error: unknown): string {
  const { code, cause } = error as { code?: unknown; cause?: { code?: unknown; errors?: { code?: unknown }[] } };
  // A number is the old code of an AbortError or another DOMException, and says nothing.
  return [code, cause?.code, cause?.errors?.[0]?.code].find((one) => typeof one === "string") ?? "UNKNOWN";
}
