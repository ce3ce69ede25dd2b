// Pieces that several views of the learner's page use.

import { Problem } from "../shared/api.js";
import { h, icon, ICONS } from "../shared/dom.js";
import { known, label, languageNow, say } from "../shared/i18n.js";
import { button, note, trouble } from "../shared/parts.js";

/** A link back to where one came from. */
export function backLink(href = "#/", key = "app.back") {
  const link = h("a.button.plain.back", { href }, icon(ICONS.left), say(h("span"), key));
  return h("p", {}, link);
}

/** Ask a question; resolves to whether the first answer was chosen. `text`: a key, or an element. */
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
      ...(text ? [text instanceof Node ? text : say(h("p"), text)] : []),
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

/** The route without a face, in three steps. */
export function otherWay() {
  return h("ol", {}, [1, 2, 3].map((n) => say(h("li"), `consent.refused.${n}`)));
}

/** Why one cannot begin to learn; in words of the page, whatever the service said. */
export function refusal(error) {
  if (!(error instanceof Problem)) throw error;
  const { status, code } = error;
  if (error.unreachable || status === 429 || status === 503) return trouble(error);
  const ours = status >= 500 ? "refused.fault" : "refused.text";
  return note("attention", "refused.title", known(`problem.${code}`) ? `problem.${code}` : ours, { code });
}

/** Let nothing but `element` be used; gives what undoes it, and gives the focus back. */
export function alone(element) {
  const focused = document.activeElement;
  const stilled = [];
  for (let at = element; at !== document.body && at.parentElement; at = at.parentElement) {
    for (const other of at.parentElement.children) {
      if (other === at || other.inert || other.id === "spoken") continue;
      other.inert = true;
      stilled.push(other);
    }
  }
  return () => {
    for (const other of stilled) other.inert = false;
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  };
}

/** A title in the language of the page. */
export function titled(thing, tag = "strong") {
  const element = h(tag);
  const draw = () => {
    element.textContent = languageNow() === "zh" ? thing.title_zh : thing.title_en;
  };
  draw();
  const redraw = () => {
    if (element.isConnected) draw();
    else document.removeEventListener("languagechange", redraw);
  };
  document.addEventListener("languagechange", redraw);
  return element;
}

/** Why there is no picture, where a button to try again is below. */
export function cameraTrouble(state) {
  const itself = state === "busy" || state === "taken"; // in a lesson it would come back by itself
  return note("bad", `camera.${state}`, itself ? "camera.again.do" : `camera.${state}.do`);
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
