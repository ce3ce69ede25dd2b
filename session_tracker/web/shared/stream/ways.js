// The three ways in for frames. Each opens, sends when told to, hands on every cue it hears, and says
// when it is lost; when to send, and which way to take, is decided in benren-stream.js.
//
// `open(grant, hooks)` resolves once the way has proven itself, or throws WayLost. From then on
// `hooks.cue(cue)` is called for every cue and `hooks.lost(WayLost)` once, at the end.
// `send(seq)` sends one picture of this moment; it answers whether one was sent.

/**
 * The way does not work (any more). `renew`: the stream or its token is over, ask for another.
 * `taken`: another device or window sends for this stream now; whoever hears this stays away.
 */
export class WayLost extends Error {
  constructor(why, { renew = false, taken = false } = {}) {
    super(why);
    this.name = "WayLost";
    this.renew = renew;
    this.taken = taken;
  }
}

/** Why the service ended a way (verifier/streaming/ways.py, End): a socket's close code, a peer's `end`. */
const CLOSED = { 4001: { taken: true }, 4401: { renew: true }, 4410: { renew: true } };

const OPENING_MS = 6_000;
const PATIENCE_MS = 3_000;
const ANSWER_MS = 15_000;

/** What all ways share: they end once. */
class Way {
  constructor(camera) {
    this.camera = camera;
    this.hooks = null;
    this.bytes = 0;
    this.over = false;
  }

  /** The wished time between two frames, for ways that have to know. */
  async pace() {}

  /** End it in silence. */
  close() {
    this.over = true;
  }

  lose(error) {
    if (this.over) return;
    this.close();
    this.hooks?.lost(error);
  }
}

/** WebRTC: pictures as a video of very few frames, cues over a data channel. */
export class WebRtcWay extends Way {
  static title = "webrtc";
  #peer = null;
  #sender = null;
  #track = null;
  #canvas = document.createElement("canvas");
  #hurry = null;
  #patience = null;
  #pace = null;

  static get possible() {
    return (
      typeof RTCPeerConnection !== "undefined" && "captureStream" in HTMLCanvasElement.prototype
    );
  }

  async open(grant, hooks) {
    this.camera.paint(this.#canvas);
    // A canvas of our own gives a frame exactly when one is wished, however seldom: the encoder's
    // own cap is not made for less than a frame a second.
    const stream = this.#canvas.captureStream(0);
    [this.#track] = stream.getVideoTracks();
    this.#peer = new RTCPeerConnection({ iceServers: grant.ice_servers ?? [] });
    const channel = this.#peer.createDataChannel("benren");
    this.#sender = this.#peer.addTrack(this.#track, stream);
    try {
      await this.#peer.setLocalDescription(await this.#peer.createOffer());
      await gathered(this.#peer);
      const { sdp } = this.#peer.localDescription;
      const headers = { "Content-Type": "application/json" };
      const body = JSON.stringify({ sdp, type: "offer" });
      const offer = { headers, body };
      const answer = await post(grant.offer_path, grant.client_token, offer, OPENING_MS);
      await refuseUnlessOk(answer);
      const opened = this.#opened(channel);
      opened.catch(() => {});
      await this.#peer.setRemoteDescription(await answer.json());
      // A fast start: pictures in quick succession, uncapped, until the first one has been seen.
      this.#hurry = setInterval(() => this.send(), 100);
      setTimeout(() => this.#calm(), OPENING_MS);
      await opened;
    } catch (error) {
      this.close();
      throw error instanceof WayLost ? error : new WayLost(String(error));
    }
    this.hooks = hooks;
    channel.onmessage = (message) => {
      this.#calm();
      const cue = parsed(message.data);
      if (cue && "end" in cue) this.lose(new WayLost(`ended: ${cue.end}`, CLOSED[cue.end]));
      else if (cue) hooks.cue(cue);
    };
    channel.onclose = () => this.lose(new WayLost("channel closed"));
    this.#peer.onconnectionstatechange = () => this.#watch(this.#peer?.connectionState);
  }

  /** A connection that comes back by itself does so late and slowly: a new one is there at once. */
  #watch(state) {
    clearTimeout(this.#patience);
    const lost = () => this.lose(new WayLost(`peer ${state}`));
    if (state === "failed" || state === "closed") lost();
    if (state === "disconnected") this.#patience = setTimeout(lost, PATIENCE_MS);
  }

  #opened(channel) {
    return new Promise((resolve, reject) => {
      const fail = (why) => reject(new WayLost(why));
      const timer = setTimeout(() => fail("no connection in time"), OPENING_MS);
      const settle = (then) => {
        clearTimeout(timer);
        then();
      };
      channel.onopen = () => settle(resolve);
      channel.onclose = () => settle(() => fail("channel closed"));
      this.#peer.onconnectionstatechange = () => {
        if (this.#peer?.connectionState === "failed") settle(() => fail("peer failed"));
      };
    });
  }

  async pace(periodMs, budgetBytes) {
    this.#pace = [periodMs, budgetBytes];
    if (this.#hurry === null) await this.#apply();
  }

  /** The fast start is over: from now on frames leave as they are wished. */
  #calm() {
    if (this.#hurry === null) return;
    clearInterval(this.#hurry);
    this.#hurry = null;
    this.#apply();
  }

  async #apply() {
    if (this.#pace === null || this.over) return;
    const [periodMs, budgetBytes] = this.#pace;
    const parameters = this.#sender.getParameters();
    if (!parameters.encodings?.length) return;
    // Encoders count in whole frames a second; how many leave is decided by `send`.
    const perSecond = Math.max(1, Math.ceil(1_000 / periodMs));
    parameters.degradationPreference = "maintain-resolution";
    parameters.encodings[0].maxFramerate = perSecond;
    parameters.encodings[0].maxBitrate = budgetBytes * 8 * perSecond;
    await this.#sender.setParameters(parameters).catch(() => {});
  }

  async send() {
    if (this.over || !this.camera.paint(this.#canvas)) return false;
    this.#track.requestFrame();
    return true;
  }

  async count() {
    let sent = 0;
    for (const entry of (await this.#peer?.getStats())?.values() ?? []) {
      if (entry.type === "transport" || entry.type === "candidate-pair") {
        sent = Math.max(sent, entry.bytesSent ?? 0);
      }
    }
    return sent;
  }

  close() {
    super.close();
    clearInterval(this.#hurry);
    clearTimeout(this.#patience);
    this.#peer?.close();
    this.#track?.stop();
    this.#peer = null;
  }
}

/** WebSocket: JPEGs behind a small header, a cue for each and whenever something is to be said. */
export class SocketWay extends Way {
  static title = "websocket";
  static possible = typeof WebSocket !== "undefined";
  #socket = null;
  #unanswered = new Map();

  async open(grant, hooks) {
    const address = new URL(grant.socket_path, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, ["benren.v1", `token.${grant.client_token}`]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.close();
        reject(new WayLost("no socket in time"));
      }, OPENING_MS);
      socket.onopen = () => {
        clearTimeout(timer);
        resolve();
      };
      socket.onclose = (event) => {
        clearTimeout(timer);
        reject(new WayLost(`socket refused: ${event.code}`, CLOSED[event.code]));
      };
    });
    this.hooks = hooks;
    socket.onmessage = (message) => {
      const cue = parsed(message.data);
      if (!cue) return;
      if (cue.seq !== null) {
        for (const seq of this.#unanswered.keys()) {
          if (seq <= cue.seq) this.#unanswered.delete(seq);
        }
      }
      hooks.cue(cue);
    };
    socket.onclose = (event) => {
      this.lose(new WayLost(`socket closed: ${event.code}`, CLOSED[event.code]));
    };
  }

  async send(seq) {
    const [oldest] = this.#unanswered.values();
    if (oldest !== undefined && Date.now() - oldest > ANSWER_MS) {
      this.lose(new WayLost("no answer to a frame"));
      return false;
    }
    // What waits in the socket is older than what we could send: newest frame wins.
    if (this.over || this.#socket.bufferedAmount > 0) return false;
    const at = Date.now();
    const blob = await this.camera.photo();
    if (blob === null || this.over || this.#socket.readyState !== WebSocket.OPEN) return false;
    const message = new Uint8Array(16 + blob.size);
    const head = new DataView(message.buffer);
    head.setUint32(0, 0x424e5231); // "BNR1"
    head.setUint32(4, seq);
    head.setBigUint64(8, BigInt(at));
    message.set(new Uint8Array(await blob.arrayBuffer()), 16);
    this.#unanswered.set(seq, at);
    this.#socket.send(message);
    this.bytes += message.length;
    return true;
  }

  async count() {
    return this.bytes;
  }

  close() {
    super.close();
    this.#socket?.close();
  }
}

/** HTTP: one upload for each picture, for networks that let nothing else through. */
export class UploadWay extends Way {
  static title = "http";
  static possible = true;
  #grant = null;
  #waitUntil = 0;
  #busy = false;

  async open(grant, hooks) {
    this.#grant = grant;
    this.hooks = hooks;
  }

  async send(seq) {
    // One at a time: on a slow network pictures would pile up and arrive old.
    if (this.over || this.#busy || Date.now() < this.#waitUntil) return false;
    this.#busy = true;
    let answer;
    try {
      const at = Date.now();
      const blob = await this.camera.photo();
      if (blob === null) return false;
      answer = await this.#upload(seq, at, blob);
      this.bytes += blob.size;
    } catch (error) {
      this.lose(error instanceof WayLost ? error : new WayLost(String(error)));
      return false;
    } finally {
      this.#busy = false;
    }
    if (this.over || !answer) return false;
    this.hooks.cue(answer);
    return true;
  }

  async #upload(seq, at, blob) {
    const response = await post(this.#grant.frames_path, this.#grant.client_token, {
      headers: {
        "Content-Type": "image/jpeg",
        "Benren-Seq": String(seq),
        "Benren-Captured-Ms": String(at),
      },
      body: blob,
    });
    if (response.status === 429 || response.status === 503) {
      const seconds = Number(response.headers.get("Retry-After")) || 2;
      this.#waitUntil = Date.now() + Math.min(seconds, 30) * 1_000;
      return null;
    }
    if ([409, 413, 415, 422].includes(response.status)) return null; // this picture only
    await refuseUnlessOk(response);
    return response.json();
  }

  async count() {
    return this.bytes;
  }
}

export const WAYS = { webrtc: WebRtcWay, websocket: SocketWay, http: UploadWay };

async function post(path, token, request, patienceMs = ANSWER_MS) {
  const gate = new AbortController();
  const timer = setTimeout(() => gate.abort(), patienceMs);
  try {
    return await fetch(path, {
      ...request,
      method: "POST",
      headers: { ...request.headers, Authorization: `Bearer ${token}` },
      signal: gate.signal,
      cache: "no-store",
      credentials: "omit",
    });
  } finally {
    clearTimeout(timer);
  }
}

async function refuseUnlessOk(response) {
  if (response.ok) return;
  const problem = await response.json().catch(() => null);
  const taken = problem?.code === "stream_taken_over";
  const renew = !taken && (response.status === 401 || response.status === 410);
  throw new WayLost(`answer ${response.status}`, { renew, taken });
}

/** Wait until the addresses are known, but not for a server that does not answer. */
function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 1_000);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}

function parsed(text) {
  try {
    const cue = JSON.parse(text);
    return typeof cue === "object" ? cue : null;
  } catch {
    return null;
  }
}
