// How a lesson ended, what was credited, and what can be done now.

import { fill, h } from "../shared/dom.js";
import { known as told, say } from "../shared/i18n.js";
import { button, note } from "../shared/parts.js";
import { account } from "./account.js";

const GAP_MS = 110_000;
const ENDED = new Set(["suspended", "closed", "settled"]); // states whose view shows all that was credited
const GUESSED = new Set(["learner", "expired", "closed"]); // where nothing else explains that no time counts

/**
 * Show the end.
 *
 * @param {object} where   the lesson: `page`, `go`, `show`, `session`
 * @param {object} end     `why`: a close reason of the service, `suspended`, or `closed` where it did
 *                         not say; `view`: the session's last answer; `lostAt`: when contact was lost
 */
export function overView({ page, go, show, session }, { why, view, lostAt }) {
  const known = why === "closed" ? guess(lostAt) : why;
  const some = view.credited_s > 0;
  const all = ENDED.has(view.state);
  const story = `/history/${encodeURIComponent(session.id)}`;
  fill(
    page,
    say(h("h1"), "over.title"),
    explanation(known),
    h(
      "section.card",
      {},
      some
        ? say(h("p.credited.number"), "over.credited", { time: { duration: view.credited_s } })
        : all && say(h("p.big"), "over.none"),
      !some && all && GUESSED.has(known) && say(h("p"), "over.none.text"),
      (some || !all) && say(h("p"), all ? "over.all" : "over.late"),
      say(h("p.quiet"), "over.total", {
        done: { duration: view.course_credited_s },
        target: { duration: view.target_s },
      }),
    ),
    view.certificate && note("good", "over.certificate"),
    h(
      "div.stack",
      {},
      view.certificate &&
        button("home.certificate.show", () => go(`/certificate/${encodeURIComponent(view.certificate)}`), {
          kind: "main full",
        }),
      ...next(known, view, show, () => go(story)),
      button("app.home", () => go("/"), { kind: "full" }),
    ),
  );
  page.focus();
  account.load().catch(() => {}); // the start page shows the new hours
}

/** Why it ended, where the learner did not end it himself. */
function explanation(why) {
  if (why === "learner") return null;
  const title = [`over.${why}`, `close.${why}`, "over.closed"].find(told);
  const text = `over.${why}.text`;
  return note(title === "over.closed" ? "" : "attention", title, told(text) ? text : null);
}

/** What one may want to do now, the likeliest first. */
function next(why, view, show, tell) {
  const story = (kind) => button("over.why", tell, { kind });
  if (why === "suspended") return [story("main full")];
  if (why === "taken_over") return [button("over.taken.here", show, { kind: "full" }), story("full")];
  return [button("over.again", show, { kind: view.certificate ? "full" : "main full" }), story("full")];
}

/** The service did not say why: what we saw ourselves. */
function guess(lostAt) {
  if (lostAt && Date.now() - lostAt > GAP_MS) return "network_gap";
  return "closed";
}
