// Signing in with a code. A link needs no view: it signs in by itself.

import { fill, h } from "../shared/dom.js";
import { label, say } from "../shared/i18n.js";
import { button, note, trouble } from "../shared/parts.js";
import { account } from "./account.js";

/** @param {string} [why]  what happened before, as a key of the vocabulary */
export function signInView({ page, go }, why) {
  const message = h("div", {}, why && note("attention", why));
  const field = h("input", {
    type: "text",
    id: "code",
    inputmode: "numeric",
    autocomplete: "one-time-code",
    autocapitalize: "off",
    spellcheck: "false",
    maxlength: 24,
    required: true,
  });
  label(field, "placeholder", "signin.example");
  const send = button("signin.go", null, { kind: "main full", type: "submit" });
  const form = h(
    "form.stack",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        send.disabled = true;
        message.replaceChildren();
        try {
          await account.signIn({ code: grouped(field.value) });
          go("/");
        } catch (error) {
          const wrong = "signin.wrong";
          fill(message, trouble(error, { 400: wrong, 401: wrong, 403: wrong, 404: wrong, 422: wrong }));
          field.focus();
          field.select();
        } finally {
          send.disabled = false;
        }
      },
    },
    h("div", {}, say(h("label", { for: "code" }), "signin.code"), field),
    send,
  );
  fill(
    page,
    say(h("h1"), "signin.title"),
    say(h("p"), "signin.lead"),
    h("div", { "aria-live": "polite" }, message),
    h("section.card", {}, form),
  );
}

/** What people type: spaces, full-width digits, no hyphen. */
function grouped(text) {
  const plain = text.normalize("NFKC").replace(/[^0-9A-Za-z]/g, "");
  return /^\d{8}$/.test(plain) ? `${plain.slice(0, 4)}-${plain.slice(4)}` : plain;
}
