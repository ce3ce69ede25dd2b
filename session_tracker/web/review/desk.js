// Who reviews, and how it is asked: the key stays in this tab, and pieces that the views share.

import { ask, Kept, Problem } from "../shared/api.js";
import { h } from "../shared/dom.js";
import { known, say } from "../shared/i18n.js";
import { note, trouble as troubleOf } from "../shared/parts.js";

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
  if (error.status !== 403 || known(`problem.${error.code}`)) return troubleOf(error);
  return note("bad", "error.notAllowed", h("p.quiet", {}, error.message));
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
