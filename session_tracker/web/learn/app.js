// The learner's page: who may see what, and which view is shown. Views are functions that fill the
// page and may return another one that is called before the next view comes.

import { fill, h } from "../shared/dom.js";
import { label, languageButton, say, t } from "../shared/i18n.js";
import { button, trouble, waiting } from "../shared/parts.js";
import { account } from "./account.js";
import { certificateView } from "./certificate.js";
import { consentView, privacyView, refusedView } from "./consent.js";
import { enrolView } from "./enrol.js";
import { historyView, sessionView } from "./history.js";
import { homeView } from "./home.js";
import { lessonView } from "./lesson.js";
import { signInView } from "./signin.js";
import "./words.js";

const page = document.getElementById("view");
let leave = null;
let shown = 0;

/** Path (without `#`) -> view. `open` ones need nothing; the others a learner who has consented. */
const ROUTES = [
  { path: /^\/$/, view: homeView },
  { path: /^\/consent$/, view: consentView, open: true },
  { path: /^\/refused$/, view: refusedView, open: true },
  { path: /^\/privacy$/, view: privacyView, open: true },
  { path: /^\/photo$/, view: enrolView },
  { path: /^\/lesson\/([^/]+)\/([^/]+)(?:\/(again))?$/, view: lessonView },
  { path: /^\/history$/, view: historyView, open: true },
  { path: /^\/history\/([^/]+)$/, view: sessionView, open: true },
  { path: /^\/certificate\/([^/]+)$/, view: certificateView },
];

async function show() {
  const mine = ++shown;
  leave?.();
  leave = null;
  page.className = "";
  fill(page, waiting());
  const link = /^#t=(.+)$/.exec(location.hash);
  try {
    if (link) {
      history.replaceState(null, "", "#/"); // the link works once; it is of no use in the history
      await account.signIn({ link_token: decodeURIComponent(link[1]) }).catch((error) => {
        if (error.unreachable) throw error;
        throw Object.assign(error, { ofLink: true });
      });
    }
    if (!account.token) return enter(signInView, []);
    if (account.me === null) await account.load();
  } catch (error) {
    if (mine !== shown) return undefined;
    if (error.ofLink) return enter(signInView, ["signin.link"]);
    if (error.status === 401) return enter(signInView, ["signin.over"]);
    bar(true);
    fill(page, say(h("h1"), "app.title"), trouble(error), button("app.retry", show, { kind: "main full" }));
    return undefined;
  }
  if (mine !== shown) return undefined;
  const { view, values } = found();
  return enter(view, values);
}

function found() {
  const path = location.hash.replace(/^#/, "") || "/";
  for (const route of ROUTES) {
    const match = route.path.exec(path);
    if (!match) continue;
    if (!route.open && !account.me.consent) return { view: consentView, values: [] };
    return { view: route.view, values: match.slice(1).map((part) => part && decodeURIComponent(part)) };
  }
  return { view: homeView, values: [] };
}

function enter(view, values) {
  bar(view !== lessonView);
  leave = view({ page, show, go }, ...values) ?? null;
  document.title = t("app.title");
  window.scrollTo(0, 0);
  page.focus({ preventScroll: true });
}

/** Show another view; a view that is shown already is drawn anew. */
function go(path) {
  const hash = `#${path}`;
  if (location.hash === hash) show();
  else location.hash = hash;
}

function bar(mayLeave) {
  const brand = h("a.brand", { href: "#/" });
  fill(
    document.getElementById("bar"),
    label(say(brand, "app.brand"), "aria-label", "app.home"),
    languageButton(),
    account.token &&
      mayLeave &&
      button(
        "app.signout",
        async () => {
          await account.signOut();
          go("/");
        },
        { kind: "plain" },
      ),
  );
}

say(document.getElementById("skip"), "app.skip").addEventListener("click", (event) => {
  event.preventDefault();
  page.focus();
});
account.addEventListener("over", () => {
  leave?.();
  leave = null;
  shown += 1;
  enter(signInView, ["signin.over"]);
});
document.addEventListener("languagechange", () => {
  document.title = t("app.title");
});
window.addEventListener("hashchange", show);
show();
