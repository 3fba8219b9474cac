import { type Line, ok, wrong } from "./line.ts";
import { listed } from "./text.ts";

/**
 * What a backend knows of a user that another one has made. "in its database": its key and password did not come out;
 * a SECRET_KEY is compared on one database only, and an add-on password with one SECRET_KEY only.
 */
export type Result =
  | "reads"
  | "in its database"
  | "another database"
  | "another SECRET_KEY"
  | "another add-on password"
  | "no result";

/** One backend's result with the user of one maker; both are ids. */
export interface Shared {
  readonly maker: string;
  readonly reader: string;
  readonly result: Result;
}

/** What all results say together: who shares what, and who is the odd one out. */
export function judgeSharing(
  results: readonly Shared[],
  { passwordVariable, isProtectionAlike }: { passwordVariable: string; isProtectionAlike: boolean },
): Line[] {
  const confused = results.filter(({ maker, reader, result }) => maker === reader && result === "another database");
  const lines = confused.map(({ maker }) => {
    const todo = `Set one DATABASE_URI on all that answers as ${maker}: that of the database that holds your users.`;
    return wrong(maker, "does not know the user that it has just made: it has more than one database", todo);
  });
  const known = results.filter(
    ({ maker, result }) => result !== "no result" && !confused.some((one) => one.maker === maker),
  );
  const databases = groupsOf(known, (result) => result !== "another database");
  lines.push(
    ...disagreement(databases, {
      odd: (others) => `has another database than ${others}`,
      tie: "do not share one database",
      todo: (ids) =>
        `Set the same DATABASE_URI on ${ids}: that of the database that holds your users. Then run this again, for SECRET_KEY can only be compared on one database.`,
    }),
  );
  for (const database of databases) {
    const within = known.filter(({ maker, reader }) => database.includes(maker) && database.includes(reader));
    const decided = within.filter(({ result }) => result !== "in its database");
    const keys = groupsOf(decided, (result) => result !== "another SECRET_KEY");
    lines.push(
      ...disagreement(keys, {
        odd: (others) =>
          `shares a database with ${others}, but has another SECRET_KEY: its players find nothing but "Invalid password", in answers of 200 that the Worker cannot tell from good ones`,
        tie: 'share one database, but not one SECRET_KEY: players find nothing but "Invalid password", in answers of 200 that the Worker cannot tell from good ones',
        todo: (ids) => `Set the same SECRET_KEY on ${ids}: the one that your users were made with.`,
      }),
    );
    for (const ids of keys.filter((group) => group.length > 1)) {
      lines.push(ok(undefined, `${listed(ids)} share one database and one SECRET_KEY`));
    }
  }
  // Where only some of them want an add-on password, that was said already.
  return isProtectionAlike ? [...lines, ...judgePasswords(known, passwordVariable)] : lines;
}

function judgePasswords(results: readonly Shared[], variable: string): Line[] {
  // Those that refuse one user may refuse that of the next maker too, with the same cause.
  const { maker } = results.find(({ result }) => result === "another add-on password") ?? {};
  if (maker === undefined) return [];
  const ofMaker = results.filter((one) => one.maker === maker);
  const refusing = ofMaker.filter(({ result }) => result === "another add-on password").map(({ reader }) => reader);
  const accepting = ofMaker.filter(({ result }) => result === "reads").map(({ reader }) => reader);
  const found = `${listed(refusing)} ${refusing.length === 1 ? "refuses" : "refuse"} the add-on password that ${listed(accepting)} ${accepting.length === 1 ? "accepts" : "accept"}: another ${variable}`;
  return [
    wrong(undefined, found, `Set the same ${variable} on all of them: the one that your users' configurations hold.`),
  ];
}

/** The ids of makers and readers, in groups that results of one kind hold together; the order is that of the ids. */
function groupsOf(results: readonly Shared[], isTogether: (result: Result) => boolean): string[][] {
  const ids = [...new Set(results.flatMap(({ maker, reader }) => [maker, reader]))].sort();
  const groups = new Map(ids.map((id) => [id, [id]]));
  for (const { maker, reader } of results.filter(({ result }) => isTogether(result))) {
    const joined = [...new Set([...(groups.get(maker) ?? []), ...(groups.get(reader) ?? [])])].sort();
    for (const id of joined) groups.set(id, joined);
  }
  return [...new Set(groups.values())];
}

interface Texts {
  /** Of one group, beside the others that agree. */
  readonly odd: (others: string) => string;
  /** Of all, where no group is larger than the others. */
  readonly tie: string;
  readonly todo: (ids: string) => string;
}

/** One ✗ for each group that is not like the largest one, or one ✗ for all where none is the largest. */
function disagreement(groups: readonly string[][], { odd, tie, todo }: Texts): Line[] {
  if (groups.length < 2) return [];
  const [largest = [], second = []] = groups.toSorted((a, b) => b.length - a.length);
  const all = listed(groups.flat().sort());
  if (largest.length === second.length) return [wrong(undefined, `${all} ${tie}`, todo(all))];
  return groups
    .filter((group) => group !== largest)
    .map((group) => {
      if (group.length > 1) return wrong(undefined, `${listed(group)}: each ${odd(listed(largest))}`, todo(all));
      return wrong(group[0], odd(`${listed(largest)}, which agree`), todo(listed([...group, ...largest].sort())));
    });
}
