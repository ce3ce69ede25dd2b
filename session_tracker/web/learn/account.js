// Who is signed in, and what the service knows of him.

import { ask, Kept, Problem } from "../shared/api.js";

const kept = new Kept("learner", { local: true });

class Account extends EventTarget {
  me = null;

  /** The learner's token; null where nobody is signed in. */
  get token() {
    const found = kept.get();
    if (!found || found.expires_utc_ms <= Date.now()) return null;
    return found.learner_token;
  }

  /** Sign in with `{code}` or `{link_token}`. Throws Problem. */
  async signIn(proof) {
    kept.set(await ask("POST", "/v1/me/sign-in", { json: proof }));
    this.me = null;
  }

  /** Forget the token here, and at the service where it can be reached. */
  async signOut() {
    const { token } = this;
    this.forget();
    if (token) await ask("POST", "/v1/me/sign-out", { token }).catch(() => {});
  }

  forget() {
    kept.set(null);
    this.me = null;
  }

  /** Ask the service for something as this learner. A sign-in that is over leads to the start. */
  async ask(method, path, options = {}) {
    try {
      return await ask(method, path, { ...options, token: this.token });
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        this.forget();
        this.dispatchEvent(new Event("over"));
      }
      throw error;
    }
  }

  /** Read anew what the service knows. */
  async load() {
    this.me = await this.ask("GET", "/v1/me");
    return this.me;
  }

  /** Whether the face may be used for learning. */
  get mayLearn() {
    const face = this.me?.face;
    return Boolean(this.me?.consent && face && face.state === "approved");
  }

  programme(name) {
    return this.me?.programmes.find((one) => one.name === name) ?? null;
  }
}

export const account = new Account();
