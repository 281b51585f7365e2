// A field for a place: a text box with suggestions (a combobox of the ARIA patterns). It offers named places and streets, the
// person's own place, and a tap on the map.

import { make, setAttribute, setText, show } from './dom.js';

/**
 * @typedef {import('./types.js').Place} Place
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {{name: string, detail: string, at?: Coordinate, act?: () => void}} Option
 */

const optionsMost = 6;

/** A mouse button or a finger is down somewhere on the page. */
let pressed = false;
for (const [event, down] of /** @type {const} */ ([['pointerdown', true], ['pointerup', false], ['pointercancel', false]])) {
  addEventListener(event, () => (pressed = down), { capture: true });
}

/** Lower case without accents, so that "strasse" finds "Straße". @param {string} text */
const plain = (text) =>
  text.toLowerCase().replaceAll('ß', 'ss').normalize('NFD').replace(/\p{M}/gu, '').replace(/str\.?$/u, 'strasse');

/** What can be found by name: places first, heaviest first, then streets. */
export class Gazetteer {
  /** @param {import('./data.js').Roads} roads */
  constructor(roads) {
    /** @type {Place[]} */
    this.places = [];
    /** @type {Map<string, import('./data.js').Edge>} */
    const longest = new Map();
    for (const edge of roads.edges) {
      const other = longest.get(edge.name);
      if (edge.name && (!other || edge.length > other.length)) longest.set(edge.name, edge);
    }
    /** @type {Place[]} */
    this.streets = [...longest.values()]
      .map((edge) => ({ name: edge.name, detail: 'Street', at: edge.points[edge.points.length >> 1] }))
      .sort((a, b) => a.name.localeCompare(b.name, 'de'));
  }

  /** @param {import('./data.js').Label[]} places */
  add(places) {
    this.places = places.map(({ name, kind, at }) => ({
      name: kind === 'station' && name === 'Neubrandenburg' ? 'Neubrandenburg Bahnhof' : name,
      detail: kind.charAt(0).toUpperCase() + kind.slice(1),
      at,
    }));
  }

  /** @param {string} query @returns {Place[]} */
  find(query) {
    const wanted = plain(query.trim());
    if (wanted === '') return this.places.slice(0, optionsMost);
    const starts = (/** @type {Place} */ place) => plain(place.name).split(/[\s-]+/u).some((word) => word.startsWith(wanted));
    const holds = (/** @type {Place} */ place) => plain(place.name).includes(wanted);
    const all = [...this.places, ...this.streets];
    const first = all.filter((place) => starts(place) || plain(place.name).startsWith(wanted));
    return [...first, ...all.filter((place) => !first.includes(place) && holds(place))].slice(0, optionsMost);
  }
}

export class PlaceField {
  /**
   * @param {HTMLElement} root
   * @param {Gazetteer} gazetteer
   * @param {object} actions
   * @param {(place: Place) => void} actions.choose
   * @param {() => void} actions.clear
   * @param {() => void} actions.edit the person is at the field: a tap on the map is meant for it
   * @param {Option[]} extra more options, below the found ones
   */
  constructor(root, gazetteer, actions, extra) {
    this.root = root;
    this.gazetteer = gazetteer;
    this.actions = actions;
    this.extra = extra;
    this.input = /** @type {HTMLInputElement} */ (root.querySelector('input'));
    this.list = /** @type {HTMLElement} */ (root.querySelector('ul'));
    this.clearButton = /** @type {HTMLButtonElement} */ (root.querySelector('.clear'));
    this.errorText = /** @type {HTMLElement} */ (root.querySelector('.error'));
    /** @type {Option[]} */
    this.options = [];
    this.active = -1;
    /** What the field says when nobody is typing. */
    this.value = '';
    this.input.addEventListener('focus', () => {
      this.input.select();
      this.actions.edit();
      this.open('');
    });
    this.input.addEventListener('click', () => {
      if (this.list.hidden) this.open('');
    });
    this.input.addEventListener('input', () => this.open(this.input.value));
    this.input.addEventListener('blur', () => this.closeAfterPress());
    this.input.addEventListener('keydown', (event) => this.key(event));
    // The text box keeps the focus while an option is pressed.
    this.list.addEventListener('pointerdown', (event) => event.preventDefault());
    this.clearButton.addEventListener('click', () => {
      this.actions.clear();
      this.input.focus();
    });
  }

  /** @param {string} name @param {boolean} filled */
  show(name, filled) {
    this.value = name;
    if (this.list.hidden && this.input.value !== name) this.input.value = name;
    show(this.clearButton, filled);
  }

  /** @param {string} text "" for none */
  fail(text) {
    setText(this.errorText, text);
    this.root.classList.toggle('wrong', text !== '');
    setAttribute(this.input, 'aria-invalid', String(text !== ''));
  }

  /** @param {string} query */
  open(query) {
    const found = this.gazetteer.find(query);
    this.options = [...found.map(({ name, detail, at }) => ({ name, detail: detail ?? '', at })), ...this.extra];
    this.active = query.trim() && found.length > 0 ? 0 : -1;
    this.list.replaceChildren(
      ...this.options.map((option, i) => {
        const item = make('li', { role: 'option', id: `${this.list.id}-${i}`, 'aria-selected': 'false' }, option.name);
        if (option.detail) item.append(make('small', {}, option.detail));
        item.addEventListener('click', () => this.take(option));
        return item;
      }),
    );
    show(this.list, true);
    setAttribute(this.input, 'aria-expanded', 'true');
    this.mark();
  }

  /** Closing moves what lies below: not while a button there is being pressed, or the press would miss it. */
  closeAfterPress() {
    if (!pressed) {
      this.close();
      return;
    }
    const later = () => setTimeout(() => document.activeElement === this.input || this.close());
    addEventListener('pointerup', later, { once: true });
    addEventListener('pointercancel', later, { once: true });
  }

  close() {
    show(this.list, false);
    setAttribute(this.input, 'aria-expanded', 'false');
    this.input.removeAttribute('aria-activedescendant');
    this.input.value = this.value;
  }

  mark() {
    [...this.list.children].forEach((item, i) => setAttribute(item, 'aria-selected', String(i === this.active)));
    const active = this.list.children[this.active];
    if (active) {
      setAttribute(this.input, 'aria-activedescendant', active.id);
      active.scrollIntoView({ block: 'nearest' });
    } else {
      this.input.removeAttribute('aria-activedescendant');
    }
  }

  /** @param {Option} option */
  take(option) {
    show(this.list, false);
    if (option.at) this.actions.choose({ at: option.at, name: option.name, detail: option.detail });
    else option.act?.();
    this.close();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const n = this.options.length;
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      if (this.list.hidden) this.open('');
      const step = event.key === 'ArrowDown' ? 1 : -1;
      this.active = this.active < 0 ? (step > 0 ? 0 : n - 1) : (this.active + step + n) % n;
      this.mark();
    } else if (event.key === 'Enter' && !this.list.hidden && this.options[this.active]) {
      this.take(this.options[this.active]);
    } else if (event.key === 'Escape' && !this.list.hidden) {
      this.close();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}
