import { VARIABLES } from "../../src/config.ts";
import { parseFlags, wholeNumber } from "../support/arguments.ts";
import { isFree, nextFreePort, PORT_MAX } from "../support/ports.ts";
import { MANIFEST_PATH, PAGE_PATH, STATUS_PATH } from "./backend.ts";
import { smoke } from "./smoke.ts";
import { ACTIONS, BACKUP, IDS, type Note, Stack, type StackOptions } from "./stack.ts";

const PORT_DEFAULT = 8787;
const DOWN_TIME_MS_DEFAULT = 10_000;
const DOWN_TIME_MS_MAX = 3_600_000;

const USAGE = `Usage: npm run demo -- [options]

Starts three sample backends and the load balancer in front of them, on this
computer only.

  --port <number>   the port of the load balancer, 1 to ${PORT_MAX}; also from the
                    variable PORT (else ${PORT_DEFAULT}, or the next one that is free)
  --down-time <ms>  after how long a backend that is down is checked again,
                    0 to ${DOWN_TIME_MS_MAX} (default ${DOWN_TIME_MS_DEFAULT})
  --backup          makes ${BACKUP} a backup: it gets requests only while no other
                    backend is up
  --smoke           asks, kills a backend, asks again, ends; the exit code tells
                    whether it worked
  --help            shows this
`;

/** What was asked for; `port` if one was. @throws with what is wrong and how the demo is used. */
export function parseArguments(args: string[], env: NodeJS.ProcessEnv = {}) {
  try {
    const flags = parseFlags(
      {
        port: { type: "string" },
        "down-time": { type: "string", default: String(DOWN_TIME_MS_DEFAULT) },
        backup: { type: "boolean", default: false },
        smoke: { type: "boolean", default: false },
      },
      args,
    );
    const name = flags.port === undefined ? "PORT" : "--port";
    const port = flags.port ?? (env.PORT || undefined);
    return {
      port: port === undefined ? undefined : wholeNumber(name, port, 1, PORT_MAX),
      downTimeMs: wholeNumber("--down-time", flags["down-time"], 0, DOWN_TIME_MS_MAX),
      hasBackup: flags.backup,
      isSmoke: flags.smoke,
    };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${USAGE}`);
  }
}

/** The port that was asked for; without one, the usual port or the next one that is free. */
async function choosePort(asked: number | undefined): Promise<number> {
  const first = asked ?? PORT_DEFAULT;
  if (await isFree(first)) return first;
  const next = await nextFreePort(first + 1);
  if (asked === undefined && next !== undefined) {
    console.log(`Port ${first} is busy: another program listens on it. The demo takes ${next}.`);
    return next;
  }
  const remedy = next === undefined ? "" : `, or choose one that is free: npm run demo -- --port ${next}`;
  throw new Error(`Port ${first} is busy: another program listens on it. End that program${remedy}`);
}

type Settings = Pick<StackOptions, "downTimeMs" | "hasBackup">;

/** With what comes before it twenty lines of eighty columns at most, the address last. */
function introduction(url: string, { downTimeMs, hasBackup }: Settings): string {
  const afterMs = Math.min(downTimeMs, Number(VARIABLES.HEALTH_CHECK_INTERVAL.defaultValue));
  return `
The demo is ready: ${IDS.join(", ")} are sample backends behind a load balancer.${
    hasBackup ? `\n${BACKUP} is a backup: it is on standby while another backend is up.` : ""
  }
What you will see when a backend

  dies          another backend answers the same request, at once
  hangs         the first request waits about two seconds (one, if the load
                balancer has just started), the next ones do not wait
  answers 503   another backend answers the same request
  is gone, and  its platform answers 404: likewise, as soon as a check is bad
  recovers      it is checked beside a request, ${afterMs / 1000} s after its last check,
                and gets requests once that check is good

${process.stdin.isTTY ? KEYS : "No terminal to read keys from: use the page's buttons."}
A cookie keeps a browser on its backend (Safari drops it on http://localhost).
To ask as a player does:  curl -i ${url}${MANIFEST_PATH}
To see what checks find:  ${url}${STATUS_PATH}
To see it all, open       ${url}${PAGE_PATH}
`;
}

const KEYS = `Keys: ${IDS.map((id, i) => `${i + 1} ${id}`).join(", ")}; then d die, h hang, 5 answer 503, 4 platform 404,
r recover. Ctrl-C or q ends the demo.`;

/** Lets the terminal's keys do what the page's buttons do. Without a terminal there are none. */
function listenToKeys(stack: Stack, end: () => void): void {
  if (!process.stdin.isTTY) return;
  let selected: string = IDS[0];
  process.stdin.setRawMode(true);
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", (keys: string) => {
    for (const key of keys) {
      const [action] = Object.entries(ACTIONS).find(([, action]) => action.key === key) ?? [];
      if (key === "\u0003" || key === "q") return end();
      if (action) {
        stack.command(selected, action).catch((error) => console.error(`${selected}: ${error}`));
      } else {
        selected = IDS[Number(key) - 1] ?? selected;
        console.log(`${selected} is selected. ${KEYS}`);
      }
    }
  });
}

/** Runs until it is ended. */
async function run(port: number, settings: Settings): Promise<never> {
  const onNote = ({ atMs, who, text }: Note) => {
    console.log(`${new Date(atMs).toTimeString().slice(0, 8)}  ${who} ${text}`);
  };
  const stack = new Stack({ ...settings, port, onNote });
  let ending: Promise<never> | undefined;
  const end = (exitCode: number): Promise<never> => {
    ending ??= stack.stop().then(() => process.exit(exitCode));
    return ending;
  };
  const endByPerson = () => {
    console.log("\nThe demo ends.");
    void end(0);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, endByPerson);
  // A terminal that was closed, or a pipe that has no reader, is no reason to leave backends behind.
  process.stdout.on("error", () => void end(0));

  console.log("Starting three sample backends and the load balancer…");
  try {
    const { ended } = await stack.start();
    listenToKeys(stack, endByPerson);
    console.log(introduction(stack.url, settings));
    return await ended;
  } catch (error) {
    if (ending) return ending;
    console.error((error as Error).message);
    return end(1);
  }
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) return void console.log(USAGE);
  const settings = parseArguments(args, process.env);
  if (process.platform === "win32") {
    throw new Error("The demo freezes real processes by signals that Windows does not have. Run it in WSL.");
  }
  const port = await choosePort(settings.port);
  if (settings.isSmoke) await smoke(port, console.log);
  else await run(port, settings);
}

if (import.meta.main) {
  await main().catch((error: Error) => {
    console.error(error.message);
    process.exit(1);
  });
}
