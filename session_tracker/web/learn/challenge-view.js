// What a challenge looks like: it covers the lesson, says which way to turn, what is in the way of it,
// and how to get out.

import { fill, h, icon, ICONS } from "../shared/dom.js";
import { say, t } from "../shared/i18n.js";
import { button } from "../shared/parts.js";
import { alone, mirror, speak } from "./parts.js";

const TURNS = new Set(["left", "right", "up", "down"]);

/**
 * Make the place where challenges are shown.
 *
 * @param {object} acts   what its buttons do: `end`, `otherWay`
 * @returns {{place: HTMLElement, show: Function, trouble: Function}}  `show(challenge, stream)`, with null
 *   to take it away; `trouble(key)` says what is in the way, with null nothing
 */
export function challengeView(acts) {
  const place = h("div.challenge", {
    hidden: true, role: "alertdialog", "aria-modal": "true", "aria-labelledby": "turn", tabindex: "-1",
  });
  const lead = h("p.quiet");
  const sign = h("div");
  const words = h("strong.turn-words", { id: "turn" });
  const hint = h("p.challenge-hint", { role: "status", "aria-live": "polite" });
  const glass = h("div.challenge-mirror");
  const count = h("span.number");
  const seconds = h("p.quiet.number");
  const dots = h("div");
  const ways = h(
    "div.challenge-ways",
    {},
    button("turn.cannot", acts.otherWay, { kind: "plain" }),
    button("lesson.end", acts.end, { kind: "plain" }),
  );
  const row = h("div.row.spread", {}, count, seconds);
  const card = h("div.challenge-card", {}, lead, sign, words, hint, glass, row, dots, ways);
  const clock = countdown(seconds);
  let before = null;
  let restore = null;

  const away = () => {
    if (before === null) return;
    before = null;
    clock.stop();
    place.hidden = true;
    fill(place);
    fill(glass);
    trouble(null);
    restore();
  };

  const cover = (stream) => {
    fill(glass, stream && mirror(stream));
    fill(place, card);
    place.hidden = false;
    restore = alone(place);
    place.focus();
  };

  const show = (challenge, stream) => {
    if (challenge === null) {
      away();
      return;
    }
    const same = before && ["id", "step", "turn", "attempt"].every((name) => before[name] === challenge[name]);
    if (same) return;
    const fresh = before === null;
    const again = !fresh && challenge.attempt > before.attempt;
    before = challenge;
    const turns = TURNS.has(challenge.turn);
    const arrow = icon(turns ? ICONS.arrow : ICONS.centre, "turn-arrow");
    if (turns) arrow.dataset.turn = challenge.turn;
    fill(sign, arrow);
    if (fresh || again) say(lead, again ? "turn.again" : "turn.lead");
    say(words, `turn.${challenge.turn}`);
    say(count, "turn.step", { step: challenge.step, steps: challenge.steps });
    fill(dots, steps(challenge));
    // The mirror stays: a slow telephone takes its time to show a new one.
    if (fresh) cover(stream);
    speak(t(`turn.${challenge.turn}`));
    navigator.vibrate?.(fresh ? [80, 60, 80] : 60);
    // Looking straight ahead has no time of its own: a number would jump with every step.
    if (turns) clock.run(challenge.remaining_ms);
    else clock.stop();
  };

  const trouble = (key) => {
    if ((hint.dataset.t ?? null) === key) return;
    if (key) say(hint, key);
    else {
      delete hint.dataset.t;
      hint.textContent = "";
    }
  };

  return { place, show, trouble };
}

/** Counts whole seconds down in `element`. */
function countdown(element) {
  let ticking = null;
  let endsAt = 0;
  const tick = () => {
    say(element, "turn.left_s", { s: Math.max(0, Math.ceil((endsAt - Date.now()) / 1000)) });
  };
  const stop = () => {
    clearInterval(ticking);
    delete element.dataset.t;
    element.textContent = "";
  };
  const run = (ms) => {
    clearInterval(ticking);
    endsAt = Date.now() + ms;
    ticking = setInterval(tick, 500);
    tick();
  };
  return { run, stop };
}

function steps({ step, steps: all }) {
  const dots = Array.from({ length: all }, (_, n) =>
    h(`li${n + 1 < step ? ".done" : n + 1 === step ? ".now" : ""}`),
  );
  return h("ol.challenge-steps", { "aria-hidden": "true" }, dots);
}
