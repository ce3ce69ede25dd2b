// One study session as the device knows it: opens it, reports playback, hears where it stands.

import { ask, Kept, Problem } from "../shared/api.js";
import { account } from "./account.js";

const kept = new Kept("session");
const LIVE = new Set(["created", "awaiting_start_check", "running", "challenged", "paused"]);
const LOOK_MS = { playing: 5_000, standing: 2_000 };
const OTHERS_REPORTS = 10_000; // more than another window sends in a lesson
const AGAIN_MS = [1_000, 2_000, 4_000, 8_000];

/**
 * Events:
 * - `view`: `detail` is the session's newest answer (SessionBody): state, reason, play, credited_s…
 * - `contact`: `detail` whether the service can be reached
 * - `over`: `detail` is `{why, view}`; `why`: `closed`, `suspended`, `taken_over`
 *
 * The rhythm of questions depends on whether the player may run, on nothing else.
 */
export class Session extends EventTarget {
  #seq;
  #timer = null;
  #reportTimer = null;
  #describe = null;
  #queue = Promise.resolve();
  #failures = 0;
  #ended = false;

  #release;

  constructor({ id, token, programme, media, grant, view, seq = 0, release = () => {} }) {
    super();
    this.#release = release;
    Object.assign(this, { id, token, programme, media, grant, view });
    this.#seq = seq;
    this.contact = true;
    this.lostAt = null;
    this.#keep();
  }

  /** Open a session. Throws Problem; 409 where one is open elsewhere. */
  static async open({ programme, media, takeOver = false }) {
    const json = { programme, media, take_over: takeOver };
    const answer = await account.ask("POST", "/v1/me/sessions", { json });
    return new Session({
      id: answer.session_id,
      token: answer.session_token,
      programme,
      media,
      grant: answer.stream,
      view: answer.session,
      release: (await only(answer.session_id)) ?? undefined,
    });
  }

  /** Go on with the session that this tab had before it was loaded anew; null where there is none. */
  static async again(programme, mediaId) {
    const last = kept.get();
    if (!last || last.programme !== programme || !last.media.includes(mediaId)) return null;
    const path = `/v1/sessions/${last.id}`;
    // A tab that was duplicated has the same memory: the session stays with the first one.
    const release = await only(last.id);
    if (release === null) return null;
    try {
      const view = await ask("GET", path, { token: last.token });
      if (LIVE.has(view.state)) {
        const grant = await ask("POST", `${path}/stream`, { token: last.token });
        return new Session({ ...last, grant, view, release });
      }
    } catch (error) {
      if (error.unreachable) {
        release();
        throw error;
      }
    }
    release();
    return null;
  }

  get live() {
    return !this.#ended && LIVE.has(this.view.state);
  }

  /**
   * Begin to report. `describe` gives `{media_id, media_ms, playing, interaction}` of the moment; null
   * where this page has nothing to say.
   */
  start(describe) {
    this.#describe = describe;
    this.#heard(this.view);
    this.report();
    this.#lookSoon();
  }

  /** Report now: at every change, and every `report_every_s` by itself. */
  report({ interaction = false } = {}) {
    if (this.#ended || !this.#describe) return;
    this.#reportIn(this.view.report_every_s);
    const now = this.#describe();
    if (now === null) return;
    now.interaction ||= interaction;
    // One after another: the newest report must arrive last.
    this.#queue = this.#queue.then(() => this.#send(now)).catch(() => {});
  }

  /** Report now, and wait until the service has heard it or could not be reached. */
  async tell() {
    this.report();
    await this.#queue;
  }

  #reportIn(seconds, interaction = false) {
    clearTimeout(this.#reportTimer);
    this.#reportTimer = setTimeout(() => this.report({ interaction }), seconds * 1_000);
  }

  /** The last word of a page that is going away: the player stands still. */
  farewell() {
    const now = this.#ended || !this.#describe ? null : this.#describe();
    if (now === null) return;
    const json = this.#body({ ...now, playing: false });
    this.#ask("POST", "/playback", { json, keepalive: true }).catch(() => {});
  }

  /** Speak for the session again, after another window did: with numbers that it has not used. */
  comeBack() {
    this.#seq += OTHERS_REPORTS;
    this.report();
  }

  /** Ask for another stream; null where the session is over. For BenrenStream's `renew`. */
  async renew() {
    if (this.#ended) return null;
    try {
      return await this.#ask("POST", "/stream");
    } catch (error) {
      if (error.unreachable || error.status >= 500 || error.status === 429) throw error;
      await this.look();
      if (this.live && error.status !== 401) throw error;
      return null;
    }
  }

  /** Ask where the session stands. */
  async look() {
    try {
      this.#heard(await this.#ask("GET", ""));
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Report, then end it; answers the last view. Throws Problem: it goes on then, and so do the reports.
   *
   * Without the last report the service would not know how far the player came, and hold what the next
   * session shows for skipped to.
   */
  async close() {
    clearTimeout(this.#timer);
    this.report();
    await this.#queue;
    clearTimeout(this.#reportTimer);
    try {
      this.view = await this.#ask("POST", "/close", { timeoutS: 60 });
    } catch (error) {
      this.report();
      throw error;
    }
    this.stop();
    kept.set(null);
    return this.view;
  }

  /** Report and ask no more; the session itself goes on until it is closed or runs out. */
  stop() {
    this.#ended = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#reportTimer);
    this.#release();
  }

  // --- what happens ------------------------------------------------------------------------

  #ask(method, rest, options = {}) {
    return ask(method, `/v1/sessions/${this.id}${rest}`, {
      ...options,
      token: this.token,
      timeoutS: options.timeoutS ?? 10,
    });
  }

  #body(now) {
    this.#seq += 1;
    this.#keep();
    return { seq: this.#seq, client_ms: Date.now(), ...now };
  }

  async #send(now) {
    if (this.#ended) return;
    try {
      this.#heard(await this.#ask("POST", "/playback", { json: this.#body(now) }));
    } catch (error) {
      // Where the session has ended its view says how, and shows all that was credited.
      if (error.status === 409) await this.look();
      this.#failed(error);
      // It must hear of this yet.
      if (error.status === 429) this.#reportIn(error.retryAfterS ?? 1, now.interaction);
    }
  }

  #lookSoon() {
    clearTimeout(this.#timer);
    if (this.#ended) return;
    const wait = this.contact
      ? LOOK_MS[this.view.play ? "playing" : "standing"]
      : AGAIN_MS[Math.min(this.#failures, AGAIN_MS.length - 1)];
    this.#timer = setTimeout(async () => {
      await this.look();
      this.#lookSoon();
    }, wait);
  }

  #heard(view) {
    if (this.#ended) return;
    this.view = view;
    this.#failures = 0;
    this.#contact(true);
    this.#tell("view", view);
    if (view.state === "suspended") this.#over("suspended");
    else if (!LIVE.has(view.state)) this.#over(view.reason ?? "closed");
  }

  #failed(error) {
    if (!(error instanceof Problem)) throw error;
    if (this.#ended) return;
    if (error.unreachable || error.status >= 500) {
      this.#failures += 1;
      this.#contact(false);
    } else if (error.code === "taken_over") {
      this.#over("taken_over");
    } else if ([401, 403, 404, 410].includes(error.status)) {
      this.#over("closed");
    }
  }

  #contact(reached) {
    if (this.contact === reached) return;
    this.contact = reached;
    if (!reached) this.lostAt = Date.now();
    this.#tell("contact", reached);
    if (reached) this.report();
  }

  #over(why) {
    this.stop();
    kept.set(null);
    this.#tell("over", { why, view: this.view });
  }

  #keep() {
    const { id, token, programme, media } = this;
    kept.set({ id, token, programme, media, seq: this.#seq });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Hold a session for this tab; gives what lets go of it, or null where another tab holds it. */
function only(id) {
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((resolve) => {
    const options = { ifAvailable: true };
    navigator.locks
      .request(`benren.session.${id}`, options, (lock) => {
        if (lock === null) {
          resolve(null);
          return undefined;
        }
        return new Promise((release) => resolve(release));
      })
      .catch(() => resolve(() => {}));
  });
}
