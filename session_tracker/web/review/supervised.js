// Supervised study, the way without a face: what runs, and how a session begins. Staff find the
// learner, compare him with his identity card, and answer for him as long as they stay.

import { fill, h } from "../shared/dom.js";
import { languageNow, say, when } from "../shared/i18n.js";
import { note, waiting } from "../shared/parts.js";
import { Classroom, device } from "./classroom.js";
import { actForm, call, facts, reasonField, tick, word } from "./desk.js";

const MINUTES = [15, 30, 45, 60];
const MOST_MEDIA = 100;
const SESSIONS = "/v1/staff/sessions";
const TIME = { timeStyle: "short" };

/** What runs, and the way to begin. */
export async function supervisedView(page, go) {
  fill(page, waiting());
  const { sessions } = await call("GET", SESSIONS);
  fill(
    page,
    say(h("p"), "sup.lead"),
    say(h("h1"), "sup.running"),
    sessions.length
      ? h("ul.cases", {}, sessions.map((one) => h("li", {}, entry(one))))
      : say(h("p.quiet"), "sup.none"),
    finder(go),
  );
}

function entry(one) {
  return h(
    "a.card.case",
    { href: `#/supervised/${encodeURIComponent(one.session_id)}`, "data-session": one.session_id },
    h(
      "div.row.spread",
      {},
      h("strong", {}, one.name_masked ?? one.learner_id),
      h("span.badge", {}, word("session", one.session.state)),
    ),
    h("p.quiet.small.number", {}, `${one.learner_id} · ${one.programme}`),
    say(h("p"), "sup.until", { when: { when: one.supervised_until_ms, style: TIME } }),
  );
}

// --- beginning -----------------------------------------------------------------------------

/** Find the learner by identity card or pseudonym; reading who he is is recorded. */
function finder(go) {
  const who = h("input", {
    type: "text", id: "who", required: true, maxlength: 64, autocomplete: "off", spellcheck: "false",
  });
  const place = h("div");
  const form = actForm({
    title: "sup.find",
    parts: [h("div", {}, say(h("label", { for: "who" }), "sup.who"), who)],
    needs: [who],
    buttons: [["sup.find.go", "", ""]],
    again: true,
    known: { 404: "sup.nobody", 422: "sup.nobody" },
    act: async () => {
      fill(place, waiting());
      try {
        const person = await find(who.value.trim());
        const path = `/v1/staff/learners/${encodeURIComponent(person.learner_id)}/programmes`;
        const { programmes } = await call("GET", path);
        fill(place, opening(person, programmes, go));
      } catch (error) {
        fill(place);
        throw error;
      }
    },
  });
  return h("div", {}, form, place);
}

function find(text) {
  if (text.startsWith("lrn_")) return call("GET", `/v1/staff/learners/${encodeURIComponent(text)}`);
  return call("POST", "/v1/staff/learners:find", { json: { identity_number: text } });
}

function opening(person, programmes, go) {
  if (!programmes.length) return note("attention", "sup.noProgramme");
  const programme = h("select", { id: "programme" }, programmes.map(({ name, title }) => option(name, title)));
  const media = h("div");
  const minutes = minutesField();
  const chose = tick("chose", "sup.chose");
  const there = tick("there", "sup.there");
  const why = reasonField("reason");
  const chosen = () => programmes.find(({ name }) => name === programme.value);
  let lesson = null;
  const drawMedia = () => {
    lesson = lessonField(chosen());
    fill(media, say(h("label", { for: lesson.id }), "sup.medium"), lesson);
  };
  programme.addEventListener("change", drawMedia);
  drawMedia();
  return actForm({
    title: "sup.open",
    parts: [
      facts([
        ["reg.name", person.name ?? "–"],
        ["reg.number", person.identity_number ?? "–"],
        ["case.learner", h("span.number", {}, person.learner_id)],
        ["reg.business", person.business_ref],
        ["reg.state", word("reg", person.registration.state)],
      ]),
      h("div", {}, say(h("label", { for: "programme" }), "sup.programme"), programme),
      media,
      h("div", {}, say(h("label", { for: minutes.id }), "sup.minutes"), minutes),
      chose.row,
      there.row,
      h("div", {}, say(h("label", { for: why.id }), "sup.why"), why),
    ],
    needs: [() => lesson, chose.box, there.box, why],
    buttons: [["sup.open.go", "main", ""]],
    act: async () => {
      const json = {
        learner_id: person.learner_id,
        programme: programme.value,
        media: from(chosen(), lesson.value.trim()),
        minutes: Number(minutes.value),
        reason: why.value.trim(),
      };
      const opened = await call("POST", SESSIONS, { json });
      device.keep(opened.session_id, opened.session_token);
      go(`/supervised/${encodeURIComponent(opened.session_id)}`);
    },
  });
}

/** Which lesson it begins with; where the programme has no catalogue its name is typed in. */
function lessonField({ media }) {
  if (!media.length) return h("input", { type: "text", id: "medium", required: true, maxlength: 128 });
  const open = media.findIndex((one) => one.credited_ms < one.duration_ms - 1_000);
  const options = media.map((one) =>
    option(one.media_id, languageNow() === "zh" ? one.title_zh : one.title_en),
  );
  const field = h("select", { id: "medium" }, options);
  field.value = media[Math.max(open, 0)].media_id;
  return field;
}

/** A lesson and those that follow it, as the learner's own page opens them. */
function from({ media }, first) {
  const at = media.findIndex((one) => one.media_id === first);
  return at < 0 ? [first] : media.slice(at, at + MOST_MEDIA).map((one) => one.media_id);
}

function minutesField(id = "minutes") {
  const field = h("select", { id }, MINUTES.map((n) => say(option(n, ""), "sup.minutes.n", { n })));
  field.value = "45";
  return field;
}

function option(value, text) {
  return h("option", { value }, text);
}

// --- during --------------------------------------------------------------------------------

/** One session that runs: its lesson where this device plays it, confirming on, and its end. */
export async function classroomView(page, go, id) {
  fill(page, waiting());
  const { sessions, now_ms: now } = await call("GET", SESSIONS);
  const one = sessions.find((each) => each.session_id === id);
  const back = h("p", {}, say(h("a.button.plain.back", { href: "#/supervised" }), "app.back"));
  if (!one) {
    fill(page, back, say(h("h1"), "sup.open"), note("", "sup.over"));
    return undefined;
  }
  const clock = { ahead: now - Date.now() };
  const whose = h("div.row.spread", {}, h("h1", {}, one.name_masked ?? one.learner_id));
  const watch = standing(one, clock);
  const told = h("div", { "aria-live": "polite" });
  const classroom = await Classroom.of(one);
  const ended = (view, why) => {
    watch.stop();
    classroom?.stop({ ended: true });
    device.forget(id);
    fill(page, back, whose, over(view, why));
  };
  if (classroom) classroom.onOver = ({ why, view }) => ended(view, why);
  fill(
    page,
    back,
    whose,
    h(
      "div.columns",
      {},
      h("div", {}, classroom?.root ?? note("", "sup.elsewhere"), watch.root),
      h("div", {}, told, extension(one, clock, watch, told), ending(one, ended, classroom)),
    ),
  );
  classroom?.start();
  return () => {
    watch.stop();
    classroom?.stop();
  };
}

/** Who it is, and until when somebody answers for him; says so when that time is over. */
function standing(one, clock) {
  const place = h("div", { role: "status" });
  const state = { until: one.supervised_until_ms, covered: null };
  const draw = () => {
    const covered = Date.now() + clock.ahead < state.until;
    if (covered === state.covered && place.dataset.until === String(state.until)) return;
    Object.assign(state, { covered });
    place.dataset.until = String(state.until);
    const values = { when: { when: state.until, style: TIME } };
    fill(
      place,
      covered
        ? say(h("p.big"), "sup.until", values)
        : note("attention", "sup.unwatched", "sup.unwatched.do", values),
    );
    state.changed?.();
  };
  const timer = setInterval(draw, 1_000);
  const root = h(
    "section.card",
    {},
    place,
    facts([
      ["case.learner", h("span.number", {}, one.learner_id)],
      ["sup.programme", one.programme],
      ["sup.opened", when(one.opened_ms, TIME)],
    ]),
  );
  draw();
  return { root, state, draw, stop: () => clearInterval(timer) };
}

function extension(one, clock, watch, told) {
  const minutes = minutesField("more");
  const since = tick("since", "sup.since");
  const why = reasonField("more-why");
  const { state } = watch;
  state.changed = () => {
    since.row.hidden = state.covered;
    say(since.label, "sup.since", { when: { when: state.until, style: TIME } });
  };
  state.changed();
  return actForm({
    title: "sup.extend",
    parts: [
      h("div", {}, say(h("label", { for: minutes.id }), "sup.minutes"), minutes),
      since.row,
      h("div", {}, say(h("label", { for: why.id }), "sup.why"), why),
    ],
    needs: [why],
    buttons: [["sup.extend.go", "main", ""]],
    again: true,
    act: async () => {
      const now = Date.now() + clock.ahead;
      const json = {
        from_ms: Math.round(!state.covered && since.box.checked ? state.until : now),
        to_ms: Math.round(now + Number(minutes.value) * 60_000),
        reason: why.value.trim(),
      };
      const done = await call("POST", `${path(one)}/supervision`, { json });
      state.until = Math.max(state.until, done.to_ms);
      watch.draw();
      why.value = "";
      since.box.checked = false;
      fill(told, note("good", "sup.extended"));
    },
  });
}

function ending(one, ended, classroom) {
  const why = reasonField("end-why");
  return actForm({
    title: "sup.end",
    parts: [say(h("p.quiet"), "sup.end.lead"), h("div", {}, say(h("label", { for: why.id }), "sup.why"), why)],
    needs: [why],
    buttons: [["sup.end.go", "harm", ""]],
    act: async () => {
      const json = { reason: why.value.trim() };
      await classroom?.rest();
      ended(await call("POST", `${path(one)}/end`, { json }), "staff");
    },
  });
}

function over(view, why) {
  return [
    note("", "sup.over"),
    h(
      "section.card",
      {},
      why && why !== "closed" ? h("p", {}, word("close", why)) : null,
      say(h("p.big"), "sup.credited", { time: { duration: view.credited_s } }),
      say(h("p.quiet"), "sup.total", {
        done: { duration: view.course_credited_s },
        target: { duration: view.target_s },
      }),
    ),
  ];
}

function path(one) {
  return `${SESSIONS}/${encodeURIComponent(one.session_id)}`;
}
