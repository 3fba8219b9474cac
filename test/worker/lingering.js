/**
 * Stands around the Worker and keeps each invocation alive after its answer, as a check that is under way does. Otherwise workerd
 * frees what is left of an invocation once its handler has returned, and hides what the Worker forgets.
 */
import worker from "./worker.js";

export default {
  fetch(request, env, ctx) {
    ctx.waitUntil(scheduler.wait(120_000)); // Longer than any test.
    return worker.fetch(request, env, ctx);
  },
};
