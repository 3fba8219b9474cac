/**
 * What Cloudflare's cache does to the fetches of a Worker, as it is documented
 * (https://developers.cloudflare.com/cache/concepts/default-cache-behavior/). It goes by the extension of the path alone, and
 * `cache: "no-store"` goes past it.
 */
const EXTENSIONS = new Set(
  `7z avi avif apk bin bmp bz2 class css csv doc docx dmg ejs eot eps exe flac gif gz ico iso jar jpg jpeg js mid midi mkv mp3
  mp4 ogg otf pdf pict pls png ppt pptx ps rar svg svgz swf tar tif tiff ttf txt webm webp woff woff2 xls xlsx zip zst`.split(
    /\s+/,
  ),
);

/** How long an answer without `Cache-Control` is kept, in minutes. */
const KEPT_MINUTES = { 200: 120, 206: 120, 301: 120, 302: 20, 303: 20, 403: 1, 404: 3, 410: 3 };

/** Answers by URL, as plain data: a stream of one invocation cannot be read by another. */
const kept = new Map();

export async function throughCache(fetch, target, options) {
  const request = target instanceof Request ? target : undefined;
  const url = new URL(request ? request.url : target);
  const method = options.method ?? request?.method ?? "GET";
  const [, extension = ""] = /\.([^./]+)$/.exec(url.pathname) ?? [];
  const isCacheable = (method === "GET" || method === "HEAD") && EXTENSIONS.has(extension.toLowerCase());
  if (!isCacheable || (options.cache ?? request?.cache) === "no-store") return fetch(target, options);

  const entry = kept.get(url.href);
  if (entry && Date.now() < entry.expiresMs) return answer(entry, method, "HIT");
  // It wants the whole, to keep it.
  const headers = new Headers(options.headers ?? request?.headers);
  for (const name of ["Range", "If-Range"]) headers.delete(name);
  const response = await fetch(url.href, { ...options, method: "GET", headers });
  const keptMs = keptMsOf(response);
  if (keptMs === 0) return method === "HEAD" ? new Response(null, response) : response;
  const { status } = response;
  const body = await response.arrayBuffer();
  const fetched = { status, headers: [...response.headers], body, expiresMs: Date.now() + keptMs };
  kept.set(url.href, fetched);
  return answer(fetched, method, "MISS");
}

function keptMsOf({ status, headers }) {
  const cacheControl = headers.get("Cache-Control") ?? "";
  if (/no-store|no-cache|private/i.test(cacheControl) || headers.has("Set-Cookie")) return 0;
  const seconds = /(?:s-maxage|max-age)=(\d+)/i.exec(cacheControl)?.[1] ?? 60 * (KEPT_MINUTES[status] ?? 0);
  return Number(seconds) * 1_000;
}

function answer({ status, headers, body }, method, cacheStatus) {
  const isEmpty = method === "HEAD" || body.byteLength === 0;
  const response = new Response(isEmpty ? null : body, { status, headers });
  response.headers.set("CF-Cache-Status", cacheStatus);
  return response;
}
