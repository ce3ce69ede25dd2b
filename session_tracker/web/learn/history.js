// My learning: every session, why each second counted or not, and the way to disagree.

import { fill, h } from "../shared/dom.js";
import { known, say } from "../shared/i18n.js";
import { button, note, trouble, waiting } from "../shared/parts.js";
import { timeline, titleOf } from "../shared/timeline.js";
import { account } from "./account.js";
import { backLink } from "./parts.js";

export function historyView({ page }) {
  const list = h("div", {}, waiting());
  fill(page, backLink(), say(h("h1"), "history.title"), appeals(), list);
  account.ask("GET", "/v1/me/sessions").then(
    ({ sessions }) =>
      fill(
        list,
        sessions.length
          ? h("ul.sessions", {}, sessions.map(entry))
          : say(h("p.quiet"), "history.none"),
      ),
    (error) => fill(list, trouble(error)),
  );
}

function entry(session) {
  const href = `#/history/${encodeURIComponent(session.session_id)}`;
  return h(
    "li.card",
    {},
    say(h("strong"), "timeline.at", { time: { when: session.opened_utc_ms } }),
    h(
      "div.row.spread",
      {},
      say(h("span.number"), "history.credited", { time: { duration: session.credited_s } }),
      session.closed_utc_ms === null && say(h("span.quiet"), "history.open"),
    ),
    say(h("a", { href }), "history.why"),
  );
}

export function sessionView({ page }, sessionId) {
  const place = h("div", {}, waiting());
  const form = h("div");
  fill(page, backLink("#/history"), place, form);
  const path = `/v1/me/sessions/${encodeURIComponent(sessionId)}/explain`;
  account.ask("GET", path).then(
    (explanation) => {
      const onAppeal = (span) => {
        fill(form, appealForm(explanation, span, form));
        form.querySelector("textarea").focus();
        form.scrollIntoView({ block: "start" });
      };
      fill(
        place,
        say(h("h1.whole"), "history.of", { when: { when: explanation.from_ms } }),
        say(h("p.quiet"), "history.note"),
        timeline(explanation, { onAppeal }),
      );
    },
    (error) => fill(place, say(h("h1"), "history.title"), trouble(error)),
  );
}

function appealForm(explanation, span, place) {
  const message = h("div", { "aria-live": "polite" });
  const text = h("textarea", { id: "appeal", required: true, maxlength: 2000 });
  const send = button("appeal.send", null, { kind: "main full", type: "submit" });
  const time = (ms) => ({ when: ms, style: { timeStyle: "medium" } });
  const submit = async (event) => {
    event.preventDefault();
    if (!text.value.trim()) {
      text.focus();
      return;
    }
    send.disabled = true;
    try {
      const json = {
        session_id: explanation.session_id,
        from_ms: span.from_ms,
        to_ms: span.to_ms,
        text: text.value.trim(),
      };
      await account.ask("POST", "/v1/me/appeals", { json });
      fill(place, note("good", "appeal.sent", "appeal.sent.text"));
    } catch (error) {
      fill(message, trouble(error, { 403: "appeal.too_late", 409: "appeal.conflict" }));
      send.disabled = false;
    }
  };
  return h(
    "form.card.stack",
    { onsubmit: submit },
    say(h("h2"), "appeal.title"),
    say(h("p"), "appeal.about", {
      from: time(span.from_ms),
      to: time(span.to_ms),
      reason: { text: titleOf(span) },
    }),
    h("div", {}, say(h("label", { for: "appeal" }), "appeal.text"), text),
    say(h("p.quiet.small"), "appeal.hint"),
    message,
    send,
    button("app.cancel", () => fill(place), { kind: "full" }),
  );
}

/** Appeals made so far; shown where there are any. */
function appeals() {
  const section = h("section", { hidden: true });
  account.ask("GET", "/v1/me/appeals").then(
    (answer) => {
      if (!answer.appeals?.length) return;
      fill(section, say(h("h2"), "appeal.mine"), h("ul.sessions", {}, answer.appeals.map(appeal)));
      section.hidden = false;
    },
    () => {}, // the list of sessions is what one came for; its own error is shown there
  );
  return section;
}

function appeal(one) {
  const state = `appeal.state.${one.state}`;
  return h(
    "li.card",
    {},
    say(h("strong"), "appeal.of", {
      from: { when: one.from_ms },
      to: { when: one.to_ms, style: { timeStyle: "short" } },
    }),
    h("p.quiet", {}, one.text),
    say(h("p"), known(state) ? state : "appeal.state.open"),
    one.answer && h("p", {}, say(h("span.quiet"), "appeal.answer"), " ", one.answer),
    one.reason && h("p", {}, say(h("span.quiet"), "appeal.reason"), " ", one.reason),
  );
}
