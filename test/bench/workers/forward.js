// The reference: a proxy as Cloudflare's documentation shows one. Plain JavaScript, so that workerd runs it as it stands.
export default {
  fetch(request, env) {
    const url = new URL(request.url);
    url.protocol = "http:";
    url.host = env.BACKEND_HOST;
    return fetch(new Request(url, request));
  },
};
