// The one calm line under the video: what is going on, and what the learner can do. Pure, so that
// every situation can be tested.

import { known } from "../shared/i18n.js";

/**
 * What to say in a situation.
 *
 * @param {object} now
 * @param {object} now.view        the session's newest answer
 * @param {string} now.camera      state of the camera
 * @param {string} now.network     state of the stream's network
 * @param {boolean} now.contact    whether the tracker can be reached
 * @param {boolean} now.held       whether the page stopped the player because of the network
 * @param {string|null} now.hint   advice that has stood for a while; null where all is well
 * @param {boolean} now.blocked    the browser wants a tap
 * @param {boolean} now.wants      the learner wants the player to run
 * @param {boolean} now.returned   just came back to the page
 * @param {boolean} now.long       the start has taken longer than usual
 * @param {boolean|null} now.awake whether the screen is kept on; null where that is not known
 * @param {boolean} now.playing    whether pictures of the lesson move
 * @returns {{tone: string, title: string, todo: string, act: string|null}}  keys of the vocabulary;
 *   `act`: `retry-camera`, `go-on`, `come-back` or `other-way`, where there is something to press
 */
export function statusOf(now) {
  const { view } = now;
  if (now.camera !== "on") {
    const act = now.camera === "denied" || now.camera === "missing" ? "retry-camera" : null;
    return says(now.camera === "off" ? "" : "bad", `camera.${now.camera}`, `camera.${now.camera}.do`, act);
  }
  if (now.network === "taken" || now.network === "gone") {
    const key = `status.${now.network}`;
    return says("attention", key, `${key}.do`, "come-back");
  }
  if (!now.contact || now.network === "lost") {
    const key = now.held || !view.play ? "status.network.long" : "status.network";
    return says("attention", key, `${key}.do`);
  }
  if (view.state === "challenged") return says("", "status.challenged", "status.challenged.do");
  if (view.reason === "challenge") {
    const todo = now.hint ? `advice.${now.hint}` : "do.challenge";
    return says("attention", "pause.challenge", todo, "other-way");
  }
  if (view.state === "awaiting_start_check") {
    if (now.network === "connecting") {
      return says("", "status.connecting", "status.connecting.do");
    }
    if (now.hint) return says("attention", "pause.start_check", `advice.${now.hint}`);
    return says(now.long ? "attention" : "", "pause.start_check", now.long ? "do.start_long" : "do.start_check");
  }
  if (!view.play && view.reason) {
    const byHand = view.reason === "idle" || view.reason === "learner";
    return why(view.reason, now.wants && view.reason === "learner" ? "" : "attention", byHand ? "go-on" : null);
  }
  if (now.blocked) return says("attention", "status.tap", "status.tap.do", "go-on");
  if (view.reason) return why(view.reason, "attention");
  if (!now.wants) return says("", "pause.learner", "do.learner", "go-on");
  if (now.hint) return says("attention", `advice.${now.hint}`, null);
  if (now.returned) return says("", "status.hidden", "status.hidden.do");
  const dims = now.awake === false && now.playing;
  return says("good", "status.good", dims ? "status.awake" : "status.good.do");
}

/**
 * What is in the way of a challenge that is shown, as a key of the vocabulary; null where nothing is.
 *
 * @param {object} now
 * @param {boolean} now.contact
 * @param {string|null} now.hint   advice that has stood for a while
 * @param {string|null} now.turn   what is asked for
 */
export function troubleOf({ contact, hint, turn }) {
  if (!contact) return "status.network";
  // Who turns his head as he was asked does not look straight at the camera.
  if (!hint || (hint === "face_camera" && turn !== "centre")) return null;
  return `advice.${hint}`;
}

function why(reason, tone, act = null) {
  const name = known(`pause.${reason}`) ? reason : "system_error";
  return says(tone, `pause.${name}`, `do.${name}`, act);
}

function says(tone, title, todo, act = null) {
  return { tone, title, todo, act };
}
