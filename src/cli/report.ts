import { styleText } from "node:util";
import type { Leftover } from "./desk.ts";
import type { Kind, Line } from "./line.ts";

export interface Ending {
  readonly isInterrupted: boolean;
  readonly left: readonly Leftover[];
  /** What to do when nothing is wrong. */
  readonly next: string;
}

const SIGNS = {
  ok: { sign: "✓", colour: "green" },
  wrong: { sign: "✗", colour: "red" },
  warning: { sign: "!", colour: "yellow" },
  skipped: { sign: "–", colour: "gray" },
} as const;

/** Takes down what is found. As text each line is printed at once, so that a person sees the work go on; JSON comes last. */
export class Report {
  readonly #lines: (Omit<Line, "isBroken"> & { section: string })[] = [];
  /** What is known not to answer as it should. */
  readonly #broken = new Set<string | undefined>();
  readonly #isJson: boolean;
  readonly #out: NodeJS.WritableStream;
  #section = "";
  /** How wide the names are that lines begin with. */
  width = 0;

  constructor(out: NodeJS.WritableStream, { isJson }: { isJson: boolean }) {
    this.#out = out;
    this.#isJson = isJson;
  }

  /** Begins a section; `id` names it in the JSON. */
  section(id: string, heading: string): void {
    this.#section = id;
    this.#print(`\n${this.#styled("bold", heading)}`);
  }

  /** Adds a line, unless an earlier one has named its cause. */
  add({ isBroken, ...line }: Line): void {
    if (isBroken && this.#broken.has(line.about)) return;
    if (isBroken) this.#broken.add(line.about);
    this.#lines.push({ section: this.#section, ...line });
    const { sign, colour } = SIGNS[line.kind];
    const about = line.about === undefined ? "" : `${this.#styled("bold", line.about.padEnd(this.width))}  `;
    this.#print(`  ${this.#styled(colour, sign)} ${about}${line.found}.`);
    if (line.todo !== undefined) this.#print(`    → ${line.todo}`);
  }

  count(kind: Kind): number {
    return this.#lines.filter((line) => line.kind === kind).length;
  }

  /** Prints the summary, or all as JSON. */
  end(ending: Ending): void {
    const counts = { wrong: this.count("wrong"), warnings: this.count("warning"), skipped: this.count("skipped") };
    if (this.#isJson) {
      const { isInterrupted: interrupted, left } = ending;
      const report = { ok: counts.wrong === 0 && !interrupted, interrupted, ...counts, left, lines: this.#lines };
      this.#out.write(`${JSON.stringify(report, null, 2)}\n`);
    } else {
      this.#print(`\n${this.#styled("bold", summaryOf(counts, ending))}`);
    }
  }

  #print(text: string): void {
    if (!this.#isJson) this.#out.write(`${text}\n`);
  }

  /** Without a terminal, and with NO_COLOR (https://no-color.org), it leaves the text plain. */
  #styled(style: Parameters<typeof styleText>[0], text: string): string {
    return styleText(style, text, { stream: this.#out });
  }
}

function summaryOf(counts: { wrong: number; warnings: number; skipped: number }, ending: Ending): string {
  const wrong = counts.wrong === 1 ? "1 thing is wrong (✗)" : `${counts.wrong} things are wrong (✗)`;
  const things = counts.wrong > 0 ? "" : counts.warnings === 1 ? " thing" : " things";
  const warnings = `${counts.warnings}${things} ${counts.warnings === 1 ? "needs" : "need"} a look (!)`;
  const skipped = `${counts.skipped} ${counts.skipped === 1 ? "thing was" : "things were"} not asked (–)`;
  if (ending.isInterrupted) {
    const soFar = counts.wrong > 0 ? ` So far ${wrong}.` : "";
    return `Interrupted: not everything was asked.${soFar} Run npm run doctor again.`;
  }
  const found = counts.wrong > 0 ? [wrong] : [];
  if (counts.warnings > 0) found.push(warnings);
  if (found.length === 0) found.push("Nothing is wrong");
  if (counts.skipped > 0) found.push(skipped);
  const todo = counts.wrong > 0 ? "Do what → says, then run npm run doctor again." : ending.next;
  return `${found.join(", ")}. ${todo}`.trimEnd();
}
