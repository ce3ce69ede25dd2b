// The camera of a stream: opens it, takes pictures, and notices when somebody takes it away.

const WIDTH = 640;
const HEIGHT = 480;
const PATIENCE_MS = 6_000;
const REOPEN_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

/**
 * Events: `change`, with `detail` the state:
 * `off`      not opened, or closed by us
 * `on`       pictures come
 * `denied`   the learner or the device's settings refuse it
 * `missing`  there is none
 * `busy`     another program holds it
 * `taken`    it was on and gives no picture now: a call, another app, the lens switched off
 */
export class Camera extends EventTarget {
  #stream = null;
  #video = null;
  #wanted = false;
  #tries = 0;
  #timer = null;
  #canvas = null;
  #quality;
  #budget;

  /**
   * @param {object} [options]
   * @param {number} [options.quality]      JPEG quality at most, 0..1
   * @param {number} [options.budgetBytes]  a picture's size to aim at: the quality falls until it
   *                                        fits, never under 0.45
   */
  constructor({ quality = 0.7, budgetBytes = 19_000 } = {}) {
    super();
    this.state = "off";
    this.#quality = { now: quality, most: quality };
    this.#budget = budgetBytes;
    this.onReturn = () => {
      if (document.visibilityState === "visible") this.#reopenSoon(0);
    };
  }

  /** The media stream, for a preview; null while there is none. */
  get stream() {
    return this.#stream;
  }

  /** Open it; answers whether it is on. Asks the learner for permission the first time. */
  async open() {
    if (!this.#wanted) document.addEventListener("visibilitychange", this.onReturn);
    this.#wanted = true;
    await this.#tryToOpen();
    return this.state === "on";
  }

  /** Let go of it; the light beside the lens goes out. */
  close() {
    this.#wanted = false;
    document.removeEventListener("visibilitychange", this.onReturn);
    clearTimeout(this.#timer);
    this.#letGo();
    this.#become("off");
  }

  /** Whether a picture can be taken now. */
  get ready() {
    return this.state === "on" && this.#video !== null && this.#video.readyState >= 2;
  }

  /** Draw the picture of this moment; answers whether there was one. */
  paint(canvas) {
    if (!this.ready) return false;
    const { videoWidth, videoHeight } = this.#video;
    const scale = Math.min(1, WIDTH / Math.max(videoWidth, 1), WIDTH / Math.max(videoHeight, 1));
    const width = Math.max(16, Math.round((videoWidth * scale) / 2) * 2);
    const height = Math.max(16, Math.round((videoHeight * scale) / 2) * 2);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    canvas.getContext("2d", { alpha: false }).drawImage(this.#video, 0, 0, width, height);
    return true;
  }

  /** Take a picture as a JPEG; null where there is none to take. */
  async photo() {
    this.#canvas ??= newCanvas();
    if (!this.paint(this.#canvas)) return null;
    const blob = await asJpeg(this.#canvas, this.#quality.now);
    // What the next picture may be: the scene seldom changes much between two.
    if (blob !== null && blob.size > this.#budget) {
      this.#quality.now = Math.max(0.45, this.#quality.now - 0.05);
    } else if (blob !== null && blob.size < 0.8 * this.#budget) {
      this.#quality.now = Math.min(this.#quality.most, this.#quality.now + 0.02);
    }
    return blob;
  }

  async #tryToOpen() {
    if (!this.#wanted || this.state === "on") return;
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("none", "NotFoundError");
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: {
          facingMode: "user",
          width: { ideal: WIDTH },
          height: { ideal: HEIGHT },
          frameRate: { ideal: 15, max: 30 },
        },
      });
      if (!this.#wanted) {
        stream.getTracks().forEach((track) => track.stop());
        return;
      }
      await this.#use(stream);
    } catch (error) {
      this.#letGo();
      this.#become(stateOf(error));
      this.#reopenSoon();
    }
  }

  async #use(stream) {
    this.#letGo();
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => this.#lost(stream));
    track.addEventListener("mute", () => this.#stream === stream && this.#become("taken"));
    track.addEventListener("unmute", () => this.#stream === stream && this.#become("on"));
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.srcObject = stream;
    this.#stream = stream;
    this.#video = video;
    await firstPicture(video);
    this.#tries = 0;
    this.#become(track.muted ? "taken" : "on");
  }

  #lost(stream) {
    if (this.#stream !== stream) return;
    this.#letGo();
    this.#become("taken");
    this.#reopenSoon();
  }

  #reopenSoon(delayMs) {
    clearTimeout(this.#timer);
    if (!this.#wanted || this.state === "on") return;
    if (this.state === "denied" && delayMs === undefined) return; // asking again would nag
    const wait = delayMs ?? REOPEN_MS[Math.min(this.#tries, REOPEN_MS.length - 1)];
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#tryToOpen(), wait);
  }

  #letGo() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    if (this.#video) this.#video.srcObject = null;
    this.#stream = null;
    this.#video = null;
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("change", { detail: state }));
  }
}

/** A canvas that is nowhere on the page. */
function newCanvas() {
  return typeof OffscreenCanvas === "undefined"
    ? document.createElement("canvas")
    : new OffscreenCanvas(WIDTH, HEIGHT);
}

function asJpeg(canvas, quality) {
  if (canvas.convertToBlob) return canvas.convertToBlob({ type: "image/jpeg", quality });
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
}

/** Wait for a picture; some devices are granted and give none. */
async function firstPicture(video) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new DOMException("no picture", "NotReadableError")), PATIENCE_MS);
  });
  try {
    await Promise.race([video.play(), late]);
  } finally {
    clearTimeout(timer);
  }
}

function stateOf(error) {
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
    case "TypeError":
      return "missing";
    default:
      return "busy";
  }
}
