// The trip's timeline: Booked → On the way → On board → Completed, or Cancelled.

import { clock } from './format.js';
import { byID, make, setAttribute, setText } from './dom.js';

/**
 * @typedef {import('./types.js').Trip} Trip
 * @typedef {'on-the-way' | 'on-board' | 'completed' | 'cancelled'} TripState
 */

/** @param {Trip} trip @returns {TripState} */
export function tripState(trip) {
  if (trip.status === 'completed' || trip.status === 'cancelled') return trip.status;
  return trip.picked_up_at ? 'on-board' : 'on-the-way';
}

/**
 * @param {Trip} trip
 * @param {string} where what is known of the car now: "1.1 km away on Ringstraße"
 * @param {string} soon when the next step is due: "in 3 min"
 */
function steps(trip, where, soon) {
  const state = tripState(trip);
  const mark = (/** @type {boolean} */ done, /** @type {boolean} */ now) => (done ? 'done' : now ? 'now' : '');
  const onTheWay = state === 'on-the-way';
  const onBoard = state === 'on-board';
  const list = [
    { name: 'Booked', mark: 'done', time: clock(trip.created_at), detail: trip.driver ? `with ${trip.driver.name}` : '' },
    {
      name: 'On the way',
      mark: mark(!!trip.picked_up_at || state === 'completed', onTheWay),
      time: onTheWay ? soon : clock(trip.created_at),
      detail: onTheWay ? where : '',
    },
  ];
  if (state === 'cancelled') {
    if (!trip.picked_up_at) list.pop();
    else list.push({ name: 'On board', mark: 'done', time: clock(trip.picked_up_at), detail: '' });
    return [...list, { name: 'Cancelled', mark: 'ended', time: clock(trip.ended_at), detail: '' }];
  }
  return [
    ...list,
    {
      name: 'On board',
      mark: mark(state === 'completed', onBoard),
      time: clock(trip.picked_up_at),
      detail: onBoard ? where : '',
    },
    {
      name: 'Completed',
      mark: mark(state === 'completed', false),
      time: onBoard ? soon : clock(trip.ended_at),
      detail: '',
    },
  ];
}

export class Timeline {
  constructor() {
    this.list = byID('timeline');
  }

  /** @param {Trip} trip @param {string} where @param {string} soon */
  render(trip, where, soon) {
    const wanted = steps(trip, where, soon);
    setAttribute(this.list, 'data-state', tripState(trip));
    while (this.list.children.length > wanted.length) this.list.lastElementChild?.remove();
    wanted.forEach((step, i) => {
      let item = this.list.children[i];
      if (!item) {
        item = make('li', {}, make('time'), make('b'), make('p', { class: 'muted' }));
        this.list.append(item);
      }
      if (item.className !== step.mark) item.className = step.mark;
      const current = step.mark === 'now' || (step.mark === 'ended') || (step.mark === 'done' && step.name === 'Completed');
      if (current) setAttribute(item, 'aria-current', 'step');
      else item.removeAttribute('aria-current');
      setText(item.children[0], step.time);
      setText(item.children[1], step.name);
      setText(item.children[2], step.detail);
    });
  }
}
