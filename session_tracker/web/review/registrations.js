// Registrations that wait for staff, and the trail of who looked at what.

import { fill, h } from "../shared/dom.js";
import { say, when } from "../shared/i18n.js";
import { waiting } from "../shared/parts.js";
import { actForm, call, facts, reasonField, trouble, word } from "./desk.js";

const STATES = ["waiting", "faces", "approved", "refused"];

/** Learners by the state of their registration; `faces`: those whose hours wait for a look at the face. */
export async function registrationsView(page, go, state = "waiting") {
  fill(page, waiting());
  const wanted = state === "faces" ? "face_waits=true" : `state=${encodeURIComponent(state)}`;
  const { learners } = await call("GET", `/v1/staff/learners?${wanted}&limit=100`);
  const tabs = STATES.map((name) =>
    say(
      h("button.plain", {
        type: "button",
        "aria-pressed": String(name === state),
        onclick: () => go(`/registrations/${name}`),
      }),
      `reg.${name}`,
    ),
  );
  const again = () => registrationsView(page, go, state);
  fill(
    page,
    say(h("h1.only-read"), "tab.registrations"),
    h("div.row.filters", { role: "group" }, tabs),
    state === "faces" ? say(h("p"), "reg.faces.lead") : null,
    learners.length
      ? h("ul.cases", {}, learners.map((one) => h("li", {}, card(one, again))))
      : say(h("p.quiet"), "reg.none"),
  );
}

function card(one, again) {
  const { registration } = one;
  return h(
    "section.card.stack",
    { "data-learner": one.learner_id },
    h(
      "div.row.spread",
      {},
      h("strong", {}, one.name_masked ?? one.learner_id),
      h(
        "span.row.badges",
        {},
        one.face_waits ? say(h("span.badge.is-attention"), "reg.faceWaits") : null,
        h("span.badge", {}, word("reg", registration.state)),
      ),
    ),
    facts([
      ["case.learner", h("span.number", {}, one.learner_id)],
      ["reg.business", one.business_ref],
      ["reg.category", word("category", one.category)],
      ["reg.track", word("track", one.track)],
      registration.reasons.length > 0 && ["reg.why", registration.reasons.map((why) => h("p", {}, word("cause", why)))],
    ]),
    reveal(one),
    registration.state === "waiting" || one.face_waits ? decision(one, again) : null,
  );
}

/** Names and numbers are read one by one, and every reading is recorded. */
function reveal(one) {
  const place = h("div");
  const show = async () => {
    try {
      const found = await call("GET", `/v1/staff/learners/${encodeURIComponent(one.learner_id)}`);
      fill(
        place,
        facts([["reg.name", found.name ?? "–"], ["reg.number", found.identity_number ?? "–"]]),
        challengeRoute(found, show),
      );
    } catch (error) {
      fill(place, trouble(error));
    }
  };
  return fill(place, say(h("button.plain", { type: "button", onclick: show }), "reg.reveal"));
}

/** Whoever the networks keep taking for a picture acts instead, once staff have seen that it is he. */
function challengeRoute({ learner_id: id, challenge_route: on }, again) {
  const why = reasonField(`route-${id}`);
  const path = `/v1/staff/learners/${encodeURIComponent(id)}/challenge-route${on ? "/end" : ""}`;
  return actForm({
    title: on ? "route.on" : "route.off",
    parts: [
      say(h("p.quiet"), "route.lead"),
      h("div", {}, say(h("label", { for: why.id }), "reg.why"), why),
    ],
    needs: [why],
    buttons: [[on ? "route.end" : "route.begin", "", ""]],
    act: async () => {
      await call("POST", path, { json: { reason: why.value.trim() } });
      await again();
    },
  });
}

/**
 * Approve a registration that waits; or else confirm a face that waits, the newest of them first.
 * Or refuse. Each names the face it is about.
 */
function decision(one, again) {
  const confirms = one.registration.state !== "waiting";
  const base = `/v1/staff/learners/${encodeURIComponent(one.learner_id)}`;
  const version = confirms ? one.faces_waiting.at(-1) : one.template_version;
  const earlier = version !== one.template_version;
  const shown = { template_version: version }; // approval: 409 where another face came since
  const id = `why-${one.learner_id}`;
  const reason = h("input", { type: "text", id, maxlength: 200, required: true });
  const compared = h("input", { type: "checkbox", id: `${id}-face` });
  const place = h("div");
  const submit = async (event) => {
    event.preventDefault();
    const why = reason.value.trim();
    if (!why) return reason.focus();
    try {
      if (event.submitter?.value === "refuse") {
        const path = `${base}/${confirms ? "template/refuse" : "refusal"}`;
        await call("POST", path, { json: { reasons: [why], ...shown } });
      } else if (confirms) {
        if (!compared.checked) return compared.focus();
        const path = `/v1/learners/${encodeURIComponent(one.learner_id)}/template/confirm`;
        await call("POST", path, { json: { reason: why, ...shown } });
      } else {
        const json = { reason: why, face_compared: compared.checked, ...shown };
        await call("POST", `${base}/approval`, { json });
      }
      await again();
    } catch (error) {
      fill(place, trouble(error));
    }
    return undefined;
  };
  return h(
    "form.stack",
    { onsubmit: submit, novalidate: true },
    earlier ? say(h("p"), "reg.earlier", { n: version }) : null,
    h("div", {}, say(h("label", { for: id }), "reg.why"), reason),
    h(
      "div.tick",
      {},
      compared,
      say(h("label", { for: `${id}-face` }), earlier ? "reg.earlier.sure" : "reg.compared"),
    ),
    place,
    h(
      "div.row",
      {},
      say(
        h("button.main", { type: "submit", value: "approve" }),
        confirms ? "reg.confirm" : "reg.approve",
      ),
      say(h("button.harm", { type: "submit", value: "refuse" }), "reg.refuse"),
    ),
  );
}

/** Who looked at whose data. */
export async function trailView(page) {
  fill(page, waiting());
  const { looks } = await call("GET", "/v1/staff/trail?limit=200");
  fill(
    page,
    say(h("h1"), "tab.trail"),
    say(h("p"), "trail.lead"),
    looks.length
      ? h(
          "ol.told",
          {},
          looks.map((look) =>
            h(
              "li",
              {},
              h("span.number.quiet", {}, when(look.at_ms)),
              " ",
              h("strong", {}, look.actor),
              ` · ${look.route} · ${look.subject}`,
              look.purpose ? h("span.quiet", {}, ` · ${look.purpose}`) : null,
            ),
          ),
        )
      : say(h("p.quiet"), "trail.none"),
  );
}
