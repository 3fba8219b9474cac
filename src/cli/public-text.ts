import type { Config } from "../config.ts";
import { type Answer, isAnswer, type Reply } from "./ask.ts";
import { type Line, ok, warning, wrong } from "./line.ts";
import { listed, unanswered } from "./text.ts";

const LOOK_ABOVE = "Correct what is said about the backends above.";
const LOOK_AT_CLOUDFLARE =
  "Look in Cloudflare's dashboard whether the Worker has this custom domain, then npm run deploy.";
const DEPLOY = "What is deployed differs from wrangler.toml: npm run deploy.";

/** What the Worker's answer to the health route says about the Worker. */
export function judgeAnswer({ status, headers, text, tookMs }: Answer, origin: string): Line {
  const answers = `${origin} answers ${status}`;
  if (headers.get("cf-mitigated") === "challenge") {
    const todo =
      "No player can answer it: add a rule to the zone in Cloudflare's dashboard that skips challenges for this host name.";
    return wrong(undefined, `${answers}: a bot challenge of Cloudflare's stands before the Worker`, todo);
  }
  if (status === 421) {
    const todo = "Make routes and PRIMARY_DOMAIN in wrangler.toml the same, then npm run deploy.";
    return wrong(undefined, `${answers}: the Worker does not serve this host name`, todo);
  }
  if (text.startsWith("The load balancer is not configured")) {
    const todo = `Open ${origin}: the answer names them. Change them in wrangler.toml or in the Worker's secrets, then npm run deploy.`;
    return wrong(undefined, `${answers}: variables of the Worker are wrong`, todo);
  }
  if (status >= 520 && status <= 530)
    return wrong(undefined, `${answers}, an error of Cloudflare's own`, LOOK_AT_CLOUDFLARE);
  if (status === 502 || status === 504) {
    const todo = `${LOOK_ABOVE} If they are all well, their firewalls may refuse Cloudflare's addresses.`;
    return wrong(undefined, `${answers}: the Worker reaches no backend`, todo);
  }
  if (status >= 500) return wrong(undefined, `${answers}: so does every backend that the Worker asked`, LOOK_ABOVE);
  return ok(undefined, `${origin} answers ${status} in ${tookMs} ms`);
}

/** Why there was no answer at all; `isGiven` says that `--url` named the address. */
export function adviceFor(code: string, isGiven: boolean): string {
  if (isGiven)
    return code === "ECONNREFUSED" ? "Start the Worker there first (npm run dev), or correct --url." : "Correct --url.";
  if (!/CERT|SSL|EPROTO/.test(code)) return LOOK_AT_CLOUDFLARE;
  return "Just deployed? Cloudflare takes some minutes to get a certificate for a new domain: wait, then run this again.";
}

/** The backend that the session cookie of an answer names. */
export function sessionOf({ headers }: Answer, { sessionCookieName }: Config): string | undefined {
  const prefix = `${sessionCookieName}=`;
  const cookie = headers.getSetCookie().find((text) => text.startsWith(prefix));
  return cookie?.slice(prefix.length).split(";")[0];
}

/** Whether the answer came from this Worker, and by way of it from a backend that wrangler.toml names. */
export function judgeSession(answer: Answer, config: Config): Line {
  const { backends, servedByHeader } = config;
  const id = sessionOf(answer, config);
  if (id === undefined) {
    const todo =
      "Something else answers at this name. Not deployed yet? Then remove its DNS record, since npm run deploy creates it. Deployed? Look in Cloudflare's dashboard which Worker or record it leads to.";
    return wrong("session", "the answer sets no session cookie, so it does not come from this Worker", todo);
  }
  const servedBy = servedByHeader === "" ? id : (answer.headers.get(servedByHeader) ?? id);
  const stranger = [id, servedBy].find((name) => !backends.some((backend) => backend.id === name));
  if (stranger === undefined)
    return ok("session", `the answer comes from ${id}, and sets a session cookie that says so`);
  const name = /^[\w-]{1,64}$/.test(stranger) ? stranger : "another one";
  const known = listed(backends.map((backend) => backend.id));
  return wrong("session", `the answer comes from ${name}, and wrangler.toml has only ${known}`, DEPLOY);
}

/** Whether a client with the cookie stays: then no other cookie is set. */
export function judgeHold(id: string, reply: Reply, config: Config): Line {
  const again = "asked again with the cookie, the Worker";
  if (!isAnswer(reply))
    return unanswered("session", reply, `${again} does not answer (${reply.code})`, "Run this again.");
  if (reply.status >= 500) return wrong("session", `${again} answers ${reply.status}`, LOOK_ABOVE);
  const next = sessionOf(reply, config);
  if (next === undefined || next === id)
    return ok("session", `the cookie holds: asked again with it, the answer stays with ${id}`);
  const todo = `It does so when a backend is down: look what is said about ${id} above.`;
  return warning("session", `${again} moves the client to another backend`, todo);
}

export function judgeRedirect(reply: Reply, publicOrigin: string): Line {
  const todo =
    "The Worker redirects by itself: look in Cloudflare's dashboard for a rule or a DNS record that answers before it.";
  if (!isAnswer(reply)) return unanswered("redirect", reply, `plain HTTP is not answered (${reply.code})`, todo);
  const target = reply.headers.get("Location") ?? "";
  if (reply.status >= 300 && reply.status < 400 && `${target}/`.startsWith(`${publicOrigin}/`)) {
    return ok("redirect", `plain HTTP is redirected to ${publicOrigin} (${reply.status})`);
  }
  return wrong("redirect", `plain HTTP answers ${reply.status} and does not lead to ${publicOrigin}`, todo);
}

/** What the status page's JSON says; no line holds its path, which is a secret. */
export function judgeStatusPage(reply: Reply, count: number): Line {
  const about = "status page";
  if (!isAnswer(reply)) return unanswered(about, reply, `it does not answer (${reply.code})`, "Run this again.");
  const shown = Array.isArray(reply.json.backends) ? reply.json.backends.length : undefined;
  if (shown === undefined || (reply.status !== 200 && reply.status !== 503)) {
    return wrong(about, `its address answers ${reply.status} without the page`, DEPLOY);
  }
  if (shown !== count) return wrong(about, `backends on it: ${shown}, in wrangler.toml: ${count}`, DEPLOY);
  if (reply.status === 503) return wrong(about, "it answers 503: as the Worker sees it, no backend is up", LOOK_ABOVE);
  return ok(about, `it answers; backends on it: ${shown}`);
}
