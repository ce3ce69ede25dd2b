// Who reviews, and how it is asked: the key stays in this tab, and pieces that the views share.

import { ask, Kept, Problem } from "../shared/api.js";
import { h, icon, ICONS } from "../shared/dom.js";
import { known, say } from "../shared/i18n.js";

const kept = new Kept("staff-key");

export const key = {
  get: () => kept.get(),
  set: (value) => kept.set(value),
};

/** Ask the service with the key of this tab. */
export function call(method, path, options = {}) {
  return ask(method, path, { ...options, token: kept.get() });
}

/** Fetch a kept picture; the look at it is recorded by the service. */
export async function picture(path) {
  const headers = { Authorization: `Bearer ${kept.get()}` };
  const response = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
  if (!response.ok) throw new Problem({ status: response.status, code: "picture" });
  return URL.createObjectURL(await response.blob());
}

/** Say what went wrong. */
export function trouble(error) {
  if (!(error instanceof Problem)) throw error;
  const title =
    { 0: "error.unreachable", 403: "error.notAllowed", 429: "error.busy", 503: "error.busy" }[
      error.status
    ] ?? "error.failed";
  const detail = [error.message, error.remedy].filter(Boolean).join(" ");
  return note("bad", title, detail);
}

/** A note: title by key, and what the service said. */
export function note(tone, title, detail) {
  return h(
    `div.note.${tone}`,
    { role: tone === "bad" ? "alert" : "status" },
    icon(tone === "good" ? ICONS.ok : ICONS.warn),
    h("div", {}, say(h("p"), title), detail ? h("p.quiet", {}, detail) : null),
  );
}

export function waiting() {
  return h("div.row", { role: "status" }, h("span.spinner"), say(h("span"), "app.loading"));
}

/** A word for a code; a code without a word shows itself. */
export function word(prefix, code) {
  const name = `${prefix}.${code}`;
  return known(name) ? say(h("span"), name) : h("span", {}, String(code));
}

/** A list of names and values. */
export function facts(rows) {
  return h(
    "dl.facts",
    {},
    rows.filter(Boolean).map(([name, value]) => [say(h("dt"), name), h("dd", {}, value)]),
  );
}
