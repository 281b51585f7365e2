// The connection badge: Connecting · Live · Reconnecting in 4 s · Offline. Only the words are announced, not the seconds.

import { badgeOf } from './feed.js';
import { button, byID, setText, show } from './dom.js';

const words = { connecting: 'Connecting', live: 'Live', waiting: 'Reconnecting', offline: 'Offline' };

export class Badge {
  /** @param {() => void} onRetry */
  constructor(onRetry) {
    this.element = byID('badge');
    this.text = byID('badge-text');
    this.wait = byID('badge-wait');
    this.retry = button('retry');
    this.retry.addEventListener('click', onRetry);
    /** @type {import('./feed.js').FeedState | null} */
    this.state = null;
    /** The server sends an old list because it can't reach the drivers. */
    this.delayed = false;
    setInterval(() => this.render(), 500);
  }

  /** @param {import('./feed.js').FeedState} state */
  update(state) {
    this.state = state;
    this.render();
  }

  render() {
    if (!this.state) return;
    const kind = badgeOf(this.state);
    const delayed = kind === 'live' && this.delayed;
    this.element.className = `badge ${delayed ? 'waiting' : kind}`;
    setText(this.text, delayed ? 'Delayed' : words[kind]);
    const seconds = Math.ceil((this.state.retryAt - performance.now()) / 1000);
    const counts = kind === 'waiting' && this.state.kind === 'waiting' && seconds > 0;
    setText(this.wait, counts ? ` in ${seconds} s` : '');
    show(this.retry, kind === 'offline');
  }
}
