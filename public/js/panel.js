// The booking panel: shows the state, says what the person wants. It decides nothing.

import { distance, initials, minutes, vehicle } from './format.js';
import { button, byID, make, setAttribute, setText, show } from './dom.js';
import { CarRows } from './rows.js';
import { PlaceField } from './places.js';
import { Timeline, tripState } from './timeline.js';

/**
 * @typedef {import('./state.js').State} State
 * @typedef {import('./types.js').Driver} Driver
 * @typedef {import('./types.js').Place} Place
 *
 * @typedef {object} Actions
 * @property {(driver: Driver) => void} choose
 * @property {() => void} nearest
 * @property {() => void} back
 * @property {() => void} book
 * @property {() => void} cancel
 * @property {() => void} keep
 * @property {() => void} again
 * @property {(field: 'pickup' | 'dropoff', place: Place) => void} place
 * @property {(field: 'pickup' | 'dropoff') => void} clear
 * @property {(field: 'pickup' | 'dropoff') => void} arm the next tap on the map is for this field
 * @property {() => void} ownPlace
 */

const titles = {
  'on-the-way': (/** @type {string} */ name) => `${name} is on the way`,
  'on-board': () => 'You are on board',
  completed: () => 'You have arrived',
  cancelled: () => 'Trip cancelled',
};

export class Panel {
  /** @param {import('./places.js').Gazetteer} gazetteer @param {Actions} actions */
  constructor(gazetteer, actions) {
    this.element = byID('panel');
    this.title = byID('panel-title');
    this.subtitle = byID('panel-subtitle');
    this.avatar = byID('avatar');
    this.error = byID('action-error');
    this.stats = byID('stats');
    this.buttons = {
      back: button('back'), book: button('book'), nearest: button('nearest'), again: button('again'),
      cancel: button('cancel'), keep: button('keep'),
    };
    this.buttons.back.addEventListener('click', actions.back);
    this.buttons.book.addEventListener('click', actions.book);
    this.buttons.nearest.addEventListener('click', actions.nearest);
    this.buttons.again.addEventListener('click', actions.again);
    this.buttons.cancel.addEventListener('click', actions.cancel);
    this.buttons.keep.addEventListener('click', actions.keep);
    byID('form').addEventListener('submit', (event) => event.preventDefault());
    const field = (/** @type {'pickup' | 'dropoff'} */ name, /** @type {import('./places.js').Option[]} */ extra) =>
      new PlaceField(byID(name), gazetteer, {
        choose: (place) => actions.place(name, place),
        clear: () => actions.clear(name),
        edit: () => actions.arm(name),
      }, extra);
    this.pickup = field('pickup', [{ name: 'My own place', detail: 'As this device knows it', act: actions.ownPlace }]);
    this.dropoff = field('dropoff', []);
    this.nearby = new CarRows(byID('nearby-list'), 'nearby-car', actions.choose);
    this.offered = new CarRows(byID('offer-list'), 'offer-car', actions.choose);
    this.timeline = new Timeline();
    this.gazetteer = gazetteer;
    this.actions = actions;
    this.suggestionsFor = '';
    this.grab();
  }

  /** The sheet's handle on a phone: a tap folds or unfolds it, so does a pull. */
  grab() {
    const handle = button('grab');
    let from = 0;
    let pulled = false;
    const fold = (/** @type {boolean} */ folded) => {
      this.element.classList.toggle('folded', folded);
      setAttribute(handle, 'aria-expanded', String(!folded));
      setAttribute(handle, 'aria-label', folded ? 'Unfold the panel' : 'Fold the panel');
    };
    handle.addEventListener('pointerdown', (event) => {
      from = event.clientY;
      pulled = false;
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener('pointerup', (event) => {
      const way = event.clientY - from;
      pulled = Math.abs(way) > 24;
      if (pulled) fold(way > 0);
    });
    handle.addEventListener('click', () => {
      if (!pulled) fold(!this.element.classList.contains('folded'));
      pulled = false;
    });
  }

  unfold() {
    if (this.element.classList.contains('folded')) button('grab').click();
  }

  /** @param {State} state */
  render(state) {
    const { mode } = state;
    const ended = mode === 'tracking' && state.trip !== null && state.trip.status !== 'in_progress';
    setAttribute(this.element, 'data-mode', mode);
    this.renderHead(state);
    this.renderStats(state);
    this.renderOffer(state);
    show(byID('form'), mode !== 'tracking');
    this.pickup.show(state.pickup?.name ?? '', state.pickup !== null);
    this.dropoff.show(state.dropoff?.name ?? '', state.dropoff !== null);
    this.pickup.fail(state.errors.pickup);
    this.dropoff.fail(state.errors.dropoff);
    setText(this.error, state.errors.action);
    this.renderSuggestions(state);
    show(byID('nearby'), mode === 'idle');
    if (mode === 'idle') this.nearby.render(state.nearby);
    show(byID('nearby-empty'), state.nearby.length === 0 && state.connected);
    show(byID('trip'), mode === 'tracking' && state.trip !== null);
    if (mode === 'tracking' && state.trip) this.timeline.render(state.trip, ...whereWords(state));

    const { buttons } = this;
    show(buttons.back, mode === 'chosen' && !state.busy);
    show(buttons.book, mode === 'chosen' && state.chosen !== null);
    setText(buttons.book, state.busy ? 'Booking…' : state.retry ? 'Try again' : 'Book this car');
    setAttribute(buttons.book, 'aria-busy', String(state.busy));
    show(buttons.nearest, mode === 'idle' && state.offer === null);
    buttons.nearest.disabled = state.nearby.length === 0;
    show(buttons.again, ended || (mode === 'tracking' && state.unknown));
    show(buttons.cancel, mode === 'tracking' && state.trip !== null && !ended);
    setText(buttons.cancel, state.cancelling ? 'Cancelling…' : state.confirming ? 'Yes, cancel the trip' : 'Cancel trip');
    setAttribute(buttons.cancel, 'aria-busy', String(state.cancelling));
    show(buttons.keep, state.confirming && !ended && mode === 'tracking');
    const any = Object.values(buttons).some((b) => b !== buttons.back && !b.hidden);
    show(byID('foot'), any || state.errors.action !== '');
  }

  /** @param {State} state */
  renderHead(state) {
    const { mode, trip } = state;
    const driver = mode === 'tracking' ? trip?.driver : mode === 'chosen' ? state.chosen : null;
    setText(this.avatar, driver ? initials(driver.name) : '');
    show(this.avatar, !!driver);
    if (mode === 'tracking') {
      const name = driver?.name ?? 'Your car';
      setText(this.title, state.unknown ? 'No such trip' : trip ? titles[tripState(trip)](name) : 'Looking for your trip');
      const car = vehicle(driver?.vehicle);
      const named = trip && tripState(trip) !== 'on-the-way' && driver ? [driver.name, car].filter(Boolean).join(' · ') : car;
      setText(this.subtitle, state.unknown ? state.unknownDetail : named);
    } else if (driver) {
      setText(this.title, driver.name);
      setText(this.subtitle, vehicle(driver.vehicle) || 'Free now');
    } else {
      setText(this.title, 'Where to?');
      setText(this.subtitle, 'Choose a car on the map or in the list');
    }
  }

  /** @param {State} state */
  renderStats(state) {
    /** @type {[string, string][]} */
    const figures = [];
    if (state.mode === 'chosen' && state.chosenReach) {
      figures.push([minutes(state.chosenReach.seconds), 'to pick-up']);
      figures.push([distance(state.chosenReach.metres), 'away']);
    }
    if (state.mode === 'chosen' && state.tripRoute) {
      figures.push([minutes(state.tripRoute.seconds), `trip of ${distance(state.tripRoute.metres)}`]);
    }
    if (state.mode === 'tracking' && state.trip?.status === 'in_progress' && state.tripReach) {
      const onBoard = tripState(state.trip) === 'on-board';
      figures.push([minutes(state.tripReach.seconds), onBoard ? 'to destination' : 'to pick-up']);
      figures.push([distance(state.tripReach.metres), onBoard ? 'to go' : 'away']);
    }
    if (state.mode === 'tracking' && state.trip && state.tripRoute) {
      figures.push([distance(state.tripRoute.metres), 'trip']);
    }
    show(this.stats, figures.length > 0);
    while (this.stats.children.length > figures.length) this.stats.lastElementChild?.remove();
    figures.forEach(([value, name], i) => {
      let cell = this.stats.children[i];
      if (!cell) this.stats.append((cell = make('div', {}, make('dt'), make('dd'))));
      setText(cell.children[0], name);
      setText(cell.children[1], value);
    });
  }

  /** @param {State} state */
  renderOffer(state) {
    const { offer } = state;
    show(byID('offer'), offer !== null);
    if (!offer) return;
    setText(byID('offer-title'), offer.title);
    setText(byID('offer-text'), offer.cars.length > 0 ? 'The nearest free ones:' : 'No other car is free right now.');
    this.offered.render(offer.cars);
  }

  /** @param {State} state */
  renderSuggestions(state) {
    const wanted = state.mode !== 'tracking' && state.dropoff === null && state.offer === null;
    show(byID('suggestions'), wanted && this.gazetteer.places.length > 0);
    const places = wanted ? state.suggestions : [];
    const key = places.map((place) => place.name).join('|');
    if (!wanted || key === this.suggestionsFor) return;
    this.suggestionsFor = key;
    byID('suggestion-list').replaceChildren(...places.map((place) => {
      const chip = make('button', { type: 'button', 'data-testid': 'suggestion' }, place.name);
      chip.addEventListener('click', () => this.actions.place('dropoff', place));
      return make('li', {}, chip);
    }));
  }
}

/** Where the car is and when the next step is due. @param {State} state @returns {[string, string]} */
function whereWords(state) {
  const reach = state.tripReach;
  if (!reach || state.trip?.status !== 'in_progress') return ['', ''];
  const on = reach.street ? ` on ${reach.street}` : '';
  const onBoard = state.trip.picked_up_at !== undefined;
  const where = `${distance(reach.metres)} ${onBoard ? 'to go' : 'away'}${on}`;
  return [where, `in ${minutes(reach.seconds)}`];
}
