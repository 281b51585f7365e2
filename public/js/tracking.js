// Follows one trip to its end: its state from the gateway, its way from the road graph.

import { metresBetween, metresOff } from './geo.js';
import { Feed, socketURL } from './feed.js';
import { NoAnswer, call } from './api.js';
import { tripState } from './timeline.js';

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./types.js').Trip} Trip
 * @typedef {import('./types.js').TripPosition} TripPosition
 * @typedef {import('./types.js').Reach} Reach
 * @typedef {import('./types.js').Route} Route
 */

/** The car has left the way that is drawn: another one is looked for, metres. */
const strayMetres = 60;

/** @param {any} value @returns {value is Trip} */
const isTrip = (value) =>
  typeof value === 'object' && value !== null && typeof value.id === 'string' && typeof value.status === 'string' &&
  [value.pickup, value.dropoff].every((p) => Number.isFinite(p?.lat) && Number.isFinite(p?.lon));

export class Tracker {
  /**
   * @param {string} tripID
   * @param {import('./roads.js').RoadService} roads
   * @param {import('./session.js').Session} session
   * @param {object} actions
   * @param {(tracker: Tracker) => void} actions.changed
   * @param {(position: TripPosition) => void} actions.moved
   * @param {(detail: string) => void} actions.unknown there is no such trip
   * @param {(state: import('./feed.js').FeedState) => void} actions.connection
   */
  constructor(tripID, roads, session, actions) {
    this.tripID = tripID;
    this.roads = roads;
    this.actions = actions;
    /** @type {Trip | null} */ this.trip = null;
    /** @type {Coordinate | null} */ this.carAt = null;
    /** What the car drives now. @type {Route | null} */ this.leg = null;
    /** From pick-up to destination. @type {Route | null} */ this.whole = null;
    /** From the car to where it drives now. @type {Reach | null} */ this.reach = null;
    this.legState = '';
    this.measuring = false;
    this.closed = false;
    this.problem = '';
    this.feed = new Feed({
      url: socketURL(`ws/trips/${encodeURIComponent(tripID)}`),
      onMessage: (message) => this.message(message),
      onState: (state) => this.connection(state),
      pings: false,
      session,
    });
    this.feed.connect();
  }

  get state() {
    return this.trip ? tripState(this.trip) : null;
  }

  get ended() {
    return this.state === 'completed' || this.state === 'cancelled';
  }

  /** @param {any} message */
  message(message) {
    if (message.type === 'error') {
      this.problem = String(message.problem?.detail ?? message.problem?.title ?? '');
      return;
    }
    if (message.type !== 'trip' || !isTrip(message.trip)) return;
    this.take(message.trip);
    const { position } = message;
    if (position && Number.isFinite(position.lat) && Number.isFinite(position.lon)) {
      this.carAt = [position.lon, position.lat];
      this.actions.moved(position);
    }
    void this.measure();
  }

  /** @param {Trip} trip */
  take(trip) {
    // An answer to an older question must not turn an ended trip back.
    if (this.ended && trip.status === 'in_progress') return;
    this.trip = trip;
    this.actions.changed(this);
    if (this.ended) this.feed.drop();
  }

  /** @param {import('./feed.js').FeedState} state */
  connection(state) {
    if (state.kind === 'waiting' && !this.trip && !this.feed.hasOpened) void this.ask();
    if (state.kind !== 'ended' || this.ended) {
      this.actions.connection(state);
      return;
    }
    // Closed for good without a last word that we heard: ask.
    void this.refresh();
  }

  /** A browser hides why a handshake was refused. Somebody else's trip is not there. */
  async ask() {
    try {
      const { problem } = await call('GET', `trips/${encodeURIComponent(this.tripID)}`);
      if (this.closed || this.trip || problem?.status !== 404) return;
      this.feed.close();
      this.actions.unknown(problem.detail ?? '');
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    }
  }

  async refresh() {
    try {
      const { body, problem } = await call('GET', `trips/${encodeURIComponent(this.tripID)}`);
      if (this.closed) return;
      if (problem && problem.status < 500) {
        this.actions.unknown(problem.detail ?? this.problem);
      } else if (!problem && isTrip(body)) {
        this.take(body);
        if (!this.ended) this.retryLater();
      } else {
        this.retryLater();
      }
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      this.retryLater();
    }
  }

  retryLater() {
    if (!this.closed) setTimeout(() => this.closed || this.feed.connect(), 2000 + Math.random() * 2000);
  }

  /** Looks up the ways and the distances that the panel and the map show. */
  async measure() {
    const { trip } = this;
    if (!trip || this.measuring) return;
    this.measuring = true;
    try {
      const pickup = /** @type {Coordinate} */ ([trip.pickup.lon, trip.pickup.lat]);
      const dropoff = /** @type {Coordinate} */ ([trip.dropoff.lon, trip.dropoff.lat]);
      this.whole ??= await this.roads.route(pickup, dropoff);
      const { state, carAt } = this;
      const target = state === 'on-board' ? dropoff : pickup;
      if (carAt && !this.ended) {
        if (this.legState !== state || !this.leg || this.isStray(carAt)) {
          const fresh = state === 'on-board' && metresBetween(carAt, pickup) < strayMetres;
          this.leg = fresh ? this.whole : await this.roads.route(carAt, target);
          this.legState = state ?? '';
        }
        [this.reach] = await this.roads.reach([carAt], target);
      }
    } finally {
      this.measuring = false;
    }
    if (!this.closed) this.actions.changed(this);
  }

  /** @param {Coordinate} at */
  isStray(at) {
    return !!this.leg && this.leg.points.length > 1 && metresOff(this.leg.points, at) > strayMetres;
  }

  close() {
    this.closed = true;
    this.feed.close();
  }
}
