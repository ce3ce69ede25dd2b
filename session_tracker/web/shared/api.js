// Speaks to the service: JSON in and out, problem details (RFC 9457) as exceptions.

/** A refusal of the service, or `status` 0 where it could not be reached. */
export class Problem extends Error {
  constructor({ status, code, detail, remedy, reasons, retryAfterS }) {
    super(detail || code);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.remedy = remedy ?? "";
    this.reasons = reasons ?? [];
    this.retryAfterS = retryAfterS ?? null;
  }

  /** Whether the network, and not the service, is what failed. */
  get unreachable() {
    return this.status === 0;
  }
}

/**
 * Ask the service.
 *
 * @param {string} method
 * @param {string} path
 * @param {object} [options]
 * @param {string} [options.token]      bearer token
 * @param {object} [options.json]       body as JSON
 * @param {Blob}   [options.picture]    body as a picture
 * @param {boolean} [options.keepalive] may outlive the page (a last report)
 * @param {number} [options.timeoutS]
 * @returns {Promise<object|null>} the JSON of the answer; null where there is none
 */
export async function ask(method, path, options = {}) {
  const { token, json, picture, keepalive = false, timeoutS = 30 } = options;
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  let body;
  if (json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  } else if (picture) {
    headers["Content-Type"] = picture.type || "image/jpeg";
    body = picture;
  }
  const gate = new AbortController();
  const timer = setTimeout(() => gate.abort(), timeoutS * 1000);
  try {
    const response = await fetch(path, {
      method, headers, body, keepalive, signal: gate.signal, cache: "no-store",
      credentials: "omit", redirect: "error",
    });
    if (response.ok) {
      return response.status === 204 ? null : await response.json();
    }
    throw await problemOf(response);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem({ status: 0, code: "unreachable", detail: String(error) });
  } finally {
    clearTimeout(timer);
  }
}

async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // an answer of something between us and the service
  }
  return new Problem({
    status: response.status,
    code: body.code ?? `http_${response.status}`,
    detail: body.detail ?? "",
    remedy: body.remedy,
    reasons: body.reasons,
    retryAfterS: body.retry_after_s ?? numberOf(response.headers.get("Retry-After")),
  });
}

function numberOf(text) {
  const value = Number(text);
  return text !== null && Number.isFinite(value) ? value : null;
}

/** A value that is kept in this browser (`local`) or in this tab; lost without harm. */
export class Kept {
  constructor(name, { local = false } = {}) {
    this.name = `benren.${name}`;
    this.store = local ? "localStorage" : "sessionStorage";
    this.memory = null;
  }

  get() {
    try {
      const text = window[this.store].getItem(this.name);
      return text === null ? this.memory : JSON.parse(text);
    } catch {
      return this.memory;
    }
  }

  set(value) {
    this.memory = value;
    try {
      if (value === null) window[this.store].removeItem(this.name);
      else window[this.store].setItem(this.name, JSON.stringify(value));
    } catch {
      // private mode: kept in memory as long as the page lives
    }
  }
}
