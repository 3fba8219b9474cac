import type { Expected, HttpRequest } from "./load.ts";

export type Program = "floor" | "forward" | "worker" | "base";

/** One process that is measured, and what it is compared with. */
export interface Subject {
  readonly name: string;
  readonly program: Program;
  readonly backends: number;
  /** How many of the backends, the last ones, are not there. */
  readonly down: number;
  /** The names of the subjects of the same case that it is compared with. */
  readonly against: readonly string[];
}

/** A client sends no cookie, the right one, or each in turn. */
export type Visits = "first" | "returning" | "mixed";

export interface Case {
  readonly name: string;
  readonly title: string;
  /** What is to be reached, as a median of ratios. */
  readonly goal: string;
  /** What is counted, and how many of them one exchange is. */
  readonly unit: { readonly name: string; readonly perExchange: number };
  readonly connections: number;
  readonly traffic: "GET" | "POST" | "download" | "WebSocket";
  readonly visits: Visits;
  readonly subjects: readonly Subject[];
}

const REQUEST = { name: "request", perExchange: 1 };
const DOWNLOAD_MIB = 100;
const MIB_BYTES = 1024 * 1024;
const POST_BODY = Buffer.alloc(10 * 1024, "a");
/** As workers/backend.js has it. */
const SMALL_BODY = JSON.stringify({ id: "bench", padding: "x".repeat(2_000) });
export const MESSAGE = "m".repeat(256);

const FLOOR: Subject = { name: "floor", program: "floor", backends: 1, down: 0, against: ["forward"] };
const FORWARD: Subject = { name: "forward", program: "forward", backends: 1, down: 0, against: [] };
const worker = (name: string, backends: number, down: number, ...against: string[]): Subject => ({
  name,
  program: "worker",
  backends,
  down,
  against: ["forward", ...against],
});
const BESIDE_BOTH = [FLOOR, FORWARD, worker("worker", 3, 0)];

export const CASES: readonly Case[] = [
  {
    name: "first-visit",
    title: "First visit: a GET without the session cookie, 2 KiB come back",
    goal: "worker at least 0.90 of forward",
    unit: REQUEST,
    connections: 32,
    traffic: "GET",
    visits: "first",
    subjects: BESIDE_BOTH,
  },
  {
    name: "returning",
    title: "Returning visitor: a GET with the right cookie, 2 KiB come back",
    goal: "worker at least 0.95 of forward",
    unit: REQUEST,
    connections: 32,
    traffic: "GET",
    visits: "returning",
    subjects: BESIDE_BOTH,
  },
  {
    name: "one-down",
    title: "One of three backends down: first visits and returning visitors in turn",
    goal: "one down at least 1.00 of all up",
    unit: REQUEST,
    connections: 32,
    traffic: "GET",
    visits: "mixed",
    subjects: [FORWARD, worker("all up", 3, 0), worker("one down", 3, 1, "all up")],
  },
  {
    name: "post",
    title: "POST of 10 KiB with the right cookie",
    goal: "worker at least 0.85 of forward",
    unit: REQUEST,
    connections: 32,
    traffic: "POST",
    visits: "returning",
    subjects: BESIDE_BOTH,
  },
  {
    name: "download",
    title: `Download of ${DOWNLOAD_MIB} MiB with the right cookie`,
    goal: "worker at least 0.97 of forward",
    unit: { name: "MiB", perExchange: DOWNLOAD_MIB },
    // So few that a round of some seconds completes several of them.
    connections: 4,
    traffic: "download",
    visits: "returning",
    subjects: BESIDE_BOTH,
  },
  {
    name: "websocket",
    title: `WebSocket: messages of ${MESSAGE.length} bytes there and back`,
    goal: "worker at least 0.97 of forward",
    unit: { name: "message", perExchange: 2 },
    connections: 32,
    traffic: "WebSocket",
    visits: "returning",
    subjects: BESIDE_BOTH,
  },
  {
    name: "growth",
    title: "3, 10 and 30 backends: first visits and returning visitors in turn",
    goal: "30 backends cost at most 10 % more than 3 (requests per CPU second at least 0.91)",
    unit: REQUEST,
    connections: 32,
    traffic: "GET",
    visits: "mixed",
    subjects: [
      FORWARD,
      worker("3 backends", 3, 0),
      worker("10 backends", 10, 0, "3 backends"),
      worker("30 backends", 30, 0, "3 backends"),
    ],
  },
];

/** Puts beside each subject that runs the Worker one that runs the build it is compared with. */
export function besideBase(benchCase: Case): Case {
  const subjects = benchCase.subjects.flatMap((subject) => {
    if (subject.program !== "worker") return [subject];
    const base: Subject = { ...subject, name: `base: ${subject.name}`, program: "base", against: ["forward"] };
    return [base, { ...subject, against: [...subject.against, base.name] }];
  });
  return { ...benchCase, subjects };
}

export function backendId(index: number): string {
  return `b${index}`;
}

/** The `index`th request of a case to a subject, and what has to come back. */
export function exchange(
  { traffic, visits }: Case,
  subject: Subject,
  index: number,
): { request: HttpRequest; expected: Expected } {
  const returning = visits === "returning" || (visits === "mixed" && index % 2 === 1);
  const isBalancer = subject.program === "worker" || subject.program === "base";
  const headers = headersOf(subject, index, returning);
  const setsCookie = isBalancer && !returning;
  if (traffic === "download") {
    const path = `/api/v1/proxy/download/${DOWNLOAD_MIB}`;
    return { request: { method: "GET", path, headers }, expected: { bytes: DOWNLOAD_MIB * MIB_BYTES, setsCookie } };
  }
  const path = "/stremio/0f9f2b9e-6a51-4a4c-9a1f-7d1a6f0c2b11/secret/stream/movie/tt0111161.json";
  const body = traffic === "POST" ? `${POST_BODY.length} bytes` : SMALL_BODY;
  const request: HttpRequest =
    traffic === "POST" ? { method: "POST", path, headers, body: POST_BODY } : { method: "GET", path, headers };
  return { request, expected: { bytes: body.length, body, setsCookie } };
}

/**
 * What Cloudflare says of a client in `request.cf`, by the header that workerd takes it from. Every request has it in
 * production, and to pass it on, as `new Request(url, request)` does, is part of what forwarding costs.
 */
const CF = JSON.stringify({
  clientTcpRtt: 12,
  longitude: "8.68417",
  latitude: "50.11552",
  httpProtocol: "HTTP/2",
  tlsCipher: "AEAD-AES128-GCM-SHA256",
  tlsVersion: "TLSv1.3",
  tlsClientAuth: { certIssuerDNLegacy: "", certPresented: "0", certVerified: "NONE" },
  continent: "EU",
  country: "DE",
  region: "Hesse",
  regionCode: "HE",
  city: "Frankfurt am Main",
  postalCode: "60313",
  timezone: "Europe/Berlin",
  colo: "FRA",
  asn: 64496,
  asOrganization: "Example Telecom",
  clientAcceptEncoding: "gzip, deflate, br",
  edgeRequestKeepAliveStatus: 1,
  requestPriority: "",
  verifiedBotCategory: "",
});

/** The headers that Cloudflare passes on for a player, from one of many addresses. */
export function headersOf(subject: Subject, index: number, returning: boolean): Record<string, string> {
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
  // Halved, since of mixed visits only every other one returns.
  const bound = (index >> 1) % (subject.backends - subject.down);
  if (returning) headers.Cookie = `theme=dark; aiostreams_backend=${backendId(bound)}`;
  return headers;
}
