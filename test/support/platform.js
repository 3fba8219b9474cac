/**
 * Stands around the Worker and does to each invocation what Cloudflare does and plain workerd does not: it limits the
 * subrequests and the connections, cancels what a client that went away has left behind, and answers from a cache.
 *
 * What goes on when a client has left is what belongs to a promise that was given to `ctx.waitUntil`. JavaScript does not tell what a promise
 * waits for, so this is an approximation: such a promise owns the operations (subrequests, timers) that were begun between
 * the reading of `ctx.waitUntil` and its call, as in `ctx.waitUntil(check())`; where there are none, those that were begun
 * since the invocation was last resumed, as in `const checked = check(); ctx.waitUntil(checked)`. What is begun after an
 * operation has ended belongs to what that operation belonged to, whatever was waiting for it.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { throughCache } from "./platform-cache.js";
import worker from "./worker.js";

/** On the free plan (https://developers.cloudflare.com/workers/platform/limits/). */
const SUBREQUESTS_MAX = 50;
const CONNECTIONS_MAX = 6;
const FIGURES_PATH = "/__platform";
/** The figures of every invocation would fill the isolate in a long storm. */
const FIGURES_MAX = 1_000;

const { fetch, setTimeout, clearTimeout, setInterval, clearInterval, scheduler, caches } = globalThis;
const current = new AsyncLocalStorage();
const figures = [];

class Invocation {
  /** What `FIGURES_PATH` tells of it. */
  figures;
  #request;
  #connections = 0;
  #queue = [];
  #operations = new Set();
  #timers = new Map();
  /** The operations that were begun since it was last resumed. */
  #begun = [];
  /** How many of them there were each time that `ctx.waitUntil` was read; it may be read again within its own argument. */
  #readings = [];
  /** Whether what runs now belongs to a promise that was given to `ctx.waitUntil`. */
  #outlives = false;
  #hasLeft = false;

  constructor(request) {
    this.#request = request;
    const { pathname, search } = new URL(request.url);
    this.figures = {
      method: request.method,
      path: pathname + search,
      subrequests: 0,
      refused: 0,
      connectionsMax: 0,
      queuedMax: 0,
      queuedMsMax: 0,
      hasLeft: false,
      cancelledSubrequests: 0,
      cancelledTimers: 0,
    };
  }

  /** The `ctx` that the Worker gets. */
  contextFrom(ctx) {
    return new Proxy(ctx, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (name === "waitUntil") {
          this.#readings.push(this.#begun.length);
          return (promise) => this.#waitUntil(target, promise);
        }
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  #waitUntil(ctx, promise) {
    const own = this.#begun.slice(this.#readings.pop() ?? 0);
    for (const operation of own.length > 0 ? own : this.#begun) operation.outlives = true;
    ctx.waitUntil(promise);
  }

  fetch(input, init) {
    // The members of a Request are no own properties, so that a copy of it would be empty.
    const [target, options] = init instanceof Request ? [new Request(input, init), {}] : [input, init];
    const own = options?.signal ?? (target instanceof Request ? target.signal : undefined);
    const signal = own === this.#request.signal ? undefined : own;
    return this.subrequest(signal, (leaving) =>
      throughCache(fetch, target, { ...options, signal: signal ? AbortSignal.any([signal, leaving]) : leaving }),
    );
  }

  async subrequest(signal, send) {
    if (++this.figures.subrequests > SUBREQUESTS_MAX) {
      this.figures.refused++;
      throw new Error("Too many subrequests.");
    }
    return this.#operate("cancelledSubrequests", async (leaving) => {
      if (this.#connections < CONNECTIONS_MAX) this.#connections++;
      else await this.#freeConnection(signal ? AbortSignal.any([signal, leaving]) : leaving);
      this.figures.connectionsMax = Math.max(this.figures.connectionsMax, this.#connections);
      try {
        return await send(leaving);
      } finally {
        const next = this.#queue.shift();
        if (next) next();
        else this.#connections--;
      }
    });
  }

  /** Resolves when a connection has been handed over, in the order of the asking. */
  #freeConnection(signal) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const sinceMs = Date.now();
      const go = () => {
        this.figures.queuedMsMax = Math.max(this.figures.queuedMsMax, Date.now() - sinceMs);
        resolve();
      };
      this.#queue.push(go);
      this.figures.queuedMax = Math.max(this.figures.queuedMax, this.#queue.length);
      signal.addEventListener("abort", () => {
        const place = this.#queue.indexOf(go);
        if (place >= 0) this.#queue.splice(place, 1);
        reject(signal.reason);
      });
    });
  }

  wait(ms, options) {
    return this.#operate("cancelledTimers", () => scheduler.wait(ms, options));
  }

  setTimer(isRepeated, callback, ms, args) {
    const [set, clear] = isRepeated ? [setInterval, clearInterval] : [setTimeout, clearTimeout];
    const operation = this.#begin("cancelledTimers", () => clear(id));
    // No id is 0, so that nothing can be stopped by it.
    if (!operation) return 0;
    const id = set(() => {
      if (!isRepeated) this.clearTimer(id);
      this.#resume(operation);
      callback(...args);
    }, ms);
    this.#timers.set(id, operation);
    return id;
  }

  clearTimer(id) {
    this.#operations.delete(this.#timers.get(id));
    this.#timers.delete(id);
  }

  /** A promise of a cancelled operation is never settled: in production nothing is left that could wait for it. */
  #operate(kind, run) {
    return new Promise((resolve, reject) => {
      const leaving = new AbortController();
      const operation = this.#begin(kind, () => leaving.abort());
      if (!operation) return;
      const settle = (how) => (value) => {
        if (!this.#operations.delete(operation)) return;
        this.#resume(operation);
        how(value);
      };
      run(leaving.signal).then(settle(resolve), settle(reject));
    });
  }

  #begin(kind, cancel) {
    if (this.#hasLeft && !this.#outlives) {
      this.figures[kind]++;
      return undefined;
    }
    const operation = { kind, cancel, outlives: this.#outlives };
    this.#operations.add(operation);
    this.#begun.push(operation);
    return operation;
  }

  #resume({ outlives }) {
    this.#outlives = outlives;
    this.#begun = [];
    this.#readings = [];
  }

  leave() {
    this.#hasLeft = true;
    this.figures.hasLeft = true;
    for (const operation of this.#operations) {
      if (operation.outlives) continue;
      this.#operations.delete(operation);
      this.figures[operation.kind]++;
      operation.cancel();
    }
  }
}

globalThis.fetch = (input, init) => {
  const invocation = current.getStore();
  return invocation ? invocation.fetch(input, init) : fetch(input, init);
};

globalThis.setTimeout = (callback, ms, ...args) => {
  const invocation = current.getStore();
  return invocation ? invocation.setTimer(false, callback, ms, args) : setTimeout(callback, ms, ...args);
};

globalThis.setInterval = (callback, ms, ...args) => {
  const invocation = current.getStore();
  return invocation ? invocation.setTimer(true, callback, ms, args) : setInterval(callback, ms, ...args);
};

// Either one stops both kinds of timers (https://html.spec.whatwg.org/multipage/timers-and-user-prompts.html).
globalThis.clearTimeout = globalThis.clearInterval = (id) => {
  current.getStore()?.clearTimer(id);
  clearTimeout(id);
};

Object.defineProperty(globalThis, "scheduler", {
  value: {
    wait: (ms, options) => {
      const invocation = current.getStore();
      return invocation ? invocation.wait(ms, options) : scheduler.wait(ms, options);
    },
  },
});

Object.defineProperty(globalThis, "caches", {
  value: {
    get default() {
      return limited(caches.default);
    },
    open: async (name) => limited(await caches.open(name)),
  },
});

function limited(cache) {
  const operation =
    (method) =>
    (...args) => {
      const invocation = current.getStore();
      const run = () => cache[method](...args);
      return invocation ? invocation.subrequest(undefined, run) : run();
    };
  return { match: operation("match"), put: operation("put"), delete: operation("delete") };
}

export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname === FIGURES_PATH) return Response.json(figures);
    const invocation = new Invocation(request);
    figures.push(invocation.figures);
    if (figures.length > FIGURES_MAX) figures.shift();
    const left = new Promise((resolve) => {
      request.signal.addEventListener("abort", () => {
        invocation.leave();
        resolve(new Response(null, { status: 499 }));
      });
    });
    const answer = current.run(invocation, async () => worker.fetch(request, env, invocation.contextFrom(ctx)));
    const first = Promise.race([answer, left]);
    // Otherwise workerd might end an invocation that nothing waits for before it says that the client has left.
    ctx.waitUntil(first.catch(() => {}));
    return first;
  },
};
