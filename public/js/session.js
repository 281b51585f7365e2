// Who this browser is to the gateway. The tokens are in cookies that no script can read: the page knows a name, and when to go on.
//
//   unknown ──begin──▶ signed-in ──two thirds of its time──▶ (begin) ──sign out──▶ signed-out ──begin──▶ signed-in, as somebody else
//      └──the gateway asks nobody──▶ open

import { NoAnswer, call } from './api.js';

/** @typedef {'unknown' | 'open' | 'signed-in' | 'signed-out'} SessionState */

/** A session that is nearly over is renewed before it is used. */
const marginMs = 30_000;
/** After a failure the timer tries again. */
const retryMs = 20_000;
const lockName = 'cabstand.session';

export class Session {
  constructor() {
    /** Somebody else is signed in, or nobody. */
    this.onChange = () => {};
    /** @type {SessionState} */
    this.state = 'unknown';
    /** The rider's id. */
    this.subject = '';
    /** What people call them; empty: a guest. */
    this.name = '';
    /** Where to sign in with a name; empty: nowhere. */
    this.loginURL = '';
    /** Of the access token, `performance.now()` milliseconds. */
    this.endsAt = 0;
    /** A socket was not let in: the cookies may not be what the page thinks. */
    this.isDoubtful = false;
    /** @type {Promise<boolean> | null} */
    this.beginning = null;
    this.timer = 0;
    // Cookies belong to the browser: what one window does holds for all.
    this.channel = 'BroadcastChannel' in window ? new BroadcastChannel(lockName) : null;
    this.channel?.addEventListener('message', (event) => {
      if (event.data === 'signed-out') this.ended();
      const { subject } = event.data ?? {};
      if (this.state === 'signed-in' && typeof subject === 'string' && subject !== this.subject) void this.begin();
    });
  }

  /** What has to be waited for before a request or a socket; null: nothing. @returns {Promise<boolean> | null} */
  ensure() {
    if (this.state === 'open' || this.state === 'signed-out') return null;
    if (this.state === 'signed-in' && !this.isDoubtful && performance.now() < this.endsAt - marginMs) return null;
    return this.begin();
  }

  /** Goes on with the session that the browser has, or begins one of a new guest. @returns {Promise<boolean>} whether there is an answer */
  begin() {
    this.beginning ??= this.locked().finally(() => (this.beginning = null));
    return this.beginning;
  }

  /** One window at a time: a refresh token is good once, and used twice it ends the session. */
  async locked() {
    const { locks } = navigator;
    return locks ? locks.request(lockName, () => this.ask()) : this.ask();
  }

  async ask() {
    clearTimeout(this.timer);
    let answer;
    try {
      answer = await call('POST', 'auth/session', { renews: false, outlives: true });
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      this.again(retryMs);
      return false;
    }
    if (answer.problem) {
      this.again(retryMs);
      return false;
    }
    if (typeof answer.body?.subject !== 'string') {
      this.become('open', '');
      return true;
    }
    const lifeMs = 1000 * (Number(answer.body.expires_in) || 60);
    this.endsAt = performance.now() + lifeMs;
    this.isDoubtful = false;
    this.again((lifeMs * 2) / 3);
    this.loginURL = webAddress(answer.body.sign_in);
    const { subject, name } = answer.body;
    if (subject !== this.subject) this.channel?.postMessage({ subject });
    this.become('signed-in', subject, typeof name === 'string' ? name : '');
    return true;
  }

  /** @param {number} ms */
  again(ms) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.begin(), ms * (0.9 + Math.random() / 10));
  }

  /** Leaves the page to sign in with a name; the way back is to what is shown now. */
  logIn() {
    const { pathname, search, hash } = location;
    location.assign(`${this.loginURL}?return=${encodeURIComponent(pathname + search + hash)}`);
  }

  /** @returns {Promise<boolean>} whether the session has ended */
  async signOut() {
    try {
      const { problem } = await call('DELETE', 'auth/session', { renews: false });
      if (problem) return false;
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      return false;
    }
    this.channel?.postMessage('signed-out');
    this.ended();
    return true;
  }

  ended() {
    clearTimeout(this.timer);
    this.become('signed-out', '');
  }

  /** @param {SessionState} state @param {string} subject @param {string} [name] */
  become(state, subject, name = '') {
    if (this.state === state && this.subject === subject && this.name === name) return;
    this.state = state;
    this.subject = subject;
    this.name = name;
    this.onChange();
  }
}

/** An address to which a page may be sent; empty: it is none. @param {unknown} text */
function webAddress(text) {
  return typeof text === 'string' && /^https?:\/\//.test(text) ? text : '';
}
