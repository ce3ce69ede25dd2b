// Pieces that several views use.

import { Problem } from "../shared/api.js";
import { h, icon, ICONS } from "../shared/dom.js";
import { known as told, label, say } from "../shared/i18n.js";

/** A button with a text of the vocabulary. */
export function button(key, onclick, { kind = "", values, type = "button" } = {}) {
  const made = h(`button${kind ? `.${kind.replace(/ /g, ".")}` : ""}`, { type, onclick });
  return say(made, key, values);
}

/** A note: what happened and what to do. `tone`: good, attention, bad or "". */
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
      text && say(h("p.quiet"), text, values),
    ),
  );
}

/** What to say about an error of `ask`. */
export function trouble(error, known = {}) {
  if (!(error instanceof Problem)) throw error;
  if (error.unreachable) return note("attention", "error.unreachable");
  if (known[error.status]) return note("attention", known[error.status]);
  if (told(`problem.${error.code}`)) return note("attention", `problem.${error.code}`);
  if (error.status === 429 || error.status === 503) return note("attention", "error.busy");
  const detail = [error.message, error.remedy].filter(Boolean).join(" ");
  return note("bad", "error.other", null, { detail });
}

/** Something is on its way. */
export function waiting(key = "app.loading") {
  return h("div.row", { role: "status" }, h("span.spinner"), say(h("span"), key));
}

/** A link back to where one came from. */
export function backLink(href = "#/", key = "app.back") {
  const link = h("a.button.plain.back", { href }, icon(ICONS.left), say(h("span"), key));
  return h("p", {}, link);
}

/** Ask a question; resolves to whether the first answer was chosen. */
export function question({ title, text, yes, no, harm = false }) {
  return new Promise((resolve) => {
    const heading = say(h("h2", { id: "question" }), title);
    const dialog = h("dialog", { "aria-labelledby": "question" });
    const answer = (value) => {
      dialog.close();
      dialog.remove();
      resolve(value);
    };
    dialog.append(
      heading,
      ...(text ? [say(h("p"), text)] : []),
      h(
        "div.stack",
        {},
        button(yes, () => answer(true), { kind: harm ? "harm full" : "main full" }),
        button(no, () => answer(false), { kind: "full" }),
      ),
    );
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      answer(false);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** The camera's picture as in a mirror. */
export function mirror(stream, key = "status.preview") {
  const video = h("video.mirror", { autoplay: true, playsinline: true, muted: true });
  video.muted = true;
  video.srcObject = stream;
  return label(video, "aria-label", key);
}

/** Say something to those who listen instead of looking. */
export function speak(text) {
  const place = document.getElementById("spoken");
  if (place && place.textContent !== text) place.textContent = text;
}
