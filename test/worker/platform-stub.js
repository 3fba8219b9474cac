// Runs in the Worker's place, to show that the emulated platform does what it says. Each path goes beyond one limit.
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    const ask = (path, init) => fetch(env.BACKEND + path, init);
    const outcome = (promise) =>
      promise.then(
        () => "answered",
        ({ name, message }) => `${name}: ${message}`,
      );

    /** Goes on after a timer and after a fetch, as far as it is let. */
    async function work(name, ms) {
      const waited = wait(ms);
      await ask(`/${name}/1`);
      await waited;
      await ask(`/${name}/2`);
      await ask(`/${name}/3`);
    }

    switch (pathname) {
      case "/in-turn": {
        const outcomes = [];
        for (let i = 0; i < Number(searchParams.get("count")); i++) outcomes.push(await outcome(ask(`/${i}`)));
        if (searchParams.has("cache")) outcomes.push(await outcome(caches.default.match("https://example.com/")));
        return Response.json(outcomes);
      }
      case "/at-once":
        return Response.json(await Promise.all([1, 2, 3, 4, 5, 6, 7].map((i) => outcome(ask(`/${i}`)))));
      case "/impatient": {
        const hung = Array.from({ length: 6 }, (_, i) => outcome(ask(`/${i}`)));
        const seventh = await outcome(ask("/7", { signal: AbortSignal.timeout(100) }));
        ctx.waitUntil(Promise.all(hung));
        return Response.json(seventh);
      }
      case "/work": {
        const own = work("own", Number(searchParams.get("own")));
        ctx.waitUntil(work("kept", Number(searchParams.get("kept"))));
        await own;
        return new Response("done");
      }
      case "/work-given-later": {
        const kept = work("kept", 200);
        ctx.waitUntil(kept);
        await kept;
        return new Response("done");
      }
      case "/read": {
        ctx.waitUntil(wait(60_000)); // Longer than the test.
        const response = await ask("/body");
        await response.text();
        await ask("/after");
        return new Response("done");
      }
      case "/hang":
        await ask("/hang");
        return new Response("done");
      case "/relay": {
        const init = JSON.parse(searchParams.get("init"));
        const response = await ask(searchParams.get("path"), { redirect: "manual", ...init });
        const { status, headers } = response;
        return Response.json({ status, cache: headers.get("CF-Cache-Status"), text: await response.text() });
      }
      default:
        return new Response(null, { status: 404 });
    }
  },
};
