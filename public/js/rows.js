// Cars as rows of a list: the nearest ones, and what is offered when a car was taken.

import { distance, initials, minutes, vehicle } from './format.js';
import { make, setText } from './dom.js';

/**
 * @typedef {import('./types.js').Driver} Driver
 * @typedef {import('./types.js').Reach} Reach
 * @typedef {{driver: Driver, reach: Reach | null, metres: number}} CarRow  `metres`: by road where known, else straight.
 */

/** How far and how long, in words. @param {CarRow} row */
export function farWords(row) {
  return row.reach
    ? { first: minutes(row.reach.seconds), second: distance(row.reach.metres) }
    : { first: distance(row.metres), second: 'straight line' };
}

export class CarRows {
  /**
   * @param {HTMLElement} list
   * @param {string} testID
   * @param {(driver: Driver) => void} onChoose
   */
  constructor(list, testID, onChoose) {
    this.list = list;
    this.testID = testID;
    this.onChoose = onChoose;
    /** @type {Map<string, {item: HTMLLIElement, driver: Driver, parts: Record<string, HTMLElement>}>} */
    this.rows = new Map();
  }

  /** Someone points at the list or has the focus in it: its order must not change under their hand. */
  get held() {
    return this.list.contains(document.activeElement) || this.list.matches(':hover');
  }

  /** @param {CarRow[]} cars in the order to show */
  render(cars) {
    const wanted = this.held ? this.keepOrder(cars) : cars;
    const ids = new Set(wanted.map((car) => car.driver.id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.item.remove();
      this.rows.delete(id);
    }
    wanted.forEach((car, i) => {
      const row = this.rows.get(car.driver.id) ?? this.add(car.driver);
      row.driver = car.driver;
      const far = farWords(car);
      setText(row.parts.avatar, initials(car.driver.name));
      setText(row.parts.name, car.driver.name);
      setText(row.parts.vehicle, vehicle(car.driver.vehicle));
      setText(row.parts.first, far.first);
      setText(row.parts.second, far.second);
      if (this.list.children[i] !== row.item) this.list.insertBefore(row.item, this.list.children[i] ?? null);
    });
  }

  /** Those that are shown stay in their places; new ones come last. @param {CarRow[]} cars */
  keepOrder(cars) {
    const shown = [...this.list.children].map((item) => item.getAttribute('data-row') ?? '');
    const place = (/** @type {CarRow} */ car) => (shown.includes(car.driver.id) ? shown.indexOf(car.driver.id) : 99);
    return [...cars].sort((a, b) => place(a) - place(b));
  }

  /** @param {Driver} driver */
  add(driver) {
    const parts = {
      avatar: make('span', { class: 'avatar', 'aria-hidden': 'true' }),
      name: make('span', { class: 'name' }),
      vehicle: make('span', { class: 'vehicle' }),
      first: make('b'),
      second: make('span'),
    };
    const button = make(
      'button', { type: 'button', 'data-testid': this.testID, 'data-driver-id': driver.id },
      parts.avatar,
      make('span', { class: 'who' }, parts.name, parts.vehicle),
      make('span', { class: 'far' }, parts.first, parts.second),
    );
    const item = make('li', { 'data-row': driver.id }, button);
    const row = { item, driver, parts };
    button.addEventListener('click', () => this.onChoose(row.driver));
    this.rows.set(driver.id, row);
    return row;
  }
}
