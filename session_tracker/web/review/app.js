// The pages for staff: sign in with a key, then reviews, registrations, supervised study and the trail.
// What a key may do is decided by the service; a view that it does not open says so.

import { Problem } from "../shared/api.js";
import { fill, h } from "../shared/dom.js";
import { languageButton, say, t } from "../shared/i18n.js";
import { note } from "../shared/parts.js";
import "../shared/reasons.js";
import { key, trouble } from "./desk.js";
import { registrationsView, trailView } from "./registrations.js";
import { caseView, listView } from "./reviews.js";
import { classroomView, supervisedView } from "./supervised.js";
import "./words.js";
import "./words-supervised.js";

const page = document.getElementById("view");
const TABS = {
  reviews: "/reviews/open",
  registrations: "/registrations/waiting",
  supervised: "/supervised",
  trail: "/trail",
};
const ROUTES = [
  [/^\/reviews\/(open|overdue|all)$/, listView, "reviews"],
  [/^\/case\/([^/]+)$/, caseView, "reviews"],
  [/^\/registrations\/(waiting|faces|approved|refused)$/, registrationsView, "registrations"],
  [/^\/supervised$/, supervisedView, "supervised"],
  [/^\/supervised\/([^/]+)$/, classroomView, "supervised"],
  [/^\/trail$/, trailView, "trail"],
];
let shown = 0;
let leave = null;

async function show() {
  const mine = ++shown;
  leave?.();
  leave = null;
  const path = location.hash.replace(/^#/, "") || TABS.reviews;
  const [match, view, tab] = found(path);
  bar(tab);
  if (!key.get()) return signIn();
  // A view fills a place of its own: one that was left before its answer came shows nothing.
  const place = h("div");
  fill(page, place);
  try {
    const end = await view(place, go, ...match.slice(1).map(decodeURIComponent));
    // What a view leaves running it gives an end to: called when another one comes.
    if (mine === shown) leave = end ?? null;
    else end?.();
  } catch (error) {
    if (mine !== shown) return undefined;
    if (error instanceof Problem && error.status === 401) {
      key.set(null);
      bar(null);
      return signIn(note("bad", "key.wrong"));
    }
    fill(place, say(h("h1"), "app.title"), trouble(error));
  }
  if (mine === shown) page.focus({ preventScroll: true });
  return undefined;
}

function found(path) {
  for (const [pattern, view, tab] of ROUTES) {
    const match = pattern.exec(path);
    if (match) return [match, view, tab];
  }
  return [["", "open"], listView, "reviews"];
}

function go(path) {
  if (location.hash === `#${path}`) show();
  else location.hash = path;
}

function signIn(problem = null) {
  const field = h("input", {
    type: "password", id: "key", required: true, autocomplete: "off", spellcheck: "false",
    maxlength: 200,
  });
  const submit = (event) => {
    event.preventDefault();
    if (!field.value.trim()) return field.focus();
    key.set(field.value.trim());
    return show();
  };
  fill(
    page,
    h(
      "form.card.stack.key",
      { onsubmit: submit, novalidate: true },
      say(h("h1"), "key.title"),
      say(h("p"), "key.lead"),
      h("div", {}, say(h("label", { for: "key" }), "key.label"), field),
      problem,
      say(h("button.main.full", { type: "submit" }), "key.go"),
    ),
  );
  field.focus();
}

function bar(tab) {
  const out = () => {
    key.set(null);
    go(TABS.reviews);
  };
  const tabs = key.get()
    ? h(
        "nav.tabs",
        {},
        Object.entries(TABS).map(([name, path]) =>
          say(h("a", { href: `#${path}`, "aria-current": name === tab ? "page" : null }), `tab.${name}`),
        ),
      )
    : null;
  fill(
    document.getElementById("bar"),
    h("span.brand", {}, "本人 Benren"),
    tabs,
    languageButton(),
    key.get() ? say(h("button.plain", { type: "button", onclick: out }), "app.out") : null,
  );
  document.title = t("app.title");
}

document.addEventListener("languagechange", () => {
  document.title = t("app.title");
});
window.addEventListener("hashchange", show);
show();
