// Pieces that several views of the learner's page use.

import { h, icon, ICONS } from "../shared/dom.js";
import { label, say } from "../shared/i18n.js";
import { button } from "../shared/parts.js";

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
