// Reviews: the list, and one case with its evidence, its answer and its decision.

import { fill, h } from "../shared/dom.js";
import { say, when } from "../shared/i18n.js";
import { note, waiting } from "../shared/parts.js";
import { timeline } from "../shared/timeline.js";
import { call, facts, picture, trouble, word } from "./desk.js";

const FILTERS = {
  open: (one) => one.state !== "decided",
  overdue: (one) => one.state !== "decided" && one.overdue.length > 0,
  all: () => true,
};
const MINUTE = { dateStyle: "medium", timeStyle: "short" };
const SECOND = { dateStyle: "short", timeStyle: "medium" };

/** The list, the most urgent first. */
export async function listView(page, go, filter = "open") {
  fill(page, waiting());
  const { reviews } = await call("GET", "/v1/reviews?limit=200");
  const tabs = Object.keys(FILTERS).map((name) =>
    say(
      h("button.plain", {
        type: "button",
        "aria-pressed": String(name === filter),
        onclick: () => go(`/reviews/${name}`),
      }),
      `list.${name}`,
    ),
  );
  const shown = reviews.filter(FILTERS[filter] ?? FILTERS.open);
  fill(
    page,
    say(h("h1.only-read"), "tab.reviews"),
    h("div.row.filters", { role: "group" }, tabs),
    shown.length ? h("ul.cases", {}, shown.map(entry)) : say(h("p.quiet"), "list.none"),
  );
}

function entry(one) {
  const late = one.state !== "decided" && one.overdue.length > 0;
  return h(
    "li",
    {},
    h(
      `a.card.case${late ? ".is-late" : ""}`,
      { href: `#/case/${encodeURIComponent(one.id)}`, "data-review": one.id },
      h("div.row.spread", {}, word("kind", one.kind), badge(one)),
      h("p", {}, cause(one)),
      h(
        "p.quiet.small.number",
        {},
        one.learner_id,
        " · ",
        one.state === "decided"
          ? when(one.decided_ms, MINUTE)
          : say(h("span"), "case.deadline", { when: when(one.decide_by_ms, MINUTE) }),
      ),
    ),
  );
}

function badge(one) {
  const late = one.state !== "decided" && one.overdue.length > 0;
  return h(
    "span.row.badges",
    {},
    late ? say(h("span.badge.is-late"), "case.overdue") : null,
    h(`span.badge.is-${one.state}`, {}, word("state", one.state)),
    one.ruling ? h("span.badge", {}, word("ruling", one.ruling)) : null,
  );
}

function cause(one) {
  return word(["appeal", "same_face"].includes(one.cause) ? "cause" : "void", one.cause);
}

/** One case. */
export async function caseView(page, go, id) {
  fill(page, waiting());
  const found = await call("GET", `/v1/reviews/${encodeURIComponent(id)}`);
  const one = found.review;
  const again = () => caseView(page, go, id);
  fill(
    page,
    h("p", {}, say(h("a.button.plain", { href: "#/reviews/open" }), "app.back")),
    h("div.row.spread", {}, h("h1", {}, word("kind", one.kind)), badge(one)),
    one.spoof && one.state !== "decided" ? note("attention", "case.spoof") : null,
    h(
      "div.columns",
      {},
      h("div", {}, about(found), words(found), votes(one), work(found, again)),
      h("div", {}, evidence(found)),
    ),
  );
}

function about({ review: one, name_masked: name }) {
  const span = one.from_ms === null ? null : `${when(one.from_ms, SECOND)} – ${when(one.to_ms, SECOND)}`;
  return h(
    "section.card",
    {},
    h("p", {}, cause(one)),
    facts([
      ["case.learner", `${name ?? ""} ${one.learner_id}`.trim()],
      one.other_learner_id && ["case.other", one.other_learner_id],
      span && ["case.interval", h("span.number", {}, span)],
      ["case.opened", when(one.opened_ms, MINUTE)],
      ["case.openedBy", openedBy(one.opened_by)],
    ]),
  );
}

function openedBy(who) {
  if (who === "rules") return say(h("span"), "case.rules");
  if (who === "learner") return say(h("span"), "case.byLearner");
  return who;
}

function words({ statement, answer }) {
  return [
    statement && h("section.card", {}, say(h("h2"), "case.statement"), h("p.said", {}, statement)),
    answer && h("section.card", {}, say(h("h2"), "case.answer"), h("p.said", {}, answer)),
  ];
}

function votes(one) {
  if (!one.votes.length) return null;
  return h(
    "section.card",
    {},
    say(h("h2"), "case.votes"),
    h(
      "ul",
      {},
      one.votes.map((vote) =>
        h(
          "li",
          {},
          h("strong", {}, word("ruling", vote.ruling)),
          ` · ${vote.actor} · ${when(vote.at_ms, MINUTE)}`,
          vote.reason ? h("p.said", {}, vote.reason) : null,
        ),
      ),
    ),
  );
}

/** Answer and decide, while there is something to decide. */
function work({ review: one, answer }, again) {
  if (one.state === "decided") return null;
  return [answer ? null : answerForm(one, again), decisionForm(one, again)];
}

function answerForm(one, again) {
  const text = h("textarea", { id: "answer", required: true, maxlength: 2000 });
  return form("answer.title", "answer.label", text, [["answer.go", "", null]], async () => {
    await call("POST", path(one, "answers"), { json: { text: text.value.trim() } });
    await again();
  });
}

function decisionForm(one, again) {
  const reason = h("textarea", { id: "reason", required: true, maxlength: 2000 });
  const faces = one.kind === "enrolment_hit";
  const choices = [
    [faces ? "decide.different" : "decide.grant", "main", "granted"],
    [faces ? "decide.same" : "decide.uphold", "", "upheld"],
  ];
  return form("decide.title", "decide.why", reason, choices, async (ruling) => {
    const json = { ruling, reason: reason.value.trim() };
    await call("POST", path(one, "decisions"), { json });
    await again();
  });
}

function path(one, what) {
  return `/v1/reviews/${encodeURIComponent(one.id)}/${what}`;
}

/** A field and what to do with it; `act` gets the value of the button that was pressed. */
function form(title, labelKey, field, choices, act) {
  const place = h("div");
  const submit = async (event) => {
    event.preventDefault();
    if (!field.value.trim()) return field.focus();
    const buttons = [...event.target.querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    try {
      await act(event.submitter?.value ?? choices[0][2]);
    } catch (error) {
      fill(place, trouble(error));
      for (const button of buttons) button.disabled = false;
    }
    return undefined;
  };
  return h(
    "form.card.stack",
    { onsubmit: submit, novalidate: true },
    say(h("h2"), title),
    h("div", {}, say(h("label", { for: field.id }), labelKey), field),
    place,
    h(
      "div.row",
      {},
      choices.map(([name, kind, value]) =>
        say(h(`button${kind ? `.${kind}` : ""}`, { type: "submit", value: value ?? "" }), name),
      ),
    ),
    choices.length > 1 ? say(h("p.quiet.small"), "decide.final") : null,
  );
}

function evidence(found) {
  const { facts: around, explanation, pictures } = found;
  const told = around.filter((fact) => fact.kind !== "playback" && fact.kind !== "presence");
  return [
    h(
      "section.card",
      {},
      say(h("h2"), "case.pictures"),
      pictures.length ? h("div.pictures", {}, pictures.map(shot)) : say(h("p.quiet"), "case.noPictures"),
    ),
    h(
      "section.card",
      {},
      say(h("h2"), "case.facts"),
      told.length
        ? h("ol.told", {}, told.map(line))
        : say(h("p.quiet"), "case.noFacts"),
    ),
    explanation
      ? h("section.card", {}, say(h("h2"), "case.session"), timeline(explanation))
      : null,
  ];
}

function shot(kept) {
  const place = h("div");
  const show = async () => {
    try {
      fill(place, h("img.shot", { src: await picture(kept.path), alt: "" }));
    } catch (error) {
      fill(place, trouble(error));
    }
  };
  const press = say(h("button", { type: "button", onclick: show }), "case.show");
  return h("figure", {}, fill(place, press), h("figcaption.quiet.small", {}, when(kept.taken_ms, SECOND)));
}

function line(fact) {
  const { outcome, reason, active } = fact.data;
  return h(
    "li",
    { "data-fact": fact.key },
    h("span.number.quiet", {}, when(fact.at_ms, { timeStyle: "medium" })),
    " ",
    h("strong", {}, word("fact", fact.kind)),
    active ? h("span", {}, " ↔") : null,
    outcome ? [" · ", word("outcome", outcome)] : null,
    reason ? [" · ", word(fact.kind === "closed" ? "close" : "pause", reason)] : null,
  );
}
