/**
 * Says on a terminal what is being waited for, in one line that goes away again. Without a terminal it says nothing: there
 * the headings of the report show how far the work is.
 */
export class Progress {
  readonly #out: NodeJS.WriteStream;
  readonly #waits = new Map<object, string>();

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** Names a task for as long as it takes; the task may give itself another name meanwhile. */
  async during<T>(what: string, task: (rename: (what: string) => void) => Promise<T>): Promise<T> {
    const key = {};
    const rename = (name: string) => {
      this.#waits.set(key, name);
      this.#show();
    };
    rename(what);
    try {
      return await task(rename);
    } finally {
      this.#waits.delete(key);
      this.#show();
    }
  }

  /** Takes the line away while `print` prints, and puts it back. */
  around(print: () => void): void {
    this.#erase();
    print();
    this.#show();
  }

  #erase(): void {
    if (this.#out.isTTY) this.#out.write("\r\x1b[K");
  }

  #show(): void {
    this.#erase();
    if (!this.#out.isTTY || this.#waits.size === 0) return;
    const text = `  … waiting for ${[...this.#waits.values()].join(", ")}`;
    // A line that wraps would not be taken away whole.
    this.#out.write(text.slice(0, Math.max(0, (this.#out.columns || 80) - 1)));
  }
}
