// The account menu: who I am, sign out.

import { button, byID, setAttribute, setText, show } from './dom.js';

export class Account {
  /** @param {import('./session.js').Session} session */
  constructor(session) {
    this.session = session;
    this.opener = button('account');
    this.menu = byID('account-menu');
    this.name = byID('account-name');
    this.text = byID('account-text');
    this.signIn = button('sign-in');
    this.signOut = button('sign-out');
    this.opener.addEventListener('click', () => this.open(this.menu.hidden !== false));
    this.signIn.addEventListener('click', () => {
      this.open(false);
      void session.begin();
    });
    this.signOut.addEventListener('click', async () => {
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
    this.render();
  }

  /** @param {boolean} isOpen */
  open(isOpen) {
    show(this.menu, isOpen);
    setAttribute(this.opener, 'aria-expanded', String(isOpen));
    if (isOpen) (this.signOut.hidden ? this.signIn : this.signOut).focus();
  }

  render() {
    const { state, subject } = this.session;
    const isIn = state === 'signed-in';
    show(this.opener, isIn || state === 'signed-out');
    if (this.opener.hidden) this.open(false);
    setAttribute(this.opener, 'aria-label', isIn ? `Account: guest ${subject}` : 'Account: signed out');
    setText(this.name, isIn ? 'Guest' : 'Signed out');
    setText(this.text, isIn ? subject : 'Cars are shown; a booking signs you in as a new guest.');
    show(this.signIn, !isIn);
    show(this.signOut, isIn);
    this.opener.classList.toggle('out', !isIn);
  }
}
