// One ride: from "Book this car" to the end of the trip.

import { NoAnswer, call } from './api.js';
import { Tracker } from './tracking.js';
import { activeTrip, book, rider } from './booking.js';
import { byID } from './dom.js';
import { freshState } from './state.js';
import { isDriver } from './cars.js';
import { tripState } from './timeline.js';

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./types.js').Trip} Trip
 */

/** @param {Coordinate} at */
const latLon = (at) => ({ lat: Number(at[1].toFixed(6)), lon: Number(at[0].toFixed(6)) });

const spoken = {
  'on-the-way': 'The car is on the way',
  'on-board': 'You are on board',
  completed: 'You have arrived',
  cancelled: 'The trip was cancelled',
};

export class Ride {
  /** @param {import('./app.js').App} app @param {() => void} onConnection the trip's connection is in another state */
  constructor(app, onConnection) {
    this.app = app;
    this.onConnection = onConnection;
    /** @type {Tracker | null} */
    this.tracker = null;
    /** Of the trip's socket. @type {import('./feed.js').FeedState | null} */
    this.connection = null;
  }

  async book() {
    const { state, store } = this.app;
    if (state.busy || !state.chosen) return;
    if (!state.pickup) {
      this.app.fail({ pickup: 'Choose where to be picked up.' });
      this.app.panel.pickup.input.focus();
      return;
    }
    if (!state.dropoff) {
      this.app.fail({ dropoff: 'Choose where to go.' });
      this.app.panel.dropoff.input.focus();
      return;
    }
    const driver = state.chosen;
    // The list loses the car as soon as the booking is known: ours must not vanish before the answer comes.
    store.setOwn(driver.id);
    this.app.fail({});
    this.app.change({ busy: true });
    const outcome = await book({
      riderID: await this.riderID(), driverID: driver.id, pickup: latLon(state.pickup.at), dropoff: latLon(state.dropoff.at),
    });
    this.app.change({ busy: false, retry: false });
    if (outcome.kind === 'booked') {
      this.app.announcer.say(`Booked. ${driver.name} is on the way.`);
      this.track(outcome.trip.id, outcome.trip);
      return;
    }
    store.setOwn(null);
    if (outcome.kind === 'active') {
      this.app.announcer.say('You are on a trip already.');
      this.track(outcome.tripID);
    } else if (outcome.kind === 'taken') {
      this.app.taken(outcome.alternatives);
    } else if (outcome.kind === 'retry') {
      this.app.change({ retry: true });
      this.app.fail({ action: outcome.detail });
    } else {
      this.refused(outcome.problem);
    }
  }

  /** For whom is booked: whoever is signed in, which a booking does if need be; where nobody is asked, this browser's rider. */
  async riderID() {
    const { session } = this.app;
    if (session.state !== 'open' && session.state !== 'signed-in') await session.begin();
    return session.subject || rider().id;
  }

  /** @param {import('./types.js').Problem} problem */
  refused(problem) {
    const errors = { pickup: '', dropoff: '', action: '' };
    for (const { pointer, detail } of Array.isArray(problem.errors) ? problem.errors : []) {
      const field = /^\/(pickup|dropoff)\b/.exec(String(pointer))?.[1];
      if (field === 'pickup' || field === 'dropoff') errors[field] = String(detail);
      else errors.action = String(detail);
    }
    if (!errors.pickup && !errors.dropoff && !errors.action) {
      errors.action = problem.detail ?? problem.title ?? 'This can’t be booked.';
    }
    this.app.fail(errors);
  }

  /** @param {string} tripID @param {Trip} [trip] what is known of it */
  track(tripID, trip) {
    this.tracker?.close();
    this.app.choice++;
    history.replaceState(null, '', `#trip=${encodeURIComponent(tripID)}`);
    this.app.stage.overlay.lines = [];
    this.app.hoverCar(null);
    this.app.stage.element.classList.remove('pointing');
    this.app.change({
      mode: 'tracking', trip: null, tripReach: null, tripRoute: null, offer: null, unknown: false, confirming: false,
      cancelling: false, armed: null,
    });
    const tracker = new Tracker(tripID, this.app.roads, this.app.session, {
      changed: (changed) => this.tripChanged(changed),
      moved: (position) => this.tripMoved(position),
      unknown: (detail) => {
        // Nothing is waited for any more: the badge speaks of the cars again.
        this.connection = null;
        this.onConnection();
        this.app.change({ unknown: true, unknownDetail: detail || 'It may have been made somewhere else.' });
      },
      connection: (state) => {
        this.connection = state;
        this.onConnection();
      },
    });
    this.tracker = tracker;
    if (trip) tracker.take(trip);
    byID('sheet').scrollTop = 0;
    this.app.panel.unfold();
    this.app.panel.element.focus({ preventScroll: true });
  }

  /** @param {Tracker} tracker */
  tripChanged(tracker) {
    if (this.tracker !== null && tracker !== this.tracker) return;
    const { trip } = tracker;
    if (!trip) return;
    const before = this.app.state.trip ? tripState(this.app.state.trip) : null;
    const after = tripState(trip);
    if (this.app.store.own !== trip.driver_id && !tracker.ended) this.app.store.setOwn(trip.driver_id);
    this.app.change({ trip, tripReach: tracker.reach, tripRoute: tracker.whole });
    this.drawTrip(tracker);
    if (before === after) return;
    if (before !== null) this.app.announcer.say(spoken[after]);
    if (tracker.ended) this.tripEnded();
    else if (before === null) this.startFollowing(trip);
  }

  /** @param {Tracker} tracker */
  drawTrip(tracker) {
    /** @type {import('./overlay.js').Line[]} */
    const lines = [];
    if (tracker.state === 'on-the-way' && tracker.whole) lines.push({ points: tracker.whole.points, kind: 'ahead' });
    if (tracker.leg && !tracker.ended) lines.push({ points: tracker.leg.points, kind: 'drive' });
    if (tracker.ended && tracker.whole) lines.push({ points: tracker.whole.points, kind: 'ahead' });
    this.app.stage.overlay.lines = lines;
    this.app.stage.overlay.touch();
  }

  /** @param {Trip} trip */
  async startFollowing(trip) {
    if (!this.app.store.cars.has(trip.driver_id)) {
      // A reload: the list no longer names the car, and its next position may take a moment.
      try {
        const { body, problem } = await call('GET', `drivers/${encodeURIComponent(trip.driver_id)}`);
        if (!problem && isDriver(body) && this.app.store.own === body.id && !this.app.store.cars.has(body.id)) {
          this.app.store.upsert(body, performance.now()).inFeed = false;
        }
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
      }
    }
    if (this.app.state.mode === 'tracking') this.app.stage.follow(true);
  }

  /** @param {import('./types.js').TripPosition} position */
  tripMoved(position) {
    const { trip } = this.app.state;
    const id = trip?.driver_id ?? this.app.store.own;
    if (!id || this.app.store.own !== id) return;
    const known = this.app.store.cars.get(id);
    const driver = {
      ...(known?.driver ?? { id, name: trip?.driver?.name ?? '', vehicle: trip?.driver?.vehicle }),
      lat: position.lat, lon: position.lon, heading: position.heading, speed: position.speed,
    };
    const car = this.app.store.upsert(driver, performance.now());
    car.stale = position.stale === true;
    if (!known) car.inFeed = false;
  }

  tripEnded() {
    this.app.stage.letGo();
    this.app.store.setOwn(null);
    this.app.change({ confirming: false, cancelling: false });
    this.app.lookAtAll();
    this.connection = null;
    this.onConnection();
  }

  async cancel() {
    const { tracker } = this;
    const { state } = this.app;
    if (!tracker || state.cancelling) return;
    if (!state.confirming) {
      this.app.change({ confirming: true });
      return;
    }
    this.app.fail({});
    this.app.change({ cancelling: true });
    let error = '';
    try {
      const { body, problem } = await call('POST', `trips/${encodeURIComponent(tracker.tripID)}/cancel`);
      if (!problem) tracker.take(body);
      else if (problem.code === 'trip-already-ended') await tracker.refresh();
      else error = problem.detail ?? 'The trip could not be cancelled. Try again.';
    } catch (thrown) {
      if (!(thrown instanceof NoAnswer)) throw thrown;
      error = 'No answer came. Try again.';
    }
    this.app.fail({ action: error });
    this.app.change({ confirming: error !== '', cancelling: false });
  }

  again() {
    this.tracker?.close();
    this.tracker = null;
    this.connection = null;
    this.app.choice++;
    this.app.store.setOwn(null);
    history.replaceState(null, '', location.pathname + location.search);
    this.app.stage.overlay.lines = [];
    const { connected } = this.app.state;
    this.app.state = { ...freshState(), connected };
    this.app.render();
    this.onConnection();
    this.app.panel.element.focus({ preventScroll: true });
    void this.app.presetPickup();
    void this.app.measure();
  }

  /** The trip that the address names, or the one that this rider is on. */
  async resume() {
    // An identifier needs no escapes, and what is no escape would throw: nothing is decoded.
    const named = /^#trip=([A-Za-z0-9._-]{1,64})$/.exec(location.hash)?.[1];
    if (named) {
      if (named !== this.tracker?.tripID) this.track(named);
      return;
    }
    if (this.tracker || this.app.session.state === 'signed-out') return;
    await this.app.session.ensure();
    const { subject } = this.app.session;
    const own = rider();
    if (!subject && own.isNew) return;
    const trip = await activeTrip(subject || own.id);
    if (trip && this.app.state.mode === 'idle' && !this.app.state.dropoff) this.track(trip.id, trip);
  }
}
