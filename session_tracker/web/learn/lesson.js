// A lesson: before it, in it, and how it ended. Brings camera, stream, session and player together;
// what any of them says leads to one drawing of the whole situation.

import { BenrenStream, Camera } from "../shared/benren-stream.js";
import { fill, h } from "../shared/dom.js";
import { known, say } from "../shared/i18n.js";
import { button, trouble, waiting } from "../shared/parts.js";
import { account } from "./account.js";
import { lessonParts, preparation } from "./lesson-view.js";
import { overView } from "./over.js";
import { cameraTrouble, otherWay, question, refusal } from "./parts.js";
import { Player } from "./player.js";
import { Session } from "./session.js";
import { statusOf, troubleOf } from "./status.js";

const HINT_AFTER_MS = 4_000; // advice that goes by is not worth a word
const TURN_HINT_AFTER_MS = 1_500; // a turn lasts a few seconds only
const NOT_HIS = new Set(["ok", "newer_frame", "slower", "again"]); // nothing a learner could mend
const HOLD_AFTER_MS = 20_000; // without network: shorter than the gap that a session bears
const BLINK_MS = 1_500; // a stream that is opened anew is no lost network
const LONG_MS = 20_000; // most start checks are over by then
const WELCOME_MS = 6_000;

export function lessonView(context, programmeName, mediaId, again) {
  const { page, go } = context;
  const programme = account.programme(programmeName);
  const at = programme?.media.findIndex((medium) => medium.media_id === mediaId) ?? -1;
  if (at < 0 || !account.mayLearn) {
    go("/");
    return undefined;
  }
  const lesson = new Lesson(context, programme, programme.media.slice(at), Boolean(again));
  lesson.prepare();
  return () => lesson.leave();
}

class Lesson {
  #timers = [];
  #stops = [];
  #hint = { code: null, since: 0 };
  #returnedAt = 0;
  #startedAt = Date.now();
  #touched = false;
  #challenge = null;
  #reported = "";

  constructor({ page, go, show }, programme, media, catchUp) {
    Object.assign(this, { page, go, show, programme, media, catchUp });
    this.index = 0;
    this.camera = null;
    this.stream = null;
    this.session = null;
    this.player = null;
    this.parts = null;
    this.gone = false;
  }

  // --- before ------------------------------------------------------------------------------

  prepare() {
    const message = h("div", { "aria-live": "polite" });
    const begin = button("lesson.begin", () => this.#begin(message, begin), { kind: "main full" });
    fill(this.page, preparation(), message, begin);
  }

  async #begin(message, begin) {
    begin.disabled = true;
    const acts = {
      toggle: () => this.#toggle(),
      back: () => this.player.back(10),
      mute: () => this.#mute(),
      end: () => this.#end(),
      otherWay: () => this.#otherWay(),
      act: (name) => this.#act(name),
    };
    this.parts ??= lessonParts(acts, this.programme.shown_late_s);
    this.player ??= new Player(this.parts.video, account.me.learner_id);
    this.player.load(this.media[0]);
    this.player.unlock();
    fill(message, waiting("lesson.opening"));
    const standing = account.load();
    standing.catch(() => {}); // it is waited for below
    this.camera ??= new Camera();
    if (!(await this.camera.open())) {
      const { state } = this.camera;
      this.camera.close();
      fill(message, cameraTrouble(state));
      say(begin, "app.retry");
      begin.disabled = false;
      return;
    }
    if (this.gone) return;
    try {
      await standing;
      this.#refresh();
      this.session = await this.#open();
      if (this.session === null || this.gone) return;
      this.player.from(this.media[0], { catchUp: this.catchUp, goesOn: this.goesOn });
      this.#run();
    } catch (error) {
      this.camera.close();
      fill(message, refusal(error));
      say(begin, "app.retry");
      begin.disabled = false;
    }
  }

  /** What the service knows of the media by now: how far they were watched, first of all. */
  #refresh() {
    this.programme = account.programme(this.programme.name) ?? this.programme;
    const fresh = new Map(this.programme.media.map((medium) => [medium.media_id, medium]));
    this.media = this.media.map((medium) => fresh.get(medium.media_id) ?? medium);
  }

  /** Open a session, or go on with the one this tab had; null where the learner thought better. */
  async #open() {
    const media = this.media.map((medium) => medium.media_id);
    const before = await Session.again(this.programme.name, media[0]);
    this.goesOn = before !== null;
    if (before) return before;
    const wanted = { programme: this.programme.name, media };
    try {
      return await Session.open(wanted);
    } catch (error) {
      if (error.code !== "studies_elsewhere") throw error;
      const here = await question({
        title: "takeover.title",
        text: "takeover.text",
        yes: "takeover.yes",
        no: "takeover.no",
      });
      if (here) return Session.open({ ...wanted, takeOver: true });
      this.camera.close();
      this.go("/");
      return null;
    }
  }

  // --- during ------------------------------------------------------------------------------

  #run() {
    const { session, camera, player, parts } = this;
    this.stream = new BenrenStream({ grant: session.grant, camera, renew: () => session.renew() });
    fill(this.page, parts.root);
    parts.showTitle(this.media[0]);
    parts.showPreview(camera.stream);
    this.#on(this.stream, "state", (state) => this.#streamChanged(state));
    this.#on(this.stream, "advice", (code) => this.#advised(code));
    this.#on(this.stream, "challenge", (challenge) => this.#challenged(challenge));
    this.#on(session, "view", (view) => this.#viewed(view));
    this.#on(session, "contact", () => this.#draw());
    this.#on(session, "over", (end) => this.#over(end));
    this.#on(player, "change", () => this.#played());
    this.#on(player, "blocked", () => this.#draw());
    this.#on(player, "ended", () => this.#next());
    for (const type of ["pointerdown", "keydown"]) this.#on(document, type, () => this.#touch());
    this.#on(document, "visibilitychange", () => this.#visible());
    this.#on(window, "pagehide", () => session.farewell());
    this.#startedAt = Date.now();
    this.#timers.push(setInterval(() => this.#tick(), 1_000));
    this.stream.start();
    session.start(() => this.#describe());
    this.#visible();
    this.#draw();
  }

  #on(target, type, listener) {
    const handler = (event) => listener(event.detail ?? null);
    target.addEventListener(type, handler);
    this.#stops.push(() => target.removeEventListener(type, handler));
  }

  #describe() {
    if (this.stream.state.network === "taken") return null; // the other window tells
    const interaction = this.#touched;
    this.#touched = false;
    return {
      media_id: this.player.mediaId,
      media_ms: this.player.positionMs,
      playing: this.player.playing,
      interaction,
    };
  }

  #viewed(view) {
    this.player.allow(view.play);
    this.parts.showTime(view);
    this.#draw();
  }

  #played() {
    const { playing, mediaId } = this.player;
    const now = playing ? mediaId : "";
    if (this.#reported !== now) this.session.report();
    this.#reported = now;
    this.#draw();
  }

  #streamChanged({ changed, camera }) {
    if (changed.includes("camera")) {
      this.player.hold("camera", camera !== "on");
      this.parts.showPreview(this.camera.stream);
    }
    if (changed.includes("network")) {
      this.player.hold("elsewhere", ["taken", "gone"].includes(this.stream.state.network));
    }
    this.#draw();
  }

  #advised(code) {
    const fine = NOT_HIS.has(code) || !known(`advice.${code}`);
    this.#hint = { code: fine ? null : code, since: Date.now() };
    this.#draw();
  }

  #challenged(challenge) {
    const begins = challenge !== null && this.#challenge === null;
    this.#challenge = challenge;
    this.player.hold("challenge", challenge !== null);
    if (begins) document.querySelector("dialog[open]")?.dispatchEvent(new Event("cancel"));
    this.parts.showChallenge(challenge, this.camera.stream);
    if (challenge === null) {
      this.parts.showPreview(this.camera.stream);
      this.session.look(); // it is over: hear at once what became of it
    }
    this.#draw();
  }

  #visible() {
    const hidden = document.visibilityState !== "visible";
    if (hidden === this.hidden) return;
    const before = this.hidden;
    this.hidden = hidden;
    this.player.hold("hidden", hidden);
    if (hidden) this.session.report();
    else if (before) {
      this.#returnedAt = Date.now();
      this.session.look();
      this.parts.showPreview(this.camera.stream);
    }
    this.#draw();
  }

  #touch() {
    this.#touched = true;
  }

  #tick() {
    const { session, stream } = this;
    const cut = !session.contact || stream.state.network === "lost";
    if (!cut) this.cutSince = null;
    else this.cutSince ??= Date.now();
    this.cut = cut && Date.now() - this.cutSince > BLINK_MS;
    this.held = cut && Date.now() - this.cutSince > HOLD_AFTER_MS;
    this.player.hold("network", this.held);
    this.#draw();
  }

  #draw() {
    if (this.gone || !this.session || !this.stream) return;
    const { player, session, stream, parts } = this;
    const { camera, network, awake } = stream.state;
    const now = Date.now();
    const hint = (after) => (now - this.#hint.since > after ? this.#hint.code : null);
    parts.showPlayer({
      playing: player.intends,
      enabled: session.view.play || ["idle", "learner"].includes(session.view.reason),
      positionMs: player.positionMs,
      durationMs: player.durationMs,
      muted: player.video.muted,
    });
    parts.showStatus(
      statusOf({
        view: session.view,
        camera,
        network: network === "lost" && !this.cut ? "on" : network,
        contact: session.contact,
        held: this.held,
        hint: hint(HINT_AFTER_MS),
        blocked: player.blocked,
        wants: player.wants,
        long: now - this.#startedAt > LONG_MS,
        returned: now - this.#returnedAt < WELCOME_MS,
        awake,
        playing: player.playing,
      }),
    );
    if (this.#challenge === null) return;
    const { turn } = this.#challenge;
    parts.showTrouble(troubleOf({ contact: session.contact, hint: hint(TURN_HINT_AFTER_MS), turn }));
  }

  // --- what the learner does ---------------------------------------------------------------

  #toggle() {
    const { player, session } = this;
    if (player.blocked || !session.view.play || !player.wants) this.#act("go-on");
    else player.want(false);
    this.#draw();
  }

  #act(name) {
    if (name === "retry-camera") this.camera.open();
    else if (name === "other-way") this.#otherWay();
    else if (name === "come-back") {
      this.stream.start();
      this.session.comeBack();
    } else {
      this.player.want(true);
      this.session.report({ interaction: true });
    }
    this.#draw();
  }

  #mute() {
    const { video } = this.player;
    video.muted = !video.muted;
    this.#draw();
  }

  #next() {
    this.index += 1;
    if (this.index < this.media.length) {
      const medium = this.media[this.index];
      this.parts.showTitle(medium);
      this.player.load(medium);
      this.player.from(medium, { goesOn: this.goesOn });
      this.player.want(true);
      return;
    }
    this.#finish();
  }

  async #end() {
    const words = { text: "lesson.end.sure", yes: "lesson.end.yes", no: "lesson.end.no" };
    const sure = await question({ title: "lesson.end", ...words });
    if (sure && !this.gone) await this.#finish();
  }

  /** Who cannot turn the head hears how to learn without; the lesson may end there. */
  async #otherWay() {
    const text = h("div", {}, say(h("p"), "route.lead"), otherWay());
    const ends = await question({ title: "route.title", text, yes: "lesson.end", no: "app.back" });
    if (ends && !this.gone) await this.#finish();
  }

  /** Close the session. Frames go on until it is closed: the end check is judged on them. */
  async #finish() {
    this.player.allow(false);
    this.#unlisten();
    fill(this.page, waiting("lesson.ending"));
    try {
      const view = await this.session.close();
      this.#release();
      if (!this.gone) overView(this, { why: view.reason ?? "learner", view });
    } catch (error) {
      if (this.gone) return;
      // Frames go on: the session must not run out while the learner tries again.
      fill(
        this.page,
        say(h("h1"), "lesson.end"),
        trouble(error),
        button("app.retry", () => this.#finish(), { kind: "main full" }),
      );
    }
  }

  #over({ why, view }) {
    this.#unlisten();
    this.#release();
    overView(this, { why, view, lostAt: this.session.lostAt });
  }

  /** The page shows something else: nothing of this lesson goes on, the session may be taken up. */
  leave() {
    this.gone = true;
    this.session?.farewell();
    this.session?.stop();
    this.#unlisten();
    this.#release();
  }

  #unlisten() {
    this.#timers.forEach(clearInterval);
    this.#stops.forEach((stop) => stop());
    this.#timers = [];
    this.#stops = [];
    this.#challenge = null;
    this.parts?.showChallenge(null);
  }

  #release() {
    this.stream?.stop();
    this.camera?.close();
    this.player?.stop();
  }
}
