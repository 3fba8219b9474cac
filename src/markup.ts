/** Text that is HTML already; everything else is escaped on its way into a template. */
export interface Markup {
  readonly markup: string;
}

type Value = string | number | Markup | readonly Markup[];

/** A page without scripts or other files; a Content-Security-Policy may allow its style sheet, and nothing else, by `nonce`. */
export function pageOf(title: string, content: Markup, style: Markup, nonce = ""): string {
  return html`<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui;max-width:72rem;margin:auto;padding:2rem 1rem;overflow-wrap:anywhere}
${style}</style>
${content}
`.markup;
}

/** A template of HTML: what stands in it is markup, what is put into it is text. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return { markup: String.raw({ raw: parts }, ...values.map(markupOf)) };
}

function markupOf(value: Value): string {
  if (typeof value === "object") return [value].flat().reduce((all, { markup }) => all + markup, "");
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
