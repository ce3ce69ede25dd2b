// The lesson of a supervised session, played on the device on which staff opened it: no camera, the
// player reports as the learner's own page does, and stands still while nobody answers for him.

import { Kept } from "../shared/api.js";
import { fill, h, icon, ICONS } from "../shared/dom.js";
import { clock, known, label, say } from "../shared/i18n.js";
import { Player } from "../learn/player.js";
import { Session } from "../learn/session.js";
import { call } from "./desk.js";

const SEQ_STEP = 10_000; // more than one showing of a lesson reports
const kept = new Kept("supervised");

/** What this tab may play: sessions that were opened in it. */
export const device = {
  keep(id, token) {
    kept.set({ ...kept.get(), [id]: { token, shown: 0 } });
  },
  /** The token of a session, and with which report to begin; null where it is played elsewhere. */
  take(id) {
    const mine = kept.get()?.[id];
    if (!mine) return null;
    kept.set({ ...kept.get(), [id]: { ...mine, shown: mine.shown + 1 } });
    return { token: mine.token, seq: mine.shown * SEQ_STEP };
  },
  forget(id) {
    const { [id]: gone, ...rest } = kept.get() ?? {};
    if (gone) kept.set(rest);
  },
};

export class Classroom {
  #stops = [];
  #touched = false;
  #reported = "";

  /** The lesson of a session; null where this device does not play it, or nobody knows its media. */
  static async of(one) {
    const mine = device.take(one.session_id);
    if (!mine) return null;
    const path = `/v1/staff/learners/${encodeURIComponent(one.learner_id)}/programmes`;
    const { programmes } = await call("GET", path);
    const offered = programmes.find(({ name }) => name === one.programme)?.media ?? [];
    const media = one.media.map((id) => offered.find((medium) => medium.media_id === id));
    return media.every(Boolean) ? new Classroom(one, mine, media) : null;
  }

  constructor(one, { token, seq }, media) {
    this.media = media;
    this.onOver = () => {};
    this.session = new Session({
      id: one.session_id,
      token,
      programme: one.programme,
      media: one.media,
      grant: null,
      view: one.session,
      seq,
    });
    this.video = label(h("video.lesson-video", { playsinline: true }), "aria-label", "sup.video");
    this.player = new Player(this.video, one.learner_id);
    const open = media.findIndex((medium) => medium.reach_ms < medium.duration_ms - 1_000);
    this.index = Math.max(open, 0);
    this.toggle = h("button.main", { type: "button", onclick: () => this.#toggle() });
    this.back = h("button", { type: "button", onclick: () => this.player.back(10) }, icon(ICONS.back10));
    label(this.back, "aria-label", "sup.back10");
    this.position = h("span.number.quiet");
    this.status = h("p", { role: "status" });
    this.credited = h("p.quiet");
    this.root = h(
      "section.card.stack",
      {},
      this.video,
      h("div.row", {}, this.toggle, this.back, this.position),
      this.status,
      this.credited,
    );
  }

  /** Begin to play and to report. */
  start() {
    const { session, player } = this;
    this.#on(session, "view", (view) => this.#viewed(view));
    this.#on(session, "over", (end) => this.onOver(end));
    this.#on(session, "contact", () => this.#draw());
    this.#on(player, "change", () => this.#played());
    this.#on(player, "blocked", () => this.#draw());
    this.#on(player, "ended", () => this.#next());
    for (const type of ["pointerdown", "keydown"]) this.#on(document, type, () => (this.#touched = true));
    this.#on(window, "pagehide", () => session.farewell());
    this.#load();
    session.start(() => this.#describe());
    this.#draw();
  }

  /** Stand still and tell how far the lesson came: what was never reported is not credited. */
  async rest() {
    this.player.allow(false);
    await this.session.tell();
  }

  /** Play and report no more; a session that was not `ended` goes on until somebody ends it. */
  stop({ ended = false } = {}) {
    this.#stops.forEach((stop) => stop());
    this.#stops = [];
    if (!ended) this.session.farewell();
    this.session.stop();
    this.player.stop();
  }

  #on(target, type, listener) {
    const handler = (event) => listener(event.detail ?? null);
    target.addEventListener(type, handler);
    this.#stops.push(() => target.removeEventListener(type, handler));
  }

  #describe() {
    const interaction = this.#touched;
    this.#touched = false;
    const { mediaId, positionMs, playing } = this.player;
    return { media_id: mediaId, media_ms: positionMs, playing, interaction };
  }

  #load() {
    const medium = this.media[this.index];
    this.player.load(medium);
    this.player.from(medium);
  }

  #viewed(view) {
    this.player.allow(view.play);
    say(this.credited, "sup.credited", { time: { duration: view.credited_s } });
    this.#draw();
  }

  #played() {
    const now = this.player.playing ? this.player.mediaId : "";
    if (this.#reported !== now) this.session.report();
    this.#reported = now;
    this.#draw();
  }

  #next() {
    if (this.index + 1 >= this.media.length) return this.#draw();
    this.index += 1;
    this.#load();
    this.player.want(true);
    return undefined;
  }

  #toggle() {
    const { player, session } = this;
    const goesOn = player.blocked || !session.view.play || !player.wants;
    player.want(goesOn);
    session.report({ interaction: true });
    this.#draw();
  }

  #draw() {
    const { player, session, toggle } = this;
    const name = player.intends ? "sup.pause" : "sup.play";
    if (toggle.dataset.name !== name) {
      toggle.dataset.name = name;
      fill(toggle, icon(player.intends ? ICONS.pause : ICONS.play), say(h("span"), name));
    }
    const parts = { now: clock(player.positionMs / 1000), all: clock(player.durationMs / 1000) };
    say(this.position, "sup.position", parts);
    say(this.status, statusOf(session, this.video.ended));
  }
}

function statusOf(session, ended) {
  if (!session.contact) return "error.unreachable";
  if (session.view.play) return ended ? "sup.watched" : "sup.plays";
  const why = `pause.${session.view.reason}`;
  return ["idle", "learner", "system_error"].includes(session.view.reason) && known(why) ? why : "sup.stands";
}
