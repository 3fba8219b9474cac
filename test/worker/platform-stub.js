// Runs in the Worker's place, to show that the emulated platform does what it says. Each path goes beyond one limit.
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const ask = (path, init) => fetch(env.BACKEND + path, init);
    const outcome = (promise) =>
      promise.then(
        () => "answered",
        ({ name, message }) => `${name}: ${message}`,
      );

    /** Goes on after a timer and after a fetch, as far as it is let. */
    async function work(name) {
      for (let i = 1; i <= 2; i++) {
        await ask(`/${name}/${i}`);
        console.log(`${name} waits`);
        await wait(500);
        console.log(`${name} goes on`);
      }
      await ask(`/${name}/3`);
    }

    switch (url.pathname) {
      case "/in-turn": {
        const outcomes = [];
        for (let i = 0; i < Number(url.searchParams.get("count")); i++) outcomes.push(await outcome(ask(`/${i}`)));
        if (url.searchParams.has("cache")) outcomes.push(await outcome(caches.default.match("https://example.com/")));
        return Response.json(outcomes);
      }
      case "/at-once": {
        const count = Number(url.searchParams.get("count"));
        return Response.json(await Promise.all(Array.from({ length: count }, (_, i) => outcome(ask(`/${i}`)))));
      }
      case "/impatient": {
        const hung = Array.from({ length: 6 }, (_, i) => outcome(ask(`/${i}`)));
        const seventh = await outcome(ask("/7", { signal: AbortSignal.timeout(100) }));
        ctx.waitUntil(Promise.all(hung));
        return Response.json(seventh);
      }
      case "/work": {
        const own = work("own");
        ctx.waitUntil(work("kept"));
        await own;
        return new Response("done");
      }
      case "/work-given-later": {
        const kept = work("kept");
        ctx.waitUntil(kept);
        await kept;
        return new Response("done");
      }
      case "/read": {
        ctx.waitUntil(wait(2_000));
        const response = await ask("/body");
        await response.text();
        await ask("/after");
        return new Response("done");
      }
      case "/hang":
        await ask("/hang");
        return new Response("done");
      default:
        return new Response(null, { status: 404 });
    }
  },
};
