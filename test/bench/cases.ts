import type { Exchange } from "./load.ts";

/** One process that is measured, and what it is compared with. */
export interface Subject {
  readonly name: string;
  /** The floor (workers/floor.js), the Worker as it is, or as it was before. */
  readonly program: "floor" | "worker" | "before";
  readonly backends: number;
  /** How many of the backends, the last ones, are not there. */
  readonly down: number;
  /** The names of the subjects of the same case that it is compared with. */
  readonly against: readonly string[];
}

export interface Case {
  readonly name: string;
  readonly title: string;
  /** What is to be reached, as a median of ratios. */
  readonly goal: string;
  /** What is counted, and how many of them one exchange is. */
  readonly unit: { readonly name: string; readonly perExchange: number };
  readonly connections: number;
  readonly traffic: "GET" | "absent" | "POST" | "download" | "WebSocket";
  /** How long a connection waits from one exchange to the next; without it not at all. */
  readonly everyMs?: number;
  /** A client sends no cookie, the right one, or each in turn. */
  readonly visits: "first" | "returning" | "mixed";
  readonly subjects: readonly Subject[];
}

const DOWNLOAD_MIB = 100;
const MIB_BYTES = 1024 * 1024;
const POST_BODY = Buffer.alloc(10 * 1024, "a");
/** As workers/backend.js has it. */
const SMALL_BODY = JSON.stringify({ id: "bench", padding: "x".repeat(2_000) });
export const MESSAGE = "m".repeat(256);

const STREAM = "/stremio/0f9f2b9e-6a51-4a4c-9a1f-7d1a6f0c2b11/secret/stream/movie/tt0111161.json";
const PATHS: Readonly<Record<Case["traffic"], string>> = {
  GET: STREAM,
  absent: "/stremio/absent.json",
  POST: STREAM,
  download: `/api/v1/proxy/download/${DOWNLOAD_MIB}`,
  WebSocket: "/socket",
};

const FLOOR: Subject = { name: "floor", program: "floor", backends: 1, down: 0, against: [] };
const worker = (name: string, backends: number, down: number, ...against: string[]): Subject => ({
  name,
  program: "worker",
  backends,
  down,
  against: ["floor", ...against],
});
/** What most cases have in common. */
const GET = {
  goal: "worker at least 0.97 of the floor",
  unit: { name: "request", perExchange: 1 },
  connections: 32,
  traffic: "GET",
  visits: "returning",
  subjects: [FLOOR, worker("worker", 3, 0)],
} as const;

export const CASES: readonly Case[] = [
  {
    ...GET,
    name: "first-visit",
    title: "First visit: a GET without the session cookie, 2 KiB come back",
    visits: "first",
  },
  { ...GET, name: "returning", title: "Returning visitor: a GET with the right cookie, 2 KiB come back" },
  {
    ...GET,
    name: "single-404",
    title:
      "A single 404: a backend gives one in 1.5 s, so that each needs a check of its own, which the floor makes too",
    goal: "worker at least 0.97 of the floor by 1 / p50",
    connections: 30,
    traffic: "absent",
    everyMs: 1_500,
    subjects: [FLOOR, worker("worker", 30, 0)],
  },
  {
    ...GET,
    name: "one-down",
    title: "One of three backends down: first visits and returning visitors in turn",
    goal: "one down at least 1.00 of all up",
    visits: "mixed",
    subjects: [FLOOR, worker("all up", 3, 0), worker("one down", 3, 1, "all up")],
  },
  {
    ...GET,
    name: "post",
    title: "POST of 10 KiB with the right cookie",
    goal: "worker at least 0.90 of the floor, which keeps no body",
    traffic: "POST",
  },
  {
    ...GET,
    name: "download",
    title: `Download of ${DOWNLOAD_MIB} MiB with the right cookie`,
    unit: { name: "MiB", perExchange: DOWNLOAD_MIB },
    // So few that a round of some seconds completes several of them.
    connections: 4,
    traffic: "download",
  },
  {
    ...GET,
    name: "websocket",
    title: `WebSocket: messages of ${MESSAGE.length} bytes there and back`,
    unit: { name: "message", perExchange: 2 },
    traffic: "WebSocket",
  },
  {
    ...GET,
    name: "growth",
    title: "3, 10 and 30 backends: first visits and returning visitors in turn",
    goal: "30 backends at least 0.91 of 3 per CPU second",
    visits: "mixed",
    subjects: [FLOOR, ...[3, 10, 30].map((n) => worker(`${n} backends`, n, 0, ...(n > 3 ? ["3 backends"] : [])))],
  },
];

/** Puts beside each subject that runs the Worker one that runs the build of before. */
export function besideBefore(benchCase: Case): Case {
  const subjects = benchCase.subjects.flatMap((subject) => {
    if (subject.program !== "worker") return [subject];
    const before: Subject = { ...subject, name: `before: ${subject.name}`, program: "before", against: ["floor"] };
    return [before, { ...subject, against: [...subject.against, before.name] }];
  });
  return { ...benchCase, subjects };
}

export function backendId(index: number): string {
  return `b${index}`;
}

/** The `index`th request of a case to a subject, and what has to come back. */
export function exchange({ traffic, visits }: Case, subject: Subject, index: number): Exchange {
  const isReturning = visits === "returning" || (visits === "mixed" && index % 2 === 1);
  // Of mixed visits only every other one returns.
  const headers = headersOf(subject, index, isReturning, visits === "mixed" ? index >> 1 : index);
  const path = PATHS[traffic];
  const request = traffic === "POST" ? ({ method: "POST", body: POST_BODY } as const) : ({ method: "GET" } as const);
  const expected = { status: traffic === "absent" ? 404 : 200, setsCookie: !isReturning };
  const body = traffic === "POST" ? `${POST_BODY.length} bytes` : SMALL_BODY;
  const content = traffic === "download" ? { bytes: DOWNLOAD_MIB * MIB_BYTES } : { bytes: body.length, body };
  return { request: { ...request, path, headers }, expected: { ...expected, ...content } };
}

/**
 * What Cloudflare says of a client in `request.cf`, by the header that workerd takes it from. Every request has it in
 * production, and to pass it on, as `new Request(url, request)` does, is part of what forwarding costs.
 */
const CF = [
  '{"httpProtocol":"HTTP/2","tlsVersion":"TLSv1.3","tlsCipher":"AEAD-AES128-GCM-SHA256","clientTcpRtt":12,"continent":"EU",',
  '"country":"DE","region":"Hesse","regionCode":"HE","city":"Frankfurt am Main","postalCode":"60313","longitude":"8.68417",',
  '"latitude":"50.11552","timezone":"Europe/Berlin","colo":"FRA","asn":64496,"asOrganization":"Example Telecom",',
  '"clientAcceptEncoding":"gzip, deflate, br","edgeRequestKeepAliveStatus":1,"requestPriority":"","verifiedBotCategory":"",',
  '"tlsClientAuth":{"certIssuerDNLegacy":"","certPresented":"0","certVerified":"NONE"}}',
].join("");

/** The headers that Cloudflare passes on for a player, from one of many addresses; `turn` chooses its sticky backend. */
export function headersOf(subject: Subject, index: number, isReturning: boolean, turn = index): Record<string, string> {
  const headers: Record<string, string> = {
    Host: "aiostreams.example.com",
    "Test-Scheme": "https",
    "Test-Cf": CF,
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Stremio/5.0 Safari/537.36",
    Accept: "application/json, text/plain, */*",
    "Accept-Encoding": "gzip, br",
    "Accept-Language": "en-GB,en;q=0.9",
    "CF-Connecting-IP": `198.${18 + ((index >> 16) & 1)}.${(index >> 8) & 255}.${index & 255}`,
    "CF-IPCountry": "DE",
    "CF-Ray": "8f1c2d3e4f5a6b7c-FRA",
    "CF-Visitor": '{"scheme":"https"}',
    "X-Forwarded-For": "198.18.0.1",
    "X-Forwarded-Proto": "https",
  };
  const bound = turn % (subject.backends - subject.down);
  if (isReturning) headers.Cookie = `theme=dark; aiostreams_backend=${backendId(bound)}`;
  return headers;
}
