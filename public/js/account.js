// The account menu: who I am, sign in, sign out.

import { button, byID, setAttribute, setText, show } from './dom.js';

/** Why the provider's sign-in came to nothing, by the code that the gateway sends the page. @type {Record<string, string>} */
const failures = {
  'sign-in-expired': 'The sign-in took too long, or was begun in another browser. Try again.',
  'sign-in-refused': 'The sign-in was not completed. Try again.',
  'issuer-unavailable': 'Signing in is not possible right now. Try again in a moment.',
};

export class Account {
  /** @param {import('./session.js').Session} session @param {() => boolean} hasTrip whether a trip is under way here */
  constructor(session, hasTrip) {
    this.session = session;
    this.hasTrip = hasTrip;
    /** What was pressed once, and would lose a guest's trip. @type {HTMLElement | null} */
    this.warned = null;
    this.opener = button('account');
    this.menu = byID('account-menu');
    this.name = byID('account-name');
    this.text = byID('account-text');
    this.logIn = button('log-in');
    this.signIn = button('sign-in');
    this.signOut = button('sign-out');
    this.opener.addEventListener('click', () => this.open(this.menu.hidden !== false));
    this.logIn.addEventListener('click', () => {
      if (!this.warns(this.logIn)) session.logIn();
    });
    this.signIn.addEventListener('click', () => {
      this.open(false);
      void session.begin();
    });
    this.signOut.addEventListener('click', async () => {
      if (this.warns(this.signOut)) return;
      this.signOut.disabled = true;
      const isDone = await session.signOut();
      this.signOut.disabled = false;
      if (!isDone) setText(this.text, 'The gateway did not answer. You are still signed in.');
    });
    document.addEventListener('pointerdown', (event) => {
      if (!(event.target instanceof Node) || this.menu.contains(event.target) || this.opener.contains(event.target)) return;
      this.open(false);
    });
    for (const element of [this.menu, this.opener]) {
      element.addEventListener('keydown', (event) => {
        if (event.key !== 'Escape' || this.menu.hidden) return;
        event.stopPropagation();
        this.open(false);
        this.opener.focus();
      });
    }
    this.failure = takeFailure();
    this.render();
    if (this.failure && !this.opener.hidden) this.open(true);
  }

  /** Nobody comes back as the same guest, and nobody else sees their trip: who would leave it behind is asked to press twice.
   * @param {HTMLElement} pressed @returns {boolean} whether this was the first time */
  warns(pressed) {
    if (this.session.name || !this.hasTrip() || this.warned === pressed) return false;
    this.warned = pressed;
    setText(this.text, 'Your trip goes on, but only this guest can see or cancel it. Press again to leave it behind.');
    return true;
  }

  /** @param {boolean} isOpen */
  open(isOpen) {
    show(this.menu, isOpen);
    setAttribute(this.opener, 'aria-expanded', String(isOpen));
    if (!isOpen && (this.failure || this.warned)) {
      this.failure = '';
      this.render();
    }
    if (isOpen) [this.logIn, this.signIn, this.signOut].find((each) => !each.hidden)?.focus();
  }

  render() {
    this.warned = null;
    const { state, subject, name, loginURL } = this.session;
    const isIn = state === 'signed-in';
    show(this.opener, isIn || state === 'signed-out');
    if (this.opener.hidden) show(this.menu, false);
    setAttribute(this.opener, 'aria-label', isIn ? `Account: ${name || `guest ${subject}`}` : 'Account: signed out');
    setText(this.name, isIn ? name || 'Guest' : 'Signed out');
    setText(this.text, this.failure || (isIn ? subject : 'Cars are shown; a booking signs you in as a new guest.'));
    show(this.logIn, loginURL !== '' && !(isIn && name));
    show(this.signIn, !isIn);
    show(this.signOut, isIn);
    this.opener.classList.toggle('out', !isIn);
  }
}

/** What went wrong with a sign-in that has led here, in words; it is told once. */
function takeFailure() {
  const url = new URL(location.href);
  const code = url.searchParams.get('sign-in');
  if (code === null) return '';
  url.searchParams.delete('sign-in');
  history.replaceState(history.state, '', url);
  return failures[code] ?? 'Signing in has failed. Try again, or go on as a guest.';
}
