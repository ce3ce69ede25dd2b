// The separate consent: given, refused, withdrawn. Refusing is a way through, not a wall.

import { fill, h } from "../shared/dom.js";
import { languageNow, say } from "../shared/i18n.js";
import { button, trouble, waiting } from "../shared/parts.js";
import { account } from "./account.js";
import { backLink, otherWay, question } from "./parts.js";

export function consentView({ page, go }) {
  const { consent_text: text } = account.me;
  const message = h("div", { "aria-live": "polite" });
  const agree = button(
    "consent.yes",
    async () => {
      agree.disabled = true;
      fill(message, waiting());
      try {
        const json = { text_version: text.version, language: languageNow() };
        await account.ask("POST", "/v1/me/consent", { json });
        await account.load();
        go(account.me.face ? "/" : "/photo");
      } catch (error) {
        fill(message, trouble(error));
        agree.disabled = false;
      }
    },
    { kind: "main full" },
  );
  fill(
    page,
    say(h("h1"), "consent.title"),
    say(h("p"), "consent.lead"),
    words(text),
    message,
    h("div.stack", {}, agree, button("consent.no", () => go("/refused"), { kind: "full" })),
  );
}

export function refusedView({ page, go }) {
  fill(
    page,
    say(h("h1"), "consent.refused.title"),
    h(
      "section.card",
      {},
      say(h("p"), "consent.refused.lead"),
      otherWay(),
    ),
    button("consent.refused.change", () => go("/consent"), { kind: "full" }),
  );
}

export function privacyView({ page, go }) {
  const { consent, consent_text: text } = account.me;
  const message = h("div", { "aria-live": "polite" });
  const withdraw = async () => {
    const sure = await question({
      title: "consent.withdraw",
      text: "consent.withdraw.sure",
      yes: "consent.withdraw.yes",
      no: "app.cancel",
      harm: true,
    });
    if (!sure) return;
    try {
      await account.ask("DELETE", "/v1/me/consent");
      await account.load();
      go("/refused");
    } catch (error) {
      fill(message, trouble(error));
    }
  };
  const given = consent && {
    when: { when: consent.given_utc_ms },
    version: consent.text_version,
  };
  fill(
    page,
    backLink(),
    say(h("h1"), "home.privacy"),
    given && say(h("p"), "consent.given", given),
    words(text),
    message,
    consent
      ? button("consent.withdraw", withdraw, { kind: "harm full" })
      : button("consent.refused.change", () => go("/consent"), { kind: "full" }),
  );
}

/** The text itself, in the language of the page, with its version. */
function words(text) {
  const body = h("div.consent-text");
  const draw = () => {
    const lines = text[languageNow()].split(/\n{2,}/);
    fill(body, lines.map((line) => h("p", {}, line.trim())));
  };
  draw();
  const redraw = () => (body.isConnected ? draw() : document.removeEventListener("languagechange", redraw));
  document.addEventListener("languagechange", redraw);
  return h(
    "section.card",
    {},
    body,
    say(h("p.quiet.small"), "consent.version", { version: text.version }),
  );
}
