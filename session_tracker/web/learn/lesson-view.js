// What a lesson looks like; what happens in it is in lesson.js.

import { fill, h, icon, ICONS } from "../shared/dom.js";
import { clock, label, say } from "../shared/i18n.js";
import { button } from "../shared/parts.js";
import { challengeView } from "./challenge-view.js";
import { backLink, mirror, titled } from "./parts.js";

const ACTS = {
  "retry-camera": { key: "app.retry", kind: "main full" },
  "go-on": { key: "lesson.goon", kind: "main full" },
  "come-back": { key: "status.taken.here", kind: "main full" },
  "other-way": { key: "turn.cannot", kind: "full" },
};
const SIGNS = { good: ICONS.ok, attention: ICONS.warn, bad: ICONS.warn };

/** What to know before the camera is opened. */
export function preparation() {
  return [
    backLink(),
    say(h("h1"), "lesson.prepare"),
    h("ol.card.steps", {}, [1, 2, 3].map((n) => say(h("li"), `lesson.prepare.${n}`))),
    say(h("p.quiet.small"), "lesson.prepare.data"),
  ];
}

/**
 * Draw the lesson.
 *
 * @param {object} acts   what the buttons do: `toggle`, `back`, `mute`, `end`, `otherWay`, `act(name)`
 * @param {number} lateS   how late the service shows credited time, in seconds
 * @returns the parts that change, and functions that change them
 */
export function lessonParts(acts, lateS) {
  const video = label(h("video.lesson-video", { playsinline: true }), "aria-label", "lesson.video");
  const toggle = h("button.main.control", { type: "button", onclick: acts.toggle });
  const back = h("button.control", { type: "button", onclick: acts.back }, icon(ICONS.back10));
  const mute = h("button.control", { type: "button", onclick: acts.mute }, icon(ICONS.sound));
  label(back, "aria-label", "lesson.back10");
  label(mute, "aria-label", "lesson.mute");
  const title = h("div.lesson-title");
  const line = h("progress.lesson-line", { max: 1, value: 0, "aria-hidden": "true" });
  const position = h("span.number.small.quiet");
  const preview = h("div.preview");
  const status = h("div.status", { role: "status", "aria-live": "polite" });
  const action = h("div");
  const credited = h("output.credited.number", {}, "0:00");
  label(credited, "aria-label", "lesson.this");
  const total = h("p.quiet.small");
  const course = h("progress", { max: 1, value: 0, "aria-hidden": "true" });
  const challenge = challengeView(acts);
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
    title,
    h("div.watch", {}, preview, h("div.watch-words", {}, status, action)),
    h(
      "section.card.count",
      {},
      say(h("h2.small.quiet"), "lesson.this"),
      credited,
      say(h("p.quiet.small"), "lesson.late", { late: { duration: lateS } }),
      course,
      total,
    ),
    h("p", {}, button("lesson.end", acts.end, { kind: "full" })),
    challenge.place,
  );

  return {
    root,
    video,

    /** `medium`: which lesson is shown. */
    showTitle(medium) {
      fill(title, titled(medium, "h1"));
    },

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
        act && button(ACTS[act].key, () => acts.act(act), { kind: ACTS[act].kind }),
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

    showChallenge: challenge.show,
    showTrouble: challenge.trouble,
  };
}
