// Where the learner stands: progress, lessons, vouchers, certificate.

import { fill, h, icon, ICONS } from "../shared/dom.js";
import { say } from "../shared/i18n.js";
import { button, note, trouble } from "../shared/parts.js";
import { account } from "./account.js";
import { titled } from "./parts.js";

const CATCH_UP_FROM_MS = 10_000; // stretches that were not credited, worth going back for

export function homeView({ page, go }) {
  const { me } = account;
  const hello = me.name_masked ? ["home.hello", { name: me.name_masked }] : ["home.hello.none"];
  fill(
    page,
    say(h("h1"), ...hello),
    faceNote(me, go),
    me.programmes.length
      ? me.programmes.map((programme) => programmeCard(programme, go))
      : note("", "home.none"),
    vouchers(),
    links(),
  );
  refresh(page, go);
}

/** What was known may be old: hours grow while lessons run. Drawn anew where it changed. */
async function refresh(page, go) {
  const before = JSON.stringify(account.me);
  try {
    await account.load();
  } catch {
    return; // what is shown stays; a sign-in that is over shows itself
  }
  const stillHere = ["", "#", "#/"].includes(location.hash);
  if (stillHere && JSON.stringify(account.me) !== before) homeView({ page, go });
}

function faceNote(me, go) {
  const { face } = me;
  const photo = (key) => button(key, () => go("/photo"), { kind: "main full" });
  if (!face) return h("div.stack", {}, note("", "home.face.needed"), photo("enrol.title"));
  if (face.state === "waiting") return note("attention", "enrol.waiting", "enrol.waiting.text");
  if (face.state === "refused") {
    return h("div.stack", {}, note("attention", "enrol.rejected"), photo("enrol.again"));
  }
  return face.provisional ? note("attention", null, "enrol.provisional") : null;
}

function programmeCard(programme, go) {
  const { credited_s: done, target_s: target, class_hour_s: hour, certificate } = programme;
  const complete = done >= target;
  const bar = h("progress", { max: target, value: Math.min(done, target) });
  const heading = h("h2", { id: `p-${programme.name}` }, programme.title);
  bar.setAttribute("aria-labelledby", heading.id);
  return h(
    "section.card",
    {},
    heading,
    h(
      "p.progress-words",
      {},
      say(h("strong.big.number"), "home.credited", { done: { duration: done } }),
      " ",
      say(h("span.quiet"), "home.target", {
        target: { duration: target },
        hours: Math.round(target / hour),
      }),
    ),
    bar,
    complete
      ? note("good", "home.complete")
      : say(h("p.quiet.small"), "home.left", { left: { duration: target - done } }),
    certificate &&
      h(
        "p",
        {},
        say(
          h("a.button.main.full", { href: `#/certificate/${encodeURIComponent(certificate)}` }),
          "home.certificate.show",
        ),
      ),
    say(h("h3"), "home.lessons"),
    h("ul.lessons", {}, programme.media.map((medium) => lesson(programme, medium, go))),
  );
}

function lesson(programme, medium, go) {
  const path = `/lesson/${encodeURIComponent(programme.name)}/${encodeURIComponent(medium.media_id)}`;
  const begun = (medium.resume_ms ?? 0) > 0;
  const start = button(begun ? "home.continue" : "home.start", () => go(path), { kind: "main" });
  start.disabled = !account.mayLearn;
  const title = titled(medium);
  title.id = `m-${programme.name}-${medium.media_id}`.replace(/[^\w-]/g, "_");
  start.setAttribute("aria-describedby", title.id);
  const missed = (medium.gaps ?? []).reduce((sum, [from, to]) => sum + to - from, 0);
  const again =
    missed >= CATCH_UP_FROM_MS &&
    button("home.catchup", () => go(`${path}/again`), {
      kind: "plain",
      values: { time: { duration: missed / 1000 } },
    });
  if (again) again.disabled = !account.mayLearn;
  return h(
    "li",
    {},
    h(
      "div",
      {},
      title,
      say(h("div.quiet.small.number"), "home.minutes", { time: { duration: medium.duration_ms / 1000 } }),
    ),
    start,
    again,
  );
}

function vouchers() {
  const list = h("ul.vouchers");
  const section = h("section", { hidden: true }, say(h("h2"), "home.vouchers"), list);
  account.ask("GET", "/v1/me/vouchers").then(
    (answer) => {
      fill(list, answer.vouchers.map(voucher));
      section.hidden = answer.vouchers.length === 0;
    },
    (error) => {
      if (error.status === 404) return; // a service without vouchers
      fill(section, trouble(error));
      section.hidden = false;
    },
  );
  return section;
}

function voucher(one) {
  const inside = [
    icon(ICONS.seal),
    titled(one),
    say(h("span.small"), one.obtained ? "home.voucher.yes" : "home.voucher.no"),
  ];
  const kind = one.obtained ? "voucher.obtained" : "voucher.missing";
  return h(
    "li",
    {},
    one.obtained && one.number
      ? h(`a.${kind}`, { href: `#/certificate/${encodeURIComponent(one.number)}` }, inside)
      : h(`div.${kind}`, {}, inside),
  );
}

function links() {
  const link = (href, key) => h("li", {}, say(h("a", { href }), key));
  return h(
    "nav",
    {},
    h(
      "ul.links",
      {},
      link("#/history", "home.history"),
      link("#/photo", "home.photo"),
      link("#/privacy", "home.privacy"),
    ),
  );
}
