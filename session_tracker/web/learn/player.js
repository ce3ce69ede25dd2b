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

  /** Show a medium, from where it was last watched to. */
  load(medium) {
    this.#medium = medium;
    this.#highWater = medium.high_water_ms ?? this.#seen.get()?.[medium.media_id] ?? 0;
    const atEnd = this.#highWater >= medium.duration_ms - 1_000;
    const startS = atEnd ? 0 : Math.max(0, this.#highWater / 1000 - 1);
    this.video.src = medium.src;
    this.video.load();
    this.video.addEventListener(
      "loadedmetadata",
      () => {
        if (startS) this.video.currentTime = startS;
      },
      { once: true },
    );
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
    if (this.video.seeking || at <= this.#highWater) return;
    this.#highWater = at;
    this.#seen.set({ ...this.#seen.get(), [this.mediaId]: at });
    this.#changed();
  }

  #holdBack() {
    const most = this.#highWater / 1000 + SLACK_S;
    if (this.video.currentTime > most) this.video.currentTime = this.#highWater / 1000;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
