import { parseArgs } from "node:util";
import { VARIABLES } from "../../src/config.ts";
import { isFree, nextFreePort, PORT_MAX } from "../support/ports.ts";
import { EVENTS_PATH, FILM_PATH, MANIFEST_PATH, PAGE_PATH, SERVED_BY, STATUS_PATH } from "./backend.ts";
import { smoke } from "./smoke.ts";
import { type Action, BACKUP, IDS, type Note, Stack, type StackOptions } from "./stack.ts";

const PORT_DEFAULT = 8787;
const DOWN_TIME_MS_DEFAULT = 10_000;
const DOWN_TIME_MS_MAX = 3_600_000;

const USAGE = `Usage: npm run demo -- [options]

Starts three sample backends and the load balancer in front of them, on this computer only.

  --port <number>      the port of the load balancer, 1 to ${PORT_MAX}; also from the variable PORT
                       (without either: ${PORT_DEFAULT}, or the next one that is free)
  --down-time <ms>     after how long a backend that is down is checked again, 0 to ${DOWN_TIME_MS_MAX}
                       (default ${DOWN_TIME_MS_DEFAULT})
  --backup             makes ${BACKUP} a backup: it gets requests only while no other backend is up
  --smoke              asks, kills a backend, asks again, ends; the exit code tells whether it worked
  --help               shows this
`;

/** What was asked for cannot be done; the message says what to do instead. */
class UsageError extends Error {}

type Settings = Pick<StackOptions, "downTimeMs" | "hasBackup">;

interface Arguments extends Settings {
  /** The port that was asked for, if one was. */
  readonly port: number | undefined;
  readonly smoke: boolean;
  readonly help: boolean;
}

function parseArguments(args: string[], env: NodeJS.ProcessEnv): Arguments {
  const options = {
    port: { type: "string" },
    "down-time": { type: "string" },
    backup: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  } as const;
  try {
    const { values } = parseArgs({ args, options });
    const port = values.port ?? (env.PORT || undefined);
    const portName = values.port === undefined ? "PORT" : "--port";
    return {
      port: port === undefined ? undefined : wholeNumber(portName, port, 1, PORT_MAX),
      downTimeMs: wholeNumber("--down-time", values["down-time"] ?? String(DOWN_TIME_MS_DEFAULT), 0, DOWN_TIME_MS_MAX),
      hasBackup: values.backup,
      smoke: values.smoke,
      help: values.help,
    };
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
  }
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new Error(`${name} must be a whole number from ${min} to ${max}, found ${JSON.stringify(text)}.`);
}

/** The port that was asked for; without one, the usual port or the next one that is free. */
async function choosePort(asked: number | undefined): Promise<number> {
  const first = asked ?? PORT_DEFAULT;
  if (await isFree(first)) return first;
  const next = await nextFreePort(first + 1);
  if (asked === undefined && next !== undefined) {
    console.log(`Port ${first} is busy: another program listens on it. The demo takes port ${next} instead.`);
    return next;
  }
  const remedy = next === undefined ? "" : `, or choose one that is free: npm run demo -- --port ${next}`;
  throw new UsageError(`Port ${first} is busy: another program listens on it. End that program${remedy}`);
}

function introduction(url: string, { downTimeMs, hasBackup }: Settings): string {
  return `
The demo is ready. Three sample backends (${IDS.join(", ")}) stand behind the load balancer.${
    hasBackup ? `\n${BACKUP} is a backup: nothing reaches it, not even a check, while another backend is up.` : ""
  }

  Open  ${url}${PAGE_PATH}
        ${url}${STATUS_PATH}

The first page shows which backend answers, and has buttons that make a backend fail and recover. The second one is the
load balancer's own: what its checks have found.

Or try in another terminal; the header ${SERVED_BY} names the backend that answered:

  One request
    curl -i ${url}${MANIFEST_PATH}
  The same with a session, kept in the file "jar"
    curl -i -c jar -b jar ${url}${MANIFEST_PATH}
  As another client
    curl -i -H 'CF-Connecting-IP: 192.0.2.3' ${url}${MANIFEST_PATH}
  A part of a film (206), and a stream of events, one a second
    curl -s -D - -o film -r 0-999 ${url}${FILM_PATH}
    curl -N ${url}${EVENTS_PATH}

What you will see when a backend…

  dies         the same request is answered by another backend, at once.
  hangs        the first request waits 2 s: 1 s of silence, and 1 s more while the load balancer checks the
               backend's health route. Then another backend is asked as well, and the first answer wins. The next
               requests do not wait at all.
  answers 503  the same request goes to another backend. Nobody sees an error.
  recovers     ${recovery(downTimeMs)}
               Once a check is good, it gets requests again.

Good to know

  A session stays on its backend, and once that is down on the one that it moved to: a cookie names it. Clients
  without the cookie, such as players, are placed by their address. All of yours is 127.0.0.1, so one backend gets
  them all, unless you say CF-Connecting-IP as above (only here: Cloudflare itself sets that header).
  The cookie is Secure. Chrome, Firefox and curl (7.79 or newer) keep it on http://localhost. Safari does not:
  there, every request counts as one without a session.
`;
}

function recovery(downTimeMs: number): string {
  const afterMs = Math.min(downTimeMs, Number(VARIABLES.HEALTH_CHECK_INTERVAL.defaultValue));
  return `${afterMs === 0 ? "" : `${afterMs / 1000} s after its last check, `}the next request makes the load balancer check it again, beside that request.`;
}

const KEYS = `Keys: first 1, 2 or 3 for ${IDS.join(", ")}; then d die, h hang, 5 answer 503, r recover. Ctrl-C or q ends the demo.
`;

const ACTION_KEYS: Readonly<Record<string, Action>> = { d: "die", h: "hang", "5": "fail", r: "recover" };

/** Lets the terminal's keys do what the page's buttons do. Without a terminal there are none. */
function listenToKeys(stack: Stack, end: () => void): void {
  if (!process.stdin.isTTY) {
    console.log("No terminal to read keys from: use the page's buttons.\n");
    return;
  }
  console.log(KEYS);
  let selected: string = IDS[0];
  process.stdin.setRawMode(true);
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", (keys: string) => {
    for (const key of keys) {
      const action = ACTION_KEYS[key];
      if (key === "\u0003" || key === "q") return end();
      if (action) {
        stack.command(selected, action).catch((error) => console.error(`${selected}: ${error}`));
      } else if (IDS[Number(key) - 1]) {
        selected = IDS[Number(key) - 1] as string;
        console.log(`${selected} is selected: d die, h hang, 5 answer 503, r recover.`);
      } else {
        console.log(KEYS);
      }
    }
  });
}

function sayNote({ atMs, who, text }: Note): void {
  console.log(`${new Date(atMs).toTimeString().slice(0, 8)}  ${who} ${text}`);
}

/** Runs until somebody ends it. */
async function run(port: number, settings: Settings): Promise<never> {
  const stack = new Stack({ port, ...settings, onNote: sayNote });
  let ending: Promise<never> | undefined;
  const end = (exitCode: number): Promise<never> => {
    ending ??= stack.stop().then(() => process.exit(exitCode));
    return ending;
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      console.log("\nThe demo ends.");
      void end(0);
    });
  }
  // A terminal that was closed, or a pipe that nobody reads, is no reason to leave backends behind.
  process.stdout.on("error", () => void end(0));

  console.log("Starting three sample backends and the load balancer…");
  try {
    const { ended } = await stack.start();
    console.log(introduction(stack.url, settings));
    listenToKeys(stack, () => process.kill(process.pid, "SIGINT"));
    return await ended;
  } catch (error) {
    if (ending) return ending;
    console.error(error instanceof Error ? error.message : error);
    return end(1);
  }
}

async function main(): Promise<void> {
  const { port, smoke: isSmoke, help, ...settings } = parseArguments(process.argv.slice(2), process.env);
  if (help) return void console.log(USAGE);
  if (process.platform === "win32") {
    throw new UsageError("The demo freezes real processes by signals that Windows does not have. Run it in WSL.");
  }
  if (isSmoke) await smoke(await choosePort(port), console.log);
  else await run(await choosePort(port), settings);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
