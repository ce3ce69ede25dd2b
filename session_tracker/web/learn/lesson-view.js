// What a lesson looks like; what happens in it is in lesson.js.

import { fill, h, icon, ICONS } from "../shared/dom.js";
import { clock, label, say, t } from "../shared/i18n.js";
import { button } from "../shared/parts.js";
import { mirror, speak } from "./parts.js";

const TURNS = new Set(["left", "right", "up", "down"]);
const SIGNS = { good: ICONS.ok, attention: ICONS.warn, bad: ICONS.warn };

/**
 * Draw the lesson.
 *
 * @param {object} acts   what the buttons do: `toggle`, `back`, `mute`, `end`, `act(name)`
 * @returns the parts that change, and functions that change them
 */
export function lessonParts(acts) {
  const video = label(h("video.lesson-video", { playsinline: true }), "aria-label", "lesson.video");
  const toggle = h("button.main.control", { type: "button", onclick: acts.toggle });
  const back = h("button.control", { type: "button", onclick: acts.back }, icon(ICONS.back10));
  const mute = h("button.control", { type: "button", onclick: acts.mute }, icon(ICONS.sound));
  label(back, "aria-label", "lesson.back10");
  label(mute, "aria-label", "lesson.mute");
  const line = h("progress.lesson-line", { max: 1, value: 0, "aria-hidden": "true" });
  const position = h("span.number.small.quiet");
  const preview = h("div.preview");
  const status = h("div.status", { role: "status", "aria-live": "polite" });
  const action = h("div");
  const credited = h("output.credited.number", {}, "0:00");
  label(credited, "aria-label", "lesson.this");
  const total = h("p.quiet.small");
  const course = h("progress", { max: 1, value: 0, "aria-hidden": "true" });
  const challenge = h("div.challenge", { hidden: true, role: "alertdialog", "aria-modal": "true" });
  const root = h(
    "div.lesson",
    {},
    h(
      "div.stage",
      {},
      video,
      h("div.line", {}, line, position),
      h("div.controls", {}, toggle, back, mute),
    ),
    h("div.watch", {}, preview, h("div.watch-words", {}, status, action)),
    h(
      "section.card.count",
      {},
      say(h("h2.small.quiet"), "lesson.this"),
      credited,
      course,
      total,
      say(h("p.quiet.small"), "lesson.steps"),
    ),
    h("p", {}, button("lesson.end", acts.end, { kind: "full" })),
    challenge,
  );

  return {
    root,
    video,
    challenge,

    showPreview(stream) {
      fill(preview, stream ? mirror(stream) : icon(ICONS.camera));
    },

    showPlayer({ playing, enabled, positionMs, durationMs, muted }) {
      const key = playing ? "lesson.pause" : "lesson.play";
      if (toggle.dataset.key !== key) {
        toggle.dataset.key = key;
        fill(toggle, icon(playing ? ICONS.pause : ICONS.play), say(h("span"), key));
      }
      toggle.disabled = !enabled;
      back.disabled = !enabled;
      line.max = Math.max(durationMs, 1);
      line.value = Math.min(positionMs, durationMs);
      say(position, "lesson.position", {
        now: clock(positionMs / 1000),
        all: clock(durationMs / 1000),
      });
      const sound = muted ? "lesson.unmute" : "lesson.mute";
      if (mute.dataset.key !== sound) {
        mute.dataset.key = sound;
        fill(mute, icon(muted ? ICONS.silent : ICONS.sound));
        label(mute, "aria-label", sound);
      }
    },

    showStatus({ tone, title, todo, act }) {
      const key = [tone, title, todo, act].join("|");
      if (status.dataset.key === key) return;
      status.dataset.key = key;
      status.className = `status ${tone}`;
      fill(
        status,
        icon(SIGNS[tone] ?? ICONS.wait),
        h("div", {}, say(h("strong"), title), todo && say(h("p"), todo)),
      );
      fill(
        action,
        act === "retry-camera" && button("app.retry", () => acts.act(act), { kind: "main full" }),
        act === "go-on" && button("lesson.goon", () => acts.act(act), { kind: "main full" }),
      );
    },

    showTime(view) {
      credited.textContent = clock(view.credited_s);
      course.max = Math.max(view.target_s, 1);
      course.value = Math.min(view.course_credited_s, view.target_s);
      say(total, "lesson.all", {
        done: { duration: view.course_credited_s },
        target: { duration: view.target_s },
      });
    },

    showChallenge: challengeIn(challenge, preview),
  };
}

/** Gives the function that shows a challenge, or with null takes it away. */
function challengeIn(place, preview) {
  let before = null;
  let ticking = null;
  let endsAt = 0;
  const seconds = h("p.quiet.number");
  const lead = h("p.quiet");
  const sign = h("div");
  const words = h("strong.turn-words", { id: "turn" });
  const glass = h("div.challenge-mirror");
  const count = h("span.number");
  const dots = h("div");
  const row = h("div.row.spread", {}, count, seconds);
  const card = h("div.challenge-card", {}, lead, sign, words, glass, row, dots);
  const tick = () => {
    say(seconds, "turn.left_s", { s: Math.max(0, Math.ceil((endsAt - Date.now()) / 1000)) });
  };
  return (challenge, stream) => {
    if (challenge === null) {
      clearInterval(ticking);
      before = null;
      place.hidden = true;
      fill(place);
      fill(glass);
      fill(preview, stream ? mirror(stream) : icon(ICONS.camera));
      return;
    }
    endsAt = Date.now() + challenge.remaining_ms;
    const same = before && before.id === challenge.id && before.step === challenge.step
      && before.turn === challenge.turn && before.attempt === challenge.attempt;
    if (same) return;
    const again = before && challenge.attempt > before.attempt;
    const fresh = before === null;
    before = challenge;
    const straight = !TURNS.has(challenge.turn);
    const arrow = icon(straight ? ICONS.centre : ICONS.arrow, "turn-arrow");
    if (!straight) arrow.dataset.turn = challenge.turn;
    fill(sign, arrow);
    if (fresh || again) say(lead, again ? "turn.again" : "turn.lead");
    say(words, `turn.${challenge.turn}`);
    say(count, "turn.step", { step: challenge.step, steps: challenge.steps });
    fill(dots, steps(challenge));
    // The mirror stays: a slow telephone takes its time to show a new one.
    if (fresh) fill(glass, stream && mirror(stream));
    if (fresh) fill(place, card);
    place.setAttribute("aria-labelledby", "turn");
    place.setAttribute("tabindex", "-1");
    place.hidden = false;
    if (fresh) place.focus();
    speak(t(`turn.${challenge.turn}`));
    navigator.vibrate?.(fresh ? [80, 60, 80] : 60);
    clearInterval(ticking);
    ticking = setInterval(tick, 500);
    tick();
  };
}

function steps({ step, steps: all }) {
  const dots = Array.from({ length: all }, (_, n) =>
    h(`li${n + 1 < step ? ".done" : n + 1 === step ? ".now" : ""}`),
  );
  return h("ol.challenge-steps", { "aria-hidden": "true" }, dots);
}
