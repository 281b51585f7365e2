// A WebSocket that comes back. States:
//
//   connecting ──open──▶ live ──lost──▶ waiting ──timer, "Retry now", online, tab shown──▶ connecting
//                         │ close 1000, 1002, 1003, 1007–1010, 3501–3999: ended, only "Retry now" opens it again
//
// It waits random(0, min(30 s, 0.5 s · 2ⁿ)) (full jitter: a thousand pages must not come back in the same instant); n is 0
// again after 10 s of good connection. After 10 s of silence it sends a ping; no answer in 5 s counts as lost.

const waitFirstMs = 500;
const waitMostMs = 30_000;
const goodAfterMs = 10_000;
const silenceMs = 10_000;
const answerMs = 5_000;
const openMs = 10_000;
/** The token with which a socket was opened has expired. */
const tokenExpired = 3005;
/** It was revoked, as by signing out: what comes next is opened without it, or with the next session. */
const tokenRevoked = 3500;
/** So many failures in a row are called offline. */
const offlineAfter = 5;

/**
 * @typedef {{kind: 'connecting' | 'live' | 'waiting' | 'ended', failures: number, retryAt: number, code: number}} FeedState
 *   `retryAt` in `performance.now()` milliseconds; `code` is the last close code.
 */

/** @param {number} code a WebSocket close code @returns {boolean} whether a client comes back after it */
export const isRetried = (code) =>
  code === 1001 || code === 1006 || (code >= 1011 && code <= 1013) || (code >= 3000 && code <= tokenRevoked);

/** The page's own address as a WebSocket's. @param {string} path without a leading slash */
export function socketURL(path) {
  const url = new URL(path, document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = '';
  return url.href;
}

export class Feed {
  /**
   * @param {object} options
   * @param {string} options.url
   * @param {(message: any) => void} options.onMessage
   * @param {(state: FeedState) => void} options.onState
   * @param {boolean} options.pings whether the server answers `{"type":"ping"}` here
   * @param {import('./session.js').Session} options.session with which it is opened
   */
  constructor({ url, onMessage, onState, pings, session }) {
    this.session = session;
    this.url = url;
    this.onMessage = onMessage;
    this.onState = onState;
    this.pings = pings;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {FeedState} */
    this.state = { kind: 'connecting', failures: 0, retryAt: 0, code: 0 };
    this.failures = 0;
    /** Counts attempts: one that has waited too long opens nothing. */
    this.attempt = 0;
    /** Whether the last attempt came to an open socket. */
    this.hasOpened = false;
    this.heard = 0;
    this.retryTimer = 0;
    this.goodTimer = 0;
    this.watchTimer = 0;
    this.pinged = 0;
    this.wake = () => {
      if (document.visibilityState === 'hidden') return;
      if (this.state.kind === 'waiting') this.connect();
      else if (this.state.kind === 'live') this.watch();
    };
    addEventListener('online', this.wake);
    document.addEventListener('visibilitychange', this.wake);
  }

  /** Opens a connection now, whatever is being waited for. */
  connect() {
    this.drop();
    clearTimeout(this.retryTimer);
    this.set('connecting');
    const attempt = ++this.attempt;
    const ready = this.session.ensure();
    if (!ready) this.open();
    else void ready.then(() => attempt === this.attempt && this.state.kind === 'connecting' && this.open());
  }

  open() {
    const socket = new WebSocket(this.url);
    this.hasOpened = false;
    this.socket = socket;
    this.watchTimer = window.setTimeout(() => this.lost(1006), openMs);
    socket.addEventListener('open', () => {
      if (this.socket !== socket) return;
      this.hasOpened = true;
      this.heard = performance.now();
      this.pinged = 0;
      this.goodTimer = window.setTimeout(() => (this.failures = 0), goodAfterMs);
      this.watchIn(silenceMs);
    });
    socket.addEventListener('message', (event) => {
      if (this.socket === socket) this.message(event.data);
    });
    socket.addEventListener('close', (event) => {
      if (this.socket !== socket) return;
      // A browser hides why a handshake was refused. Twice in a row: maybe for want of a session.
      const isLost = event.code === tokenExpired || event.code === tokenRevoked;
      if (isLost || (!this.hasOpened && this.failures === 1)) this.session.isDoubtful = true;
      this.lost(event.code);
    });
  }

  /** @param {unknown} data */
  message(data) {
    this.heard = performance.now();
    this.pinged = 0;
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return;
    }
    if (typeof message !== 'object' || message === null) return;
    if (this.state.kind !== 'live' && message.type !== 'error') this.set('live');
    this.onMessage(message);
  }

  /** @param {number} ms */
  watchIn(ms) {
    clearTimeout(this.watchTimer);
    this.watchTimer = window.setTimeout(() => this.watch(), ms);
  }

  /** Looks whether the connection is still heard of. */
  watch() {
    if (!this.pings) return;
    const now = performance.now();
    if (this.pinged && now - this.pinged >= answerMs - 50) {
      this.lost(1006);
    } else if (now - this.heard >= silenceMs - 50) {
      if (!this.pinged) {
        this.pinged = now;
        this.send({ type: 'ping' });
      }
      this.watchIn(answerMs);
    } else {
      this.watchIn(silenceMs - (now - this.heard));
    }
  }

  /** @param {unknown} message */
  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** The connection is gone. @param {number} code */
  lost(code) {
    this.drop();
    if (code !== 1006 && !isRetried(code)) {
      this.set('ended', 0, code);
      return;
    }
    // Whose token has expired comes back with the next one at once.
    const wait = code === tokenExpired ? 0 : Math.random() * Math.min(waitMostMs, waitFirstMs * 2 ** this.failures);
    this.failures++;
    this.set('waiting', performance.now() + wait, code);
    this.retryTimer = window.setTimeout(() => this.connect(), wait);
  }

  /** Forgets the present socket: nothing that it still says is heard. */
  drop() {
    this.attempt++;
    clearTimeout(this.watchTimer);
    clearTimeout(this.goodTimer);
    const socket = this.socket;
    this.socket = null;
    if (socket && socket.readyState < WebSocket.CLOSING) socket.close(1000);
  }

  /** For good. */
  close() {
    this.drop();
    clearTimeout(this.retryTimer);
    removeEventListener('online', this.wake);
    document.removeEventListener('visibilitychange', this.wake);
    this.onState = () => {};
    this.onMessage = () => {};
  }

  /** @param {FeedState['kind']} kind */
  set(kind, retryAt = 0, code = 0) {
    this.state = { kind, failures: this.failures, retryAt, code };
    this.onState(this.state);
  }
}

/** What the badge calls a state. @param {FeedState} state @returns {'connecting' | 'live' | 'waiting' | 'offline'} */
export function badgeOf(state) {
  if (state.kind === 'ended') return 'offline';
  if (state.failures >= offlineAfter && state.kind !== 'live') return 'offline';
  if (state.kind === 'connecting' && state.failures > 0) return 'waiting';
  return state.kind;
}
