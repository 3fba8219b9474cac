// The least that a proxy can do: nothing is parsed, and the request is passed on as it is.
export default {
  fetch(request, env) {
    const { url } = request;
    return fetch(`http://${env.BACKEND_HOST}${url.slice(url.indexOf("/", "https://".length))}`, request);
  },
};
