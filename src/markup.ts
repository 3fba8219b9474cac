/** Text that is HTML already; everything else is escaped on its way into a template. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Markup | readonly Markup[];

/** A page without scripts or other files; a Content-Security-Policy may allow its style sheet, and nothing else, by `nonce`. */
export function pageOf(title: string, content: Markup, style = html``, nonce = ""): string {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui;max-width:64rem;margin:auto;padding:2rem 1rem;overflow-wrap:anywhere}
${style}</style>
${content}
`.text;
}

/** A template of HTML: what stands in it is markup, what is put into it is text. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return new Markup(parts.reduce((text, part, i) => text + textOf(values[i - 1] ?? "") + part));
}

function textOf(value: Value): string {
  if (value instanceof Markup) return value.text;
  if (typeof value === "object") return value.map(({ text }) => text).join("");
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
