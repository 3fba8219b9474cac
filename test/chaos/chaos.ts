/** `npm run chaos`: what the Worker survives, under workerd, with real backends that are broken all the time. */
import { end, endWithProcess, isEnding } from "./ending.ts";
import { isolates } from "./isolates.ts";
import { parseOptions, USAGE, UsageError } from "./options.ts";
import { storm } from "./storm.ts";

endWithProcess();
try {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") {
    console.log(USAGE);
  } else {
    const isGood = options.isolates === undefined ? await storm(options) : await isolates(options, options.isolates);
    process.exitCode = isGood ? 0 : 1;
  }
} catch (error) {
  if (error instanceof UsageError) console.error(`${error.message}\n\n${USAGE}`);
  else if (!isEnding()) console.error(error);
  process.exitCode = 1;
} finally {
  await end();
}
