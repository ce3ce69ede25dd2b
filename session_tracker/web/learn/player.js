// The lesson's video, under the rules of time: it runs only while the service lets it and the
// learner wants it, at its own speed, and never leads beyond what was watched.

import { Kept } from "../shared/api.js";

const SLACK_S = 0.75; // how far beyond the high-water mark a player may land by its own rounding

/**
 * Events: `change` (playing or not), `blocked` (the browser wants a tap first), `ended`.
 */
export class Player extends EventTarget {
  #may = false;
  #wants = true;
  #holds = new Set();
  #seen;
  #highWater = 0;
  #medium = null;
  #begun = false;
  #gaps = [];

  /**
   * @param {HTMLVideoElement} video
   * @param {string} owner   whose high-water marks these are
   */
  constructor(video, owner) {
    super();
    this.video = video;
    this.blocked = false;
    this.#seen = new Kept(`seen.${owner}`, { local: true });
    video.playsInline = true;
    video.disablePictureInPicture = true;
    video.preload = "auto";
    video.addEventListener("timeupdate", () => this.#advance());
    video.addEventListener("seeking", () => this.#holdBack());
    video.addEventListener("ratechange", () => {
      if (video.playbackRate !== 1) video.playbackRate = 1;
    });
    video.addEventListener("playing", () => this.#changed());
    video.addEventListener("waiting", () => this.#changed());
    video.addEventListener("pause", () => {
      // Headsets and lock screens pause, too: that is the learner's wish.
      if (!video.ended && this.#should && !this.blocked) this.#wants = false;
      this.#changed();
    });
    video.addEventListener("play", () => {
      if (!this.#should) video.pause();
    });
    video.addEventListener("ended", () => {
      this.#advance();
      this.#changed();
      this.dispatchEvent(new Event("ended"));
    });
  }

  /** Begin to load a medium; `from` says later where it begins. */
  load(medium) {
    this.#medium = medium;
    this.#begun = false;
    this.#highWater = 0;
    this.#gaps = [];
    this.video.src = playable(this.video, medium);
    this.video.load();
  }

  /**
   * Begin where the medium, as the service knows it now, was watched to; with `catchUp` only the
   * stretches before that which were played but not credited (they may be earned again), one after
   * another.
   *
   * What this device has shown, and never told, was not watched: a new session that began there would
   * be void. With `goesOn` the session is the same as before, and its reports cover that.
   */
  from(medium, { catchUp = false, goesOn = false } = {}) {
    this.#medium = medium;
    this.#begun = true;
    const resume = medium.resume_ms ?? 0;
    const shown = Math.max(resume, this.#seen.get()?.[medium.media_id] ?? 0);
    this.#highWater = goesOn ? shown : Math.min(shown, Math.max(resume, medium.reach_ms ?? 0));
    const atEnd = this.#highWater >= medium.duration_ms - 1_000;
    this.#gaps = catchUp ? [...(medium.gaps ?? [])] : [];
    const startMs = this.#gaps.length ? this.#gaps[0][0] : atEnd ? 0 : this.#highWater;
    const go = () => {
      this.video.currentTime = Math.max(0, startMs / 1000 - 0.5);
    };
    if (this.video.readyState >= 1) go();
    else this.video.addEventListener("loadedmetadata", go, { once: true });
  }

  get mediaId() {
    return this.#medium?.media_id ?? null;
  }

  get positionMs() {
    return Math.max(0, Math.round(this.video.currentTime * 1000));
  }

  get durationMs() {
    const { duration } = this.video;
    return Number.isFinite(duration) ? Math.round(duration * 1000) : (this.#medium?.duration_ms ?? 0);
  }

  /** Whether pictures move. */
  get playing() {
    const { video } = this;
    return !video.paused && !video.ended && video.readyState >= 2;
  }

  get wants() {
    return this.#wants;
  }

  /** Whether it plays, or does so as soon as it has loaded enough. */
  get intends() {
    return this.#should && !this.blocked;
  }

  get #should() {
    return this.#may && this.#wants && this.#holds.size === 0;
  }

  /** The service lets it play, or not. */
  allow(may) {
    this.#may = may;
    return this.#obey();
  }

  /** The learner wants it to play, or not. */
  want(wants) {
    this.#wants = wants;
    return this.#obey();
  }

  /** The page itself has a reason to stand still (`hidden`, `camera`, `network`). */
  hold(reason, held) {
    if (held) this.#holds.add(reason);
    else this.#holds.delete(reason);
    return this.#obey();
  }

  /** To be called within a tap: browsers let a video play later only if it began within one. */
  async unlock() {
    try {
      this.video.muted = true;
      await this.video.play();
    } catch {
      // then a tap will be asked for
    } finally {
      if (!this.#should) this.video.pause();
      this.video.muted = false;
    }
  }

  back(seconds) {
    this.video.currentTime = Math.max(0, this.video.currentTime - seconds);
  }

  stop() {
    this.#may = false;
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
  }

  async #obey() {
    const { video } = this;
    if (!this.#should) {
      this.blocked = false;
      if (!video.paused) video.pause();
      return;
    }
    if (!video.paused || video.ended) return;
    try {
      await video.play();
      this.blocked = false;
    } catch (error) {
      if (error.name !== "NotAllowedError") return; // paused again meanwhile
      this.blocked = true;
      this.dispatchEvent(new Event("blocked"));
    }
  }

  #advance() {
    const at = this.positionMs;
    if (this.#gaps.length && at >= this.#gaps[0][1] && !this.#holds.has("skip")) this.#skip();
    if (!this.#begun || this.video.seeking || at <= this.#highWater) return;
    this.#highWater = at;
    this.#seen.set({ ...this.#seen.get(), [this.mediaId]: at });
    this.#changed();
  }

  /** Go on to the next stretch, standing still on the way: a jump while playing would not count. */
  #skip() {
    const { video } = this;
    this.#gaps.shift();
    const to = this.#gaps.length ? this.#gaps[0][0] : this.#highWater;
    if (to <= this.positionMs + 1_000) return;
    const goOn = () => this.hold("skip", false);
    const jump = () => {
      video.addEventListener("seeked", goOn, { once: true });
      video.currentTime = Math.max(0, to / 1000 - 0.5);
    };
    video.addEventListener("pause", () => setTimeout(jump), { once: true });
    this.hold("skip", true);
  }

  #holdBack() {
    const most = this.#highWater / 1000 + SLACK_S;
    if (this.video.currentTime > most) this.video.currentTime = this.#highWater / 1000;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The first source of a medium that this browser plays: some telephones play no WebM. */
function playable(video, medium) {
  const types = { mp4: "video/mp4", webm: "video/webm" };
  const sources = [medium.src, ...(medium.also ?? [])];
  const plays = (source) => {
    const type = types[source.split(/[?#]/)[0].split(".").pop()];
    return !type || video.canPlayType(type) !== "";
  };
  return sources.find(plays) ?? medium.src;
}
