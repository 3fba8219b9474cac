// The backend of every subject. It answers from memory and does as little as it can, so as not to be the limit.
// About as long as AIOStreams' manifest.
const SMALL = JSON.stringify({ id: "bench", padding: "x".repeat(2_000) });
const SMALL_HEADERS = { "Content-Type": "application/json" };
const HEALTH = '{"success":true}';
const BLOCK = new Uint8Array(1024 * 1024);

export default {
  async fetch(request) {
    if (request.headers.get("Upgrade") === "websocket") return echo();
    const download = /\/download\/(\d+)$/.exec(request.url);
    if (download) return blocks(Number(download[1]));
    if (request.url.endsWith("/api/v1/health")) return new Response(HEALTH, { headers: SMALL_HEADERS });
    if (request.url.endsWith("/absent.json")) return new Response(SMALL, { status: 404, headers: SMALL_HEADERS });
    if (request.body === null) return new Response(SMALL, { headers: SMALL_HEADERS });
    const { byteLength } = await request.arrayBuffer();
    return new Response(`${byteLength} bytes`);
  },
};

function blocks(count) {
  const { readable, writable } = new FixedLengthStream(count * BLOCK.length);
  writeBlocks(writable.getWriter(), count).catch(() => {}); // The client went away.
  return new Response(readable);
}

async function writeBlocks(writer, count) {
  for (let i = 0; i < count; i++) await writer.write(BLOCK);
  await writer.close();
}

function echo() {
  const [client, server] = Object.values(new WebSocketPair());
  server.accept();
  server.addEventListener("message", ({ data }) => server.send(data));
  server.addEventListener("close", () => server.close());
  return new Response(null, { status: 101, webSocket: client });
}
