import { isBackendVariable, isHeadersVariable, VARIABLES } from "../config.ts";

/** The most letters that may be added, left out or changed in a name that is still a misspelling of another one. */
const MOST_EDITS = 3;

const KEY_AND_VALUE = /^\s*([\w-]+)\s*=\s*(.*?)\s*$/;

/** The setting that a name resembles; `undefined` when it resembles none. */
export function resembledSetting(name: string): string | undefined {
  const rest = name.replace(/^(backends?|headers?)[-_.]?|^[^_]*_/i, "").toUpperCase();
  const perBackend = [`BACKEND_${rest}`, `HEADERS_${rest}`].filter(
    (it) => isBackendVariable(it) || isHeadersVariable(it),
  );
  const candidates = Object.keys(VARIABLES).concat(isBackendVariable(name) ? [] : perBackend);
  const nearest = nearestOf(candidates, name);
  return nearest && nearest.edits <= MOST_EDITS ? nearest.candidate.replace(/_$/, "_<NAME>") : undefined;
}

/** Every HEADERS_<NAME> among these names that belongs to no backend, and the one that it resembles, if any. */
export function strayHeaders(names: readonly string[], backendVariables: readonly string[]) {
  const own = backendVariables.map((name) => name.replace("BACKEND_", "HEADERS_"));
  const strays = names.filter(
    (name) => isHeadersVariable(name) && !own.some((one) => one.toUpperCase() === name.toUpperCase()),
  );
  return strays.map((variable) => {
    const nearest = nearestOf(own, variable);
    // A name of two letters is no misspelling of every other one.
    const isNear = nearest && nearest.edits * 2 <= nearest.candidate.length - "HEADERS_".length;
    return { variable, meant: isNear ? nearest.candidate : undefined };
  });
}

function nearestOf(candidates: readonly string[], name: string) {
  const distances = candidates.map((candidate) => ({ candidate, edits: editsBetween(bare(name), bare(candidate)) }));
  return distances.toSorted((a, b) => a.edits - b.edits)[0];
}

function bare(name: string): string {
  return name.toUpperCase().replace(/[^A-Z0-9]/g, "");
}

/** The Levenshtein distance: how many letters have to be added, left out or changed to make one text of the other. */
function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (letter === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

/**
 * What to do about a line that is no TOML, or stands there twice; `undefined` where that is not known.
 *
 * @param above the lines before it.
 */
export function hintFor(line: string, above: readonly string[] = []): string | undefined {
  const [, name, value = ""] = KEY_AND_VALUE.exec(line) ?? [];
  if (name === undefined) return undefined;
  const table = above.slice(above.findLastIndex((other) => /^\s*\[/.test(other)) + 1);
  if (table.some((other) => KEY_AND_VALUE.exec(other)?.[1] === name)) {
    return `${name} stands there twice: remove one of the two lines`;
  }
  const isWhole = /^(""".*|'''.*|"[^"]*"|'[^']*'|\[.*|\{.*|true|false|[+-]?[\d_.]+)(\s*#.*)?$/.test(value);
  if (isWhole && !/^\d+(\.\d+){2,}/.test(value)) return undefined;
  const bareValue = value.replace(/\s*#.*$/, "");
  if (/^(yes|no|on|off|true|false)$/i.test(bareValue)) return `write true or false as the value of ${name}`;
  const [, number] = /^(\d+)\s*[a-z][a-z ]*$/i.exec(bareValue) ?? [];
  if (number !== undefined) return `write the number alone: ${name} = ${number}`;
  // No more than the name: the value may hold what is secret.
  if (/^"[^"]*"[^"]+$/.test(bareValue)) {
    return `put ${isBackendVariable(name) ? "the options" : "the whole value"} of ${name} inside the quotes`;
  }
  // An editor for letters makes these.
  if (/^[“”„‘’«»]|[“”„‘’«»]$/.test(bareValue)) return `put straight quotes (") around the value of ${name}`;
  return `put quotes around the value of ${name}`;
}
