// The certificate of hours: what is on it, its QR code, to print or to save.

import { fill, h } from "../shared/dom.js";
import { duration, label, say, when } from "../shared/i18n.js";
import { account } from "./account.js";
import { backLink, button, trouble, waiting } from "./parts.js";

export function certificateView({ page }, number) {
  const base = `/v1/certificates/${encodeURIComponent(number)}`;
  const place = h("div", {}, waiting());
  const back = backLink();
  back.classList.add("no-print");
  fill(page, back, place);
  // With the check code, which only the learner and the paper have, paper and QR code open.
  account.ask("GET", `/v1/me/certificates/${encodeURIComponent(number)}`).then(
    (certificate) => fill(place, sheet(certificate), actions(certificate, base)),
    (error) => fill(place, trouble(error)),
  );
}

function sheet(certificate) {
  const valid = certificate.state === "valid";
  const code = h("img.qr", {
    src: `/v1/certificates/${encodeURIComponent(certificate.number)}/qr.svg?code=${certificate.check_code}`,
    width: 220,
    height: 220,
  });
  const row = (key, value) => [say(h("dt"), key), value instanceof Node ? value : h("dd", {}, value)];
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
          time: duration(certificate.credited_s),
        }),
      ),
      row("cert.issued", when(certificate.issued_ms)),
      row("cert.number", h("dd.number", {}, certificate.number)),
      row("cert.code", h("dd.number", {}, certificate.check_code.replace(/(.{4})(?=.)/g, "$1 "))),
      row("cert.state", say(h("dd"), `cert.state.${certificate.state}`)),
    ),
    certificate.reason && h("p", {}, certificate.reason),
    h("figure", {}, label(code, "alt", "cert.qr"), say(h("figcaption.quiet.small"), "cert.qr")),
  );
}

function actions(certificate, base) {
  return h(
    "div.stack.no-print",
    {},
    button("cert.print", () => window.print(), { kind: "main full" }),
    say(h("a.button.full", { href: `${base}/pdf?code=${certificate.check_code}`, download: `${certificate.number}.pdf` }), "cert.pdf"),
    say(h("a.button.plain.full", { href: `../check/${encodeURIComponent(certificate.number)}?code=${certificate.check_code}` }), "cert.check"),
  );
}
