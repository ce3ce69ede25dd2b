// Who reviews, and how it is asked: the key stays in this tab, and pieces that the views share.

import { ask, Kept, Problem } from "../shared/api.js";
import { fill, h } from "../shared/dom.js";
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

/** Say what went wrong; `words` has keys of the vocabulary by status. */
export function trouble(error, words = {}) {
  if (error.status !== 403 || told(error)) return troubleOf(error, words);
  return note("bad", "error.notAllowed", h("p.quiet", {}, error.message));
}

/** Whether the vocabulary has words for the very code. */
function told(error) {
  return known(`problem.${error.code}`);
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

/** A field for a reason in words. */
export function reasonField(id) {
  return h("input", { type: "text", id, maxlength: 200, required: true });
}

/** A box to tick, with its words: `{row, box, label}`. */
export function tick(id, key) {
  const box = h("input", { type: "checkbox", id });
  const label = say(h("label", { for: id }), key);
  return { row: h("div.tick", {}, box, label), box, label };
}

/**
 * A form that acts once its fields are filled in, and says what went wrong.
 *
 * @param {object} form
 * @param {string} form.title      a key of the vocabulary
 * @param {Node[]} form.parts
 * @param {Array} form.needs       fields that must be filled in or ticked; functions give theirs later
 * @param {Array} form.buttons     `[key, kind, value]` of each
 * @param {object} [form.known]    keys of the vocabulary by status of a refusal
 * @param {boolean} [form.again]   whether it may be sent again once it was
 * @param {function} form.act      gets the value of the button that was pressed
 */
export function actForm({ title, parts, needs, buttons, known: words = {}, again = false, act }) {
  const place = h("div");
  const missing = (field) => (field.type === "checkbox" ? !field.checked : !field.value.trim());
  const submit = async (event) => {
    event.preventDefault();
    const empty = needs.map((one) => (typeof one === "function" ? one() : one)).find(missing);
    if (empty) return empty.focus();
    const pressed = [...event.target.querySelectorAll("button")];
    for (const button of pressed) button.disabled = true;
    fill(place);
    let failed = false;
    try {
      await act(event.submitter?.value ?? buttons[0][2]);
    } catch (error) {
      failed = true;
      fill(place, trouble(error, words));
    }
    if (failed || again) for (const button of pressed) button.disabled = false;
    return undefined;
  };
  const made = buttons.map(([name, kind, value]) =>
    say(h(`button${kind ? `.${kind}` : ""}`, { type: "submit", value }), name),
  );
  return h(
    "form.card.stack",
    { onsubmit: submit, novalidate: true },
    say(h("h2"), title),
    parts,
    place,
    h("div.row", {}, made),
  );
}
