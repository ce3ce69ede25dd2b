// The story of a session, second by second: a bar, and a list in plain words. Learners see it in
// their history, reviewers beside the evidence.
//
//   timeline(explanation, {onAppeal: (span) => ..., evidence: (span) => Node | null})
//
// `explanation` is the answer of `/v1/me/sessions/{id}/explain`. Load timeline.css with it.

import { h, fill } from "./dom.js";
import { clock, known, label, say, t } from "./i18n.js";
import "./reasons.js";

const SHORT_MS = 2_000; // pieces shorter than this are left out of the list at first
const FIRST = 12;
const CREDITED = new Set(["credited", "granted"]);
const ARGUABLE = new Set(["void", "disputed"]);

/**
 * Draw an explanation.
 *
 * @param {object} explanation
 * @param {object} [options]
 * @param {(span: object) => void} [options.onAppeal]  offered on time that was not credited
 * @param {(span: object) => (Node|null)} [options.evidence]  what a reviewer sees beside a piece
 * @returns {HTMLElement}
 */
export function timeline(explanation, options = {}) {
  const spans = joined(explanation.spans ?? []);
  const whole = Math.max(0, explanation.to_ms - explanation.from_ms);
  if (!spans.length || !whole) return say(h("p.quiet"), "timeline.empty");
  const bar = h("div.timeline-bar", { role: "img" });
  label(bar, "aria-label", "timeline.label");
  for (const span of spans) {
    const piece = h(`span.timeline-piece.is-${span.state}`);
    piece.style.flexGrow = String(Math.max(span.to_ms - span.from_ms, whole / 400));
    bar.append(piece);
  }
  const ends = h(
    "div.timeline-ends.quiet.small.number",
    {},
    say(h("span"), "timeline.at", { time: { when: explanation.from_ms, style: { timeStyle: "short" } } }),
    say(h("span"), "timeline.at", { time: { when: explanation.to_ms, style: { timeStyle: "short" } } }),
  );
  return h(
    "div.timeline",
    {},
    h(
      "p.big",
      {},
      say(h("strong"), "timeline.credited", { time: { duration: explanation.credited_s } }),
      " ",
      say(h("span.quiet"), "timeline.of", { time: { duration: whole / 1000 } }),
    ),
    bar,
    ends,
    legend(spans),
    list(spans, explanation, options),
  );
}

/** What to call a piece: its reason where it has one, else its state. */
export function titleOf(span) {
  const key = `void.${span.reason}`;
  return span.reason && known(key) && !CREDITED.has(span.state) ? key : `span.${span.state}`;
}

function legend(spans) {
  const states = [...new Set(spans.map((span) => span.state))];
  return h(
    "ul.timeline-legend.small",
    {},
    states.map((state) =>
      h("li", {}, h(`span.timeline-key.is-${state}`), say(h("span"), `span.${state}`)),
    ),
  );
}

function list(spans, explanation, options) {
  const items = h("ol.timeline-list");
  const draw = (shown) => fill(items, shown.map((span) => item(span, explanation, options)));
  const long = spans.filter((span) => span.to_ms - span.from_ms >= SHORT_MS).slice(0, FIRST);
  draw(long.length ? long : spans.slice(0, FIRST));
  const more =
    items.children.length < spans.length &&
    say(h("button.plain", { type: "button" }), "timeline.more", { n: spans.length });
  if (more) {
    more.addEventListener("click", () => {
      draw(spans);
      more.remove();
      items.querySelector("li")?.focus?.();
    });
  }
  return h("section", {}, say(h("h3"), "timeline.list"), items, more);
}

function item(span, explanation, { onAppeal, evidence }) {
  const from = clock((span.from_ms - explanation.from_ms) / 1000);
  const to = clock((span.to_ms - explanation.from_ms) / 1000);
  const proof = evidence?.(span) ?? null;
  const mayAppeal = onAppeal && ARGUABLE.has(span.state) && span.to_ms - span.from_ms >= 1_000;
  const title = titleOf(span);
  return h(
    `li.timeline-item.is-${span.state}`,
    { tabindex: "-1" },
    h(
      "div.timeline-what",
      {},
      h("span.number.quiet", {}, `${from} – ${to}`),
      say(h("span.number"), "timeline.length", {
        time: { duration: Math.round((span.to_ms - span.from_ms) / 1000) },
      }),
    ),
    say(h("strong"), title),
    span.state !== "credited" && title !== `span.${span.state}` && span.state !== "void"
      ? say(h("span.quiet.small"), `span.${span.state}`)
      : null,
    proof,
    mayAppeal
      ? say(h("button.plain", { type: "button", onclick: () => onAppeal(span) }), "timeline.appeal")
      : null,
  );
}

/** Neighbours that say the same become one. */
function joined(spans) {
  const result = [];
  for (const span of spans) {
    const last = result.at(-1);
    const same =
      last && last.to_ms === span.from_ms && last.state === span.state && last.reason === span.reason;
    if (same) {
      last.to_ms = span.to_ms;
      last.evidence = [...(last.evidence ?? []), ...(span.evidence ?? [])];
    } else {
      result.push({ ...span });
    }
  }
  return result;
}

/** What a screen reader or a test may ask for: the whole as a sentence. */
export function summary(explanation) {
  return t("timeline.credited", { time: { duration: explanation.credited_s } });
}
