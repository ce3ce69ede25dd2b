// Benren's streaming client: the learner's camera to a verifier, by the best way that works.
//
// A module of its own, without dependencies, for any page that holds a session's `stream` grant
// (docs/client.md):
//
//   import { BenrenStream } from "/shared/benren-stream.js";
//   const stream = new BenrenStream({ grant: answer.stream, renew: () => askTheTrackerForAnother() });
//   stream.addEventListener("cue", (event) => show(event.detail));
//   stream.addEventListener("state", (event) => explain(event.detail));
//   await stream.open();       // asks for the camera
//   preview.srcObject = stream.preview;
//   stream.start();            // frames leave, until stop()
//
// Frames leave every `period_ms`, jittered by a tenth. Nothing but the `period_ms` of a cue changes
// that: neither what a picture shows nor what the page does.

import { Camera } from "./stream/camera.js";
import { WAYS, WayLost } from "./stream/ways.js";

export { Camera };

const JITTER = 0.1;
const RETRY_MS = [500, 1_000, 2_000, 3_000, 4_000]; // a gap of 30 s is borne: be back before
const TRIES_BEFORE_NEXT = 2; // of a way that has worked before

/**
 * Events:
 * - `cue`: `detail` is a cue as the service sent it:
 *   `{seq, accepted, advice, period_ms, challenge: null | {id, step, steps, turn, remaining_ms, attempt}}`.
 * - `advice`: `detail` a code, whenever it changes.
 * - `challenge`: `detail` the challenge, or null when it is over; whenever it changes.
 * - `state`: `detail` is `{camera, network, way, visible, awake, changed}`; `changed` names what did.
 *   `camera`: see Camera. `network`: `off` (not started), `connecting`, `on`, `lost` (it was on; we
 *   try again), `gone` (the session has no stream any more), `taken` (another window or device sends for
 *   it; `start()` takes it back). `way`: `webrtc`, `websocket`, `http` or null. `visible`: whether the
 *   page is. `awake`: whether the screen is kept from locking; null while that is not known.
 */
export class BenrenStream extends EventTarget {
  #grant;
  #renew;
  #wishes;
  #camera;
  #ownsCamera;
  #budget;
  #way = null;
  #proven = null;
  #running = false;
  #wanted = false; // here, by whoever called start(); until the first cue
  #period;
  #seq = 0;
  #timer = null;
  #next = 0;
  #retry = null;
  #tries = 0;
  #needsGrant = false;
  #connecting = false;
  #wakeLock = null;
  #state;
  #advice = null;
  #challenge = null;
  #asked = { challenge: null, at: 0 };
  #spent = 0;

  /**
   * @param {object} options
   * @param {object} options.grant     `stream` of a session's answer
   * @param {() => Promise<object|null>} [options.renew]  gives another grant once this one is over;
   *                                   null where the session is over; throws where it cannot be reached
   * @param {string[]} [options.ways]  which ways to try, best first
   * @param {Camera} [options.camera]  a camera that is open already; the caller closes it
   * @param {number} [options.budgetBytes]  size of a picture to aim at
   */
  constructor({
    grant,
    renew = async () => null,
    ways = ["webrtc", "websocket", "http"],
    camera,
    budgetBytes = 19_000,
  }) {
    super();
    this.#grant = grant;
    this.#renew = renew;
    this.#wishes = ways.filter((name) => WAYS[name].possible);
    this.#ownsCamera = camera === undefined;
    this.#camera = camera ?? new Camera({ budgetBytes });
    this.#budget = budgetBytes;
    this.#period = grant.sample_period_ms;
    this.#state = {
      camera: this.#camera.state, network: "off", way: null,
      visible: document.visibilityState === "visible", awake: null,
    };
    this.onCamera = () => {
      this.#became({ camera: this.#camera.state });
      this.#showChallenge();
    };
    this.onVisible = () => {
      const visible = document.visibilityState === "visible";
      this.#became({ visible });
      if (visible) this.#returned();
    };
    this.onOnline = () => this.#returned();
    this.onOffline = () => this.#way?.lose(new WayLost("offline"));
  }

  /** Ask for the camera; answers whether it is on. */
  open() {
    this.#camera.addEventListener("change", this.onCamera);
    return this.#camera.open();
  }

  /** The camera's media stream, for a preview. */
  get preview() {
    return this.#camera.stream;
  }

  /** `{camera, network, way, visible, awake}` */
  get state() {
    return { ...this.#state };
  }

  /** Milliseconds between two frames, as last wished. */
  get periodMs() {
    return this.#period;
  }

  /** Bytes sent so far. */
  async usage() {
    return this.#spent + ((await this.#way?.count()) ?? 0);
  }

  /** Begin to send, or again once it was taken or gone. */
  start() {
    if (this.#running) return;
    this.#running = true;
    this.#wanted = true;
    this.#tries = 0;
    this.#camera.removeEventListener("change", this.onCamera);
    this.#camera.addEventListener("change", this.onCamera);
    document.addEventListener("visibilitychange", this.onVisible);
    window.addEventListener("online", this.onOnline);
    window.addEventListener("offline", this.onOffline);
    this.#became({ network: "connecting", camera: this.#camera.state });
    this.#stayAwake();
    this.#connect();
  }

  /** Stop for good; closes the camera where this stream opened it. */
  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    this.#leaveWay();
    this.#camera.removeEventListener("change", this.onCamera);
    document.removeEventListener("visibilitychange", this.onVisible);
    window.removeEventListener("online", this.onOnline);
    window.removeEventListener("offline", this.onOffline);
    this.#wakeLock?.release().catch(() => {});
    this.#wakeLock = null;
    if (this.#ownsCamera) this.#camera.close();
    this.#asks(null);
    this.#became({ network: "off", way: null, awake: null });
  }

  // --- ways ------------------------------------------------------------------------------

  async #connect() {
    if (this.#connecting || !this.#running) return;
    this.#connecting = true;
    try {
      if (this.#needsGrant && !(await this.#askForGrant())) return;
      for (const name of this.#order()) {
        if (!this.#running || this.#needsGrant) break;
        if (await this.#take(name)) return;
      }
      this.#later();
    } finally {
      this.#connecting = false;
      // Somebody may have lost the way while it was still being opened.
      if (this.#running && this.#way === null && this.#retry === null) this.#later();
    }
  }

  /** The way that worked last comes first, until it has failed again. */
  #order() {
    if (this.#proven === null || this.#tries > TRIES_BEFORE_NEXT) return this.#wishes;
    return [this.#proven, ...this.#wishes.filter((name) => name !== this.#proven)];
  }

  async #askForGrant() {
    try {
      const grant = await this.#renew();
      if (!this.#running) return false;
      if (grant === null) {
        this.#gone();
        return false;
      }
      this.#grant = grant;
      this.#needsGrant = false;
      this.#seq = 0;
      this.#setPeriod(grant.sample_period_ms);
      return true;
    } catch {
      this.#became({ network: "lost" });
      this.#later();
      return false;
    }
  }

  async #take(name) {
    const way = new WAYS[name](this.#camera);
    const hooks = {
      cue: (cue) => this.#way === way && this.#heard(cue),
      lost: (error) => this.#lost(way, error),
    };
    try {
      await way.open(this.#grant, hooks);
    } catch (error) {
      if (error.taken && !this.#wanted) this.#gone("taken");
      this.#needsGrant ||= Boolean(error.renew || error.taken);
      return false;
    }
    if (!this.#running || way.over) {
      way.close();
      return false;
    }
    this.#way = way;
    if (name !== "http") this.#connected(name); // an upload proves itself by its first answer
    else this.#became({ way: name });
    await way.pace(this.#period, this.#budget);
    this.#sendIn(0);
    return true;
  }

  #connected(name) {
    this.#tries = 0;
    this.#proven = name;
    this.#became({ network: "on", way: name });
  }

  #lost(way, error) {
    if (this.#way !== way) return;
    if (error.taken && !this.#wanted) {
      this.#gone("taken");
      return;
    }
    this.#leaveWay();
    this.#needsGrant ||= error.renew || error.taken;
    this.#became({ network: "lost", way: null });
    this.#asks(null);
    this.#later();
  }

  #leaveWay() {
    const way = this.#way;
    this.#way = null;
    clearTimeout(this.#timer);
    way?.count().then((bytes) => { this.#spent += bytes; }, () => {}).finally(() => way.close());
  }

  #gone(network = "gone") {
    this.#leaveWay();
    clearTimeout(this.#timer);
    this.#running = false;
    this.#became({ network, way: null });
    this.#asks(null);
  }

  #later() {
    clearTimeout(this.#retry);
    if (!this.#running) return;
    const wait = RETRY_MS[Math.min(this.#tries, RETRY_MS.length - 1)];
    this.#tries += 1;
    // A stream that is not to be reached may have ended meanwhile.
    if (this.#tries > TRIES_BEFORE_NEXT) this.#needsGrant = true;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#connect();
    }, jittered(wait));
  }

  #returned() {
    this.#stayAwake();
    if (!this.#running || this.#way !== null) return;
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#connect();
  }

  // --- frames ----------------------------------------------------------------------------

  #sendIn(ms) {
    clearTimeout(this.#timer);
    this.#next = performance.now() + ms;
    this.#timer = setTimeout(() => this.#sendNow(), ms);
  }

  async #sendNow() {
    const way = this.#way;
    if (!this.#running || way === null) return;
    this.#sendIn(jittered(this.#period));
    this.#seq += 1; // a number that was tried may have arrived: never again for another picture
    await way.send(this.#seq);
  }

  #setPeriod(ms) {
    const period = Math.min(Math.max(ms, 100), 60_000);
    if (!Number.isFinite(period) || period === this.#period) return;
    this.#period = period;
    this.#way?.pace(period, this.#budget);
    const next = jittered(period);
    if (this.#way && performance.now() + next < this.#next) this.#sendIn(next);
  }

  #heard(cue) {
    this.#wanted = false;
    if (this.#state.network !== "on") this.#connected(this.#state.way);
    if (typeof cue.period_ms === "number") this.#setPeriod(cue.period_ms);
    this.#tell("cue", cue);
    if (cue.advice && cue.advice !== this.#advice) {
      this.#advice = cue.advice;
      this.#tell("advice", cue.advice);
    }
    this.#asks(cue.challenge ?? null);
  }

  #asks(challenge) {
    this.#asked = { challenge, at: performance.now() };
    this.#showChallenge();
  }

  /** Nobody can answer a challenge whose pictures do not arrive: it is over until they do. */
  #showChallenge() {
    const { challenge: asked, at } = this.#asked;
    let challenge = null;
    if (asked !== null && this.#state.camera === "on") {
      const left = Math.max(0, asked.remaining_ms - Math.round(performance.now() - at));
      challenge = { ...asked, remaining_ms: left };
    }
    if (JSON.stringify(challenge) === JSON.stringify(this.#challenge)) return;
    this.#challenge = challenge;
    this.#tell("challenge", challenge);
  }

  // --- state -----------------------------------------------------------------------------

  async #stayAwake() {
    if (!this.#running || this.#wakeLock) return;
    if (document.visibilityState !== "visible") return;
    try {
      if (!navigator.wakeLock) throw new DOMException("none", "NotSupportedError");
      this.#wakeLock = await navigator.wakeLock.request("screen");
      this.#wakeLock.addEventListener("release", () => {
        this.#wakeLock = null;
        if (this.#running) this.#became({ awake: false });
      });
      this.#became({ awake: true });
    } catch {
      this.#wakeLock = null; // low battery, or not allowed: the learner keeps the screen on
      if (this.#running) this.#became({ awake: false });
    }
  }

  #became(change) {
    const changed = Object.keys(change).filter((key) => this.#state[key] !== change[key]);
    if (!changed.length) return;
    this.#state = { ...this.#state, ...change };
    this.#tell("state", { ...this.#state, changed });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function jittered(ms) {
  return ms * (1 + JITTER * (2 * Math.random() - 1));
}
