// The floor: the least that any such Worker has to do. It sets the forwarded headers, has one timer, and sets a cookie for a
// client that has none. A 404 costs it one check: a GET of the health route, whose answer is read. Plain JavaScript, so that
// workerd runs it as it stands.
const TIMEOUT_MS = 100_000;
const COOKIE = "aiostreams_backend=b0; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=86400";

export default {
  async fetch(request, env) {
    const { url, method, body } = request;
    const headers = new Headers(request.headers);
    const ip = headers.get("CF-Connecting-IP");
    headers.set("X-Forwarded-For", ip);
    headers.set("X-Real-IP", ip);
    headers.set("X-Forwarded-Host", "aiostreams.example.com");
    headers.set("X-Forwarded-Proto", "https");
    const target = env.BACKEND + url.slice(url.indexOf("/", "https://".length));
    const sent = body
      ? fetch(new Request(target, request), { headers, redirect: "manual" })
      : fetch(target, { method, headers, redirect: "manual" });
    const response = await inTime(sent);
    if (response.status === 404) await (await fetch(`${env.BACKEND}/api/v1/health`)).text();
    if (headers.get("Cookie")?.includes("aiostreams_backend=")) return response;
    const answer = new Response(response.body, response);
    answer.headers.append("Set-Cookie", COOKIE);
    return answer;
  },
};

function inTime(promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, TIMEOUT_MS, new Error("no answer in time"));
    promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    }, reject);
  });
}
