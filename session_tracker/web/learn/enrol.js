// The learner's photo: of the identity card, or a selfie that the service helps to get right.

import { Problem } from "../shared/api.js";
import { fill, h } from "../shared/dom.js";
import { known, say } from "../shared/i18n.js";
import { Camera } from "../shared/benren-stream.js";
import { button, note, trouble, waiting } from "../shared/parts.js";
import { account } from "./account.js";
import { backLink, cameraTrouble, mirror } from "./parts.js";

const LOOK_EVERY_MS = 900;
const GOOD_IN_A_ROW = 2;
const LONGEST_SIDE = 2_000;

export function enrolView({ page, show, go }) {
  const { face } = account.me;
  const leaveBy = { end: null };
  const again = () => choice(page, leaveBy, show);
  if (face && face.state !== "refused") standing(page, face, { again, show, go });
  else again();
  return () => leaveBy.end?.();
}

/** How this learner may enrol himself now, as the service says. */
function ways() {
  return account.me.face_ways ?? ["self_photo", "self_live"];
}

/** What became of the photo that is there. */
function standing(page, face, { again, show, go }) {
  const approved = face.state === "approved";
  fill(
    page,
    backLink(),
    say(h("h1"), "enrol.title"),
    approved
      ? note("good", "enrol.done", face.provisional ? "enrol.provisional" : "enrol.done.text")
      : note("attention", "enrol.waiting", "enrol.waiting.text"),
    h(
      "div.stack",
      {},
      approved
        ? button("home.start", () => go("/"), { kind: "main full" })
        : button("enrol.check", () => account.load().then(show, show), { kind: "main full" }),
      ways().length > 0 && button("enrol.again", again, { kind: "full" }),
    ),
  );
}

function choice(page, leaveBy, show) {
  leaveBy.end?.();
  const message = h("div", { "aria-live": "polite" });
  const file = h("input.only-read", {
    type: "file", accept: "image/jpeg,image/png,image/webp", id: "photo-file", tabindex: "-1",
  });
  const take = button("enrol.id.take", () => file.click(), { kind: "main full" });
  file.addEventListener("change", async () => {
    const [picture] = file.files;
    if (!picture) return;
    take.disabled = true;
    fill(message, waiting("enrol.sending"));
    try {
      await hand(await smaller(picture), "self_photo", message, show);
    } finally {
      take.disabled = false;
      file.value = "";
    }
  });
  const face = account.me.face;
  fill(
    page,
    backLink(),
    say(h("h1"), "enrol.title"),
    face?.state === "refused" && rejected(face.reasons ?? []),
    say(h("p"), "enrol.lead"),
    message,
    ways().includes("self_photo") && h(
      "section.card.stack",
      {},
      say(h("h2"), "enrol.id.title"),
      say(h("p.quiet"), "enrol.id.text"),
      file,
      take,
    ),
    ways().includes("self_live") && h(
      "section.card.stack",
      {},
      say(h("h2"), "enrol.live.title"),
      say(h("p.quiet"), "enrol.live.text"),
      button("enrol.live.start", () => selfie(page, leaveBy, show), { kind: "full" }),
    ),
  );
}

/** The guided selfie: looks every second, says what to mend, takes the picture when all is well. */
async function selfie(page, leaveBy, show) {
  const camera = new Camera({ quality: 0.92, budgetBytes: 400_000 });
  let over = false;
  let timer = null;
  leaveBy.end = () => {
    over = true;
    clearTimeout(timer);
    camera.close();
    leaveBy.end = null;
  };
  fill(page, waiting("lesson.opening"));
  const on = await camera.open();
  if (over) return;
  if (!on) {
    const { state } = camera;
    leaveBy.end();
    fill(
      page,
      say(h("h1"), "enrol.live.title"),
      cameraTrouble(state),
      h(
        "div.stack",
        {},
        button("app.retry", () => selfie(page, leaveBy, show), { kind: "main full" }),
        button("app.back", () => choice(page, leaveBy, show), { kind: "full" }),
      ),
    );
    return;
  }
  const advice = say(h("p.selfie-advice", { role: "status" }), "enrol.look");
  const message = h("div", { "aria-live": "polite" });
  let good = 0;
  let sending = false;
  const takeIt = async () => {
    if (sending) return;
    sending = true;
    say(advice, "enrol.taking");
    const picture = await camera.photo();
    if (picture !== null && (await hand(picture, "self_live", message, show, advice))) return;
    sending = false;
    good = 0;
    look();
  };
  const look = async () => {
    clearTimeout(timer);
    if (over || sending) return;
    const code = await adviceOn(await camera.photo());
    if (over || sending) return;
    if (code !== null) say(advice, known(`advice.${code}`) ? `advice.${code}` : "enrol.sharp");
    good = code === "ok" ? good + 1 : 0;
    if (good >= GOOD_IN_A_ROW) await takeIt();
    else timer = setTimeout(look, LOOK_EVERY_MS);
  };
  fill(
    page,
    say(h("h1"), "enrol.live.title"),
    h("div.selfie", {}, mirror(camera.stream, "enrol.preview"), h("div.selfie-guide")),
    advice,
    message,
    h(
      "div.stack",
      {},
      button("enrol.take", takeIt, { kind: "main full" }),
      button("app.back", () => choice(page, leaveBy, show), { kind: "full" }),
    ),
  );
  timer = setTimeout(look, LOOK_EVERY_MS);
}

async function adviceOn(picture) {
  if (picture === null) return null;
  try {
    return (await account.ask("POST", "/v1/me/face/look", { picture })).advice;
  } catch {
    return null; // the next look may work; taking the picture tells what is wrong
  }
}

/** Hand a photo in; answers whether it was taken. */
async function hand(picture, provenance, message, show, advice) {
  try {
    const answer = await account.ask("POST", `/v1/me/face?provenance=${provenance}`, { picture });
    if (answer.accepted) {
      await account.load();
      show();
      return true;
    }
    fill(message, reasons(answer.advice ?? []));
    const first = (answer.advice ?? []).find((code) => known(`advice.${code}`));
    if (advice && first) say(advice, `advice.${first}`);
  } catch (error) {
    const refused = error instanceof Problem && [413, 415, 422].includes(error.status);
    fill(message, refused ? reasons(error.reasons) : trouble(error));
  }
  return false;
}

function reasons(codes) {
  const texts = [...new Set(codes.map((code) => `advice.${code}`).filter(known))];
  return h(
    "div.note.attention",
    {},
    h(
      "div",
      {},
      say(h("p"), "enrol.refused"),
      h("ul", {}, (texts.length ? texts : ["enrol.sharp"]).map((key) => say(h("li"), key))),
    ),
  );
}

/** Why staff refused the photo: a code of the service, or what they wrote. */
function rejected(why) {
  const keys = (text) => [`enrol.because.${text}`, `advice.${text}`].find(known);
  const line = (text) => (keys(text) ? say(h("li"), keys(text)) : h("li", {}, text));
  const text = h("div", {}, h("ul", {}, why.map(line)), say(h("p.quiet"), "enrol.rejected.text"));
  return note("attention", "enrol.rejected", text);
}

/** Phones take pictures of 10 MB: none of it is needed. Turned upright on the way. */
async function smaller(file) {
  if (file.size < 1_500_000) return file;
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(bitmap.width * scale);
    canvas.height = Math.round(bitmap.height * scale);
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return await new Promise((done) => canvas.toBlob((blob) => done(blob ?? file), "image/jpeg", 0.92));
  } catch {
    return file;
  }
}
