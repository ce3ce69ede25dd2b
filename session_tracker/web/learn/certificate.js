// The certificate of hours: what is on it, its QR code, to print or to save.

import { fill, h } from "../shared/dom.js";
import { known, label, say, when } from "../shared/i18n.js";
import { button, trouble, waiting } from "../shared/parts.js";
import { account } from "./account.js";
import { backLink } from "./parts.js";

export function certificateView({ page }, number) {
  const place = h("div", {}, waiting());
  const back = backLink();
  back.classList.add("no-print");
  fill(page, back, place);
  show(number, place).catch((error) => fill(place, say(h("h1"), "cert.title"), trouble(error)));
}

/** Its check code, which only the learner and the paper have, opens the paper and the QR code. */
async function show(number, place) {
  const path = encodeURIComponent(number);
  const certificate = await account.ask("GET", `/v1/me/certificates/${path}`);
  const base = `/v1/certificates/${path}`;
  const proof = `?code=${encodeURIComponent(certificate.check_code)}`;
  fill(place, sheet(certificate, base, proof), actions(certificate, base, proof));
}

function sheet(certificate, base, proof) {
  const valid = certificate.state === "valid";
  const row = (key, value) => [say(h("dt"), key), value instanceof Node ? value : h("dd", {}, value)];
  const picture = h("img.qr", { src: `${base}/qr.svg${proof}` });
  return h(
    `article.certificate.card${valid ? "" : ".revoked"}`,
    {},
    say(h("h1"), "cert.title"),
    h(
      "dl",
      {},
      row("cert.holder", certificate.holder_name ?? certificate.holder),
      row("cert.programme", certificate.title),
      row(
        "cert.hours",
        say(h("dd"), "cert.hours.value", {
          hours: certificate.class_hours,
          time: { duration: certificate.credited_s },
        }),
      ),
      row("cert.issued", when(certificate.issued_ms)),
      row("cert.number", h("dd.number", {}, certificate.number)),
      row("cert.code", h("dd.number", {}, certificate.check_code.replace(/(.{4})(?=.)/g, "$1 "))),
      row("cert.state", say(h("dd"), `cert.state.${certificate.state}`)),
    ),
    certificate.reason && because(certificate.reason),
    h("figure", {}, label(picture, "alt", "cert.qr"), say(h("figcaption.quiet.small"), "cert.qr")),
  );
}

/** Why it holds no more: a code of the service, or what somebody wrote. */
function because(reason) {
  const key = `cert.because.${reason}`;
  return h("p", {}, say(h("span.quiet"), "cert.because"), " ", known(key) ? say(h("span"), key) : reason);
}

/** What can be done with it; of one that was revoked there is no paper any more. */
function actions(certificate, base, proof) {
  const valid = certificate.state === "valid";
  const check = `../check/${encodeURIComponent(certificate.number)}${proof}`;
  const paper = { href: `${base}/pdf${proof}`, download: `${certificate.number}.pdf` };
  return h(
    "div.stack.no-print",
    {},
    valid && button("cert.print", () => window.print(), { kind: "main full" }),
    valid && say(h("a.button.full", paper), "cert.pdf"),
    say(h("a.button.plain.full", { href: check }), "cert.check"),
  );
}
