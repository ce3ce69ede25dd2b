// Pieces that the pages share. Whoever uses them has the words: `app.loading`, `error.unreachable`,
// `error.busy`, `error.fault` and `error.other` (with `{detail}`).

import { Problem } from "./api.js";
import { h, icon, ICONS } from "./dom.js";
import { known as told, say } from "./i18n.js";

/** A button with a text of the vocabulary. */
export function button(key, onclick, { kind = "", values, type = "button" } = {}) {
  const made = h(`button${kind ? `.${kind.replace(/ /g, ".")}` : ""}`, { type, onclick });
  return say(made, key, values);
}

/**
 * A note: what happened and what to do.
 *
 * @param {string} tone   good, attention, bad or ""
 * @param {string} title  a key of the vocabulary
 * @param {string|Node} [text]    another key, or what somebody wrote
 * @param {object} [values]
 */
export function note(tone, title, text, values) {
  const sign = tone === "good" ? ICONS.ok : tone ? ICONS.warn : ICONS.wait;
  return h(
    `div.note${tone ? `.${tone}` : ""}`,
    { role: tone === "bad" ? "alert" : null },
    icon(sign),
    h(
      "div",
      {},
      title && say(h("p"), title, values),
      text instanceof Node ? text : text && say(h("p.quiet"), text, values),
    ),
  );
}

/** What to say about an error of `ask`; `known` has keys of the vocabulary by HTTP status. */
export function trouble(error, known = {}) {
  if (!(error instanceof Problem)) throw error;
  if (error.unreachable) return note("attention", "error.unreachable");
  if (known[error.status]) return note("attention", known[error.status]);
  if (told(`problem.${error.code}`)) return note("attention", `problem.${error.code}`);
  if (error.status === 429 || error.status === 503) return note("attention", "error.busy");
  if (error.status >= 500) return note("attention", "error.fault");
  const detail = [error.message, error.remedy].filter(Boolean).join(" ");
  return note("bad", "error.other", null, { detail });
}

/** Something is on its way. */
export function waiting(key = "app.loading") {
  return h("div.row", { role: "status" }, h("span.spinner"), say(h("span"), key));
}
