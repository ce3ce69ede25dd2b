// The public check (真伪查询): is a certificate genuine, and does it still hold?
//
// A QR code leads here as /check/NUMBER?code=CODE. Without a code the page says only whether there is
// such a certificate; who holds it (masked) is for whoever has the paper, and with it the code.

import { ask } from "../shared/api.js";
import { fill, h, icon, ICONS } from "../shared/dom.js";
import { addWords, duration, label, languageButton, languageNow, say, when } from "../shared/i18n.js";

addWords({
  zh: {
    "check.title": "学时证明真伪查询",
    "check.lead": "扫描证明上的二维码，或输入编号和查询码。",
    "check.number": "证书编号",
    "check.code": "防伪查询码（16 位）",
    "check.codeHint": "印在证明左下方；不含字母 I、L、O、U。",
    "check.go": "查询",
    "check.again": "查询另一份证明",
    "check.asking": "正在查询…",
    "check.valid": "真实有效",
    "check.revoked": "已被撤销",
    "check.unknown": "没有这份证明",
    "check.unknownWhy": "没有与此编号和查询码相符的证明。请与证明原件核对。",
    "check.badInput": "请按证明上的样子填写编号和 16 位查询码。",
    "check.tooMany": "查询过于频繁",
    "check.tooManyWhy": "请等待 {s} 秒后再试。",
    "check.failed": "暂时无法查询",
    "check.failedWhy": "请检查网络后重试。",
    "check.holder": "持证人",
    "check.programme": "培训项目",
    "check.track": "培训类别",
    "check.hours": "线上学时",
    "check.hoursIs": "{n} 学时（{time}）",
    "check.issued": "签发日期",
    "check.revokedOn": "撤销日期",
    "check.reason": "撤销原因",
    "check.because.hours_void": "经复核，有效学时不足",
    "check.because.name_corrected": "姓名登记有误，已更正并重新签发",
    "check.withCode": "输入查询码可看到持证人（部分隐藏），以确认证明与持证人相符。",
    "check.scope": "本页只说明线上学时；线下培训和考试以培训机构为准。姓名已部分隐藏。",
    "track.initial": "初次培训",
    "track.refresher": "再培训",
  },
  en: {
    "check.title": "Check a certificate",
    "check.lead": "Scan the QR code of the certificate, or type its number and check code.",
    "check.number": "Certificate number",
    "check.code": "Check code (16 characters)",
    "check.codeHint": "Printed at the lower left; it has no I, L, O or U.",
    "check.go": "Check",
    "check.again": "Check another certificate",
    "check.asking": "Checking…",
    "check.valid": "Genuine and valid",
    "check.revoked": "Revoked",
    "check.unknown": "No such certificate",
    "check.unknownWhy": "Nothing fits this number and code. Compare both with the paper.",
    "check.badInput": "Type the number and the 16 characters as they are printed.",
    "check.tooMany": "Too many checks",
    "check.tooManyWhy": "Please wait {s} seconds and try again.",
    "check.failed": "Cannot check now",
    "check.failedWhy": "Please look at your network and try again.",
    "check.holder": "Holder",
    "check.programme": "Programme",
    "check.track": "Track",
    "check.hours": "Online class hours",
    "check.hoursIs": "{n} class hours ({time})",
    "check.issued": "Issued",
    "check.revokedOn": "Revoked",
    "check.reason": "Reason",
    "check.because.hours_void": "After later decisions too few hours are left.",
    "check.because.name_corrected": "The name was wrong; it was corrected and another one issued.",
    "check.withCode": "With the check code you see the holder (masked), to compare with who shows it.",
    "check.scope":
      "This page speaks of online hours only; offline training and examination are the training " +
      "institution's. Names are masked.",
    "track.initial": "initial training",
    "track.refresher": "refresher training",
  },
});

const NUMBER = /^[A-Z]{2}\d{4}-[0-9A-Z]{10}$/;
const CODE = /^[0-9A-Z]{16}$/;
const REASONS = ["hours_void", "name_corrected"];
const main = document.querySelector("#main");
const state = { number: "", code: "", answer: null, problem: null, asking: false, wrong: false };

document.querySelector("#language").append(languageButton());
document.addEventListener("languagechange", draw);
begin();

function begin() {
  const number = /\/check\/([^/]+)$/.exec(location.pathname)?.[1] ?? "";
  state.number = tidy(decodeURIComponent(number));
  state.code = tidy(new URLSearchParams(location.search).get("code") ?? "").replace(/-/g, "");
  if (NUMBER.test(state.number)) look();
  else draw();
}

function tidy(text) {
  return text.toUpperCase().replace(/\s+/g, "").slice(0, 40);
}

async function look() {
  Object.assign(state, { answer: null, problem: null, asking: true, wrong: false });
  draw();
  const query = state.code ? `?code=${encodeURIComponent(state.code)}` : "";
  try {
    state.answer = await ask("GET", `../v1/certificates/${encodeURIComponent(state.number)}${query}`);
  } catch (problem) {
    state.problem = problem;
  }
  state.asking = false;
  draw();
  main.focus();
}

function draw() {
  document.title = languageNow() === "zh" ? "本人 · 学时证明真伪查询" : "Benren · check a certificate";
  const heading = say(h("h1"), "check.title");
  if (state.asking) fill(main, heading, verdict("wait", "wait", "check.asking"));
  else if (state.answer) fill(main, heading, ...shown(state.answer), again());
  else if (state.problem) fill(main, heading, refused(state.problem), form());
  else fill(main, heading, say(h("p"), "check.lead"), form());
}

function why(reason) {
  return REASONS.includes(reason) ? say(h("span"), `check.because.${reason}`) : reason;
}

function shown(answer) {
  const valid = answer.state === "valid";
  const facts = [
    ["check.number", h("span.code", {}, answer.number)],
    answer.holder_name && ["check.holder", answer.holder_name],
    ["check.programme", answer.title],
    ["check.track", say(h("span"), `track.${answer.track}`)],
    [
      "check.hours",
      say(h("span.number"), "check.hoursIs", {
        n: answer.class_hours,
        time: duration(answer.credited_s),
      }),
    ],
    ["check.issued", when(answer.issued_ms, { dateStyle: "long" })],
    !valid && ["check.revokedOn", when(answer.revoked_ms, { dateStyle: "long" })],
    !valid && answer.reason && ["check.reason", why(answer.reason)],
  ].filter(Boolean);
  return [
    verdict(valid ? "valid" : "revoked", valid ? "ok" : "warn", `check.${answer.state}`),
    h(
      "section.card",
      {},
      h("dl.facts", {}, facts.map(([name, value]) => [say(h("dt"), name), h("dd", {}, value)])),
    ),
    answer.holder_name ? null : say(h("p.quiet"), "check.withCode"),
    say(h("p.quiet.small"), "check.scope"),
  ];
}

function refused(problem) {
  if (problem.status === 404) {
    return verdict("unknown", "warn", "check.unknown", "check.unknownWhy");
  }
  if (problem.status === 422) return verdict("wait", "warn", "check.unknown", "check.badInput");
  if (problem.status === 429) {
    const values = { s: problem.retryAfterS ?? 60 };
    return verdict("wait", "wait", "check.tooMany", "check.tooManyWhy", values);
  }
  return verdict("wait", "network", "check.failed", "check.failedWhy");
}

function verdict(kind, drawing, title, why, values) {
  return h(
    `section.card.verdict.is-${kind}`,
    { role: "status", "data-verdict": kind },
    icon(ICONS[drawing]),
    h("div", {}, say(h("h2"), title), why ? say(h("p"), why, values) : null),
  );
}

function form() {
  const number = h("input.code", {
    type: "text", id: "number", value: state.number, autocomplete: "off", spellcheck: "false",
    maxlength: 40, required: true, placeholder: "BR2026-7K3M9QX2TA",
  });
  const code = h("input.code", {
    type: "text", id: "code", value: state.code, autocomplete: "off", spellcheck: "false",
    maxlength: 24, "aria-describedby": "hint", placeholder: "4T9K 2M7X Q0ZC 8RWA",
  });
  const problem = say(h("p", { role: "alert", hidden: !state.wrong }), "check.badInput");
  const submit = (event) => {
    event.preventDefault();
    state.number = tidy(number.value);
    state.code = tidy(code.value).replace(/-/g, "");
    state.wrong = !NUMBER.test(state.number) || (state.code !== "" && !CODE.test(state.code));
    if (state.wrong) problem.hidden = false;
    else look();
  };
  return h(
    "form.card.stack",
    { novalidate: true, onsubmit: submit },
    h("div", {}, say(h("label", { for: "number" }), "check.number"), number),
    h(
      "div",
      {},
      say(h("label", { for: "code" }), "check.code"),
      code,
      say(h("p.quiet.small", { id: "hint" }), "check.codeHint"),
    ),
    problem,
    say(h("button.main.full", { type: "submit" }), "check.go"),
  );
}

function again() {
  const start = () => {
    Object.assign(state, { number: "", code: "", answer: null, problem: null });
    history.replaceState(null, "", location.pathname.replace(/\/check\/[^/]*$/, "/check/"));
    draw();
    document.querySelector("#number").focus();
  };
  return label(say(h("button.full", { type: "button", onclick: start }), "check.again"), "aria-label",
    "check.again");
}
