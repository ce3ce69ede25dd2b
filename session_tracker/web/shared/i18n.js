// Chinese and English. Elements remember which text they show, so that a change of language needs
// no second drawing of the page: the video goes on.
//
//   addWords({zh: {hello: "您好，{name}"}, en: {hello: "Hello, {name}"}});
//   say(element, "hello", {name: "李"});   // sets and remembers
//   t("hello", {name: "李"});              // only the text
//
// A value that has words of its own changes its language with the text: `{duration: seconds}`,
// `{when: utcMs, style: {...}}` (`style`, where given, as of `when`) and `{text: key}`.

export const LANGUAGES = { zh: "中文", en: "English" };
const KEY = "benren.language";
const words = { zh: {}, en: {} };
let language = first();

/** Add texts; later ones win. */
export function addWords(more) {
  for (const code of Object.keys(LANGUAGES)) Object.assign(words[code], more[code] ?? {});
}

/** The language shown: "zh" or "en". */
export function languageNow() {
  return language;
}

/** Give a text. Unknown keys show themselves, so that a hole is seen and nothing breaks. */
export function t(key, values = {}) {
  const text = words[language][key] ?? words.zh[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => worded(values[name]) ?? whole);
}

function worded(value) {
  if (value === null || value === undefined) return null;
  if (typeof value !== "object") return String(value);
  if ("text" in value) return t(value.text);
  return "when" in value ? when(value.when, value.style) : duration(value.duration);
}

/** The names of all texts by language; a test holds them against each other. */
export function vocabulary() {
  return Object.fromEntries(Object.entries(words).map(([code, texts]) => [code, Object.keys(texts)]));
}

/** Whether there is a text of that name. */
export function known(key) {
  return key in words.zh;
}

/** Set and remember an element's text. */
export function say(element, key, values) {
  element.dataset.t = key;
  if (values === undefined) delete element.dataset.tv;
  else element.dataset.tv = JSON.stringify(values);
  const text = t(key, values);
  // Setting the same text again would make a screen reader say it again.
  if (element.textContent !== text) element.textContent = text;
  return element;
}

/** Set and remember an attribute that is read aloud: `aria-label`, `alt`, `placeholder`. */
export function label(element, attribute, key) {
  element.dataset[`l${attribute.replace(/-/g, "")}`] = key;
  element.setAttribute(attribute, t(key));
  return element;
}

/** Change the language of everything on the page, and keep the choice. */
export function chooseLanguage(code) {
  if (!(code in LANGUAGES)) return;
  language = code;
  try {
    localStorage.setItem(KEY, code);
  } catch {
    // private mode: the choice lasts as long as the page
  }
  document.documentElement.lang = code === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-t]")) {
    const { tv } = element.dataset;
    say(element, element.dataset.t, tv === undefined ? undefined : JSON.parse(tv));
  }
  for (const attribute of ["aria-label", "alt", "placeholder"]) {
    const name = `l${attribute.replace(/-/g, "")}`;
    for (const element of document.querySelectorAll(`[data-${name}]`)) {
      element.setAttribute(attribute, t(element.dataset[name]));
    }
  }
  document.dispatchEvent(new CustomEvent("languagechange", { detail: code }));
}

/** A button that changes to the other language, named in that language. */
export function languageButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  const show = () => {
    const other = language === "zh" ? "en" : "zh";
    button.textContent = LANGUAGES[other];
    button.lang = other === "zh" ? "zh-CN" : "en";
  };
  button.addEventListener("click", () => {
    chooseLanguage(language === "zh" ? "en" : "zh");
    show();
  });
  show();
  return button;
}

/** Whole seconds as a length of time: 1:02:05 or 2:05. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = two(whole % 60);
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** Whole seconds in words: "1 h 2 min", for people and for screen readers. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (hours && !minutes) return t("unit.h", { h: hours });
  if (hours) return t("unit.hm", { h: hours, m: minutes });
  if (minutes >= 10 || (minutes && whole % 60 === 0)) return t("unit.m", { m: minutes });
  return minutes ? t("unit.ms", { m: minutes, s: whole % 60 }) : t("unit.s", { s: whole % 60 });
}

/** An instant, in the time of the place where the hours are counted. */
export function when(utcMs, options = { dateStyle: "medium", timeStyle: "short" }) {
  const locale = language === "zh" ? "zh-CN" : "en-GB";
  return new Intl.DateTimeFormat(locale, { timeZone: "Asia/Shanghai", ...options }).format(utcMs);
}

addWords({
  zh: {
    "unit.h": "{h} 小时",
    "unit.hm": "{h} 小时 {m} 分",
    "unit.m": "{m} 分钟",
    "unit.ms": "{m} 分 {s} 秒",
    "unit.s": "{s} 秒",
  },
  en: {
    "unit.h": "{h} h",
    "unit.hm": "{h} h {m} min",
    "unit.m": "{m} min",
    "unit.ms": "{m} min {s} s",
    "unit.s": "{s} s",
  },
});

function first() {
  try {
    const kept = localStorage.getItem(KEY);
    if (kept in LANGUAGES) return kept;
  } catch {
    // private mode
  }
  return (navigator.language ?? "zh").toLowerCase().startsWith("zh") ? "zh" : "en";
}

document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
