import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Backend, type Mode } from "./backend.ts";
import { freePort } from "./ports.ts";
import { end, endWithProcess, isRunning } from "./processes.ts";

/**
 * A backend in a process of its own, so that it can be killed and frozen as a whole. It ends with the process that
 * started it.
 *
 * `Order` is what can be told to it; the program behind it says what that means by `obeyOrders`.
 */
export class BackendProcess<Order extends object = Mode> {
  readonly id: string;
  readonly port: number;
  readonly #program: string;
  #child: ChildProcess | undefined;

  private constructor(id: string, port: number, program: string) {
    this.id = id;
    this.port = port;
    this.#program = program;
  }

  /** Starts `program`, which serves as `id` on a port of 127.0.0.1 and calls `obeyOrders`; without one, a plain `Backend`. */
  static async start<Order extends object = Mode>(
    id: string,
    program = import.meta.filename,
  ): Promise<BackendProcess<Order>> {
    for (let triesLeft = 3; ; triesLeft--) {
      const process = new BackendProcess<Order>(id, await freePort(), program);
      try {
        await process.restart();
        return process;
      } catch (error) {
        if (triesLeft === 0) throw error; // Otherwise its port was taken at the same moment.
      }
    }
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Its process id, or `undefined` while it is dead. */
  get pid(): number | undefined {
    const child = this.#child;
    return child && isRunning(child) ? child.pid : undefined;
  }

  /** Starts the program on its port again after a `kill`; resolves once it listens. */
  async restart(): Promise<void> {
    // Its Node is this one; the flags of a test runner are not for it.
    const child = fork(this.#program, [this.id, String(this.port)], { execArgv: [] });
    endWithProcess(child);
    this.#child = child;
    const ended = once(child, "exit").then(([code, signal]) => {
      throw new Error(`backend ${this.id} ended before it listened: ${code ?? signal}`);
    });
    await Promise.race([once(child, "message"), ended]);
    ended.catch(() => {});
  }

  /** Gives an order; resolves once it is carried out. Not while it is frozen. */
  async tell(order: Order): Promise<void> {
    const child = this.#child;
    if (!child?.connected) throw new Error(`backend ${this.id} is not running`);
    const done = once(child, "message");
    child.send(order);
    await done;
  }

  /** SIGKILL: the port closes and every connection is reset. Resolves once it is gone. */
  async kill(): Promise<void> {
    if (this.#child) await end(this.#child);
  }

  /** SIGSTOP: the kernel goes on accepting connections, and nothing answers them. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }
}

/** In the child: says that it listens, carries out each order that comes, and ends when its parent is gone. */
export function obeyOrders<Order>(carryOut: (order: Order) => void): void {
  process.on("disconnect", () => process.exit());
  process.on("message", (order) => {
    carryOut(order as Order);
    process.send?.("done");
  });
  process.send?.("listening");
}

if (import.meta.main) {
  const [, , id = "", port] = process.argv;
  const backend = await new Backend(id).start(Number(port));
  obeyOrders<Mode>((mode) => {
    backend.mode = mode;
  });
}
