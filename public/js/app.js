// What the page knows and what it does about it. Modes:
//
//   idle ──a car──▶ chosen ──book──▶ (busy) ──201──▶ tracking ──completed, cancelled, "Book another ride"──▶ idle
//                     ▲                 │ 409 or the car left the list: an offer of the nearest ones
//                     └─────────────────┘

import { NoAnswer, call } from './api.js';
import { Announcer, button, byID, setText } from './dom.js';
import { CarStore, isDriver } from './cars.js';
import { Ride } from './ride.js';
import { Panel } from './panel.js';
import { contains, metresBetween } from './geo.js';
import { count, distance, minutes } from './format.js';
import { freshState } from './state.js';

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./types.js').Driver} Driver
 * @typedef {import('./types.js').Place} Place
 * @typedef {import('./types.js').Reach} Reach
 * @typedef {import('./rows.js').CarRow} CarRow
 * @typedef {import('./state.js').State} State
 */

const nearbyMost = 8;
const offeredMost = 3;
const tapPixels = 22;
const countEveryMs = 30_000;
const aroundEveryMs = 5_000;
const aroundMost = 50;

export class App {
  /**
   * @param {object} parts
   * @param {CarStore} parts.store
   * @param {import('./stage.js').Stage} parts.stage
   * @param {import('./roads.js').RoadService} parts.roads
   * @param {import('./places.js').Gazetteer} parts.gazetteer
   * @param {import('./session.js').Session} parts.session
   * @param {() => void} parts.onTripConnection
   */
  constructor({ store, stage, roads, gazetteer, session, onTripConnection }) {
    this.store = store;
    this.stage = stage;
    this.roads = roads;
    this.gazetteer = gazetteer;
    this.session = session;
    this.announcer = new Announcer();
    this.state = freshState();
    this.ride = new Ride(this, onTripConnection);
    /** From each car to the pick-up. @type {Map<string, Reach | null>} */
    this.reach = new Map();
    this.measuring = false;
    this.measureAgain = false;
    /** A question about the chosen car is under way. */
    this.asking = false;
    /** Cars around the pick-up, while lists are cut. @type {{at: Coordinate | null, drivers: Driver[], asked: number}} */
    this.around = { at: null, drivers: [], asked: -Infinity };
    /** Counts choices: a late answer about an earlier one is dropped. */
    this.choice = 0;
    this.counted = { at: -Infinity, text: '' };
    this.browsed = '';
    this.panel = new Panel(gazetteer, {
      choose: (driver) => this.choose(driver, true),
      nearest: () => this.state.nearby[0] && this.choose(this.state.nearby[0].driver, true),
      back: () => this.back(),
      book: () => void this.ride.book(),
      cancel: () => void this.ride.cancel(),
      keep: () => this.change({ confirming: false }),
      again: () => this.ride.again(),
      place: (field, place) => void this.setPlace(field, place.at, place.name),
      clear: (field) => this.clearPlace(field),
      arm: (field) => this.arm(field),
      ownPlace: () => this.ownPlace(),
    });
  }

  /** @param {Partial<State>} part */
  change(part) {
    Object.assign(this.state, part);
    this.render();
  }

  /** @param {Partial<State['errors']>} errors */
  fail(errors) {
    this.change({ errors: { pickup: '', dropoff: '', action: '', ...errors } });
  }

  render() {
    const { state, stage } = this;
    const { overlay } = stage;
    this.panel.render(state);
    overlay.chosen = state.mode === 'chosen' ? (state.chosen?.id ?? null) : null;
    overlay.tracking = state.mode === 'tracking';
    overlay.pickup = state.trip ? [state.trip.pickup.lon, state.trip.pickup.lat] : (state.pickup?.at ?? null);
    overlay.dropoff = state.trip ? [state.trip.dropoff.lon, state.trip.dropoff.lat] : (state.dropoff?.at ?? null);
    stage.element.classList.toggle('placing', state.armed !== null);
    stage.offerFollow();
    overlay.touch();
  }

  // The feed

  /**
   * A list of free cars.
   * @param {unknown[]} drivers
   * @param {boolean} partial cars beyond the view are not in it
   * @param {boolean} truncated more cars matched than it holds
   */
  list(drivers, partial, truncated) {
    const now = performance.now();
    const { state, store } = this;
    void this.askAround(truncated, now);
    const listed = new Set(drivers.map((driver) => (isDriver(driver) ? driver.id : '')));
    store.replace([...drivers, ...this.around.drivers.filter((driver) => !listed.has(driver.id))], now);
    const n = store.available;
    const text = partial ? count(n, 'car in view', 'cars in view') : count(n, 'car available', 'cars available');
    setText(byID('count'), text);
    if (now - this.counted.at >= countEveryMs && text !== this.counted.text) {
      this.counted = { at: now, text };
      this.announcer.say(text);
    }
    state.connected = true;
    if (state.mode === 'chosen' && state.chosen && !state.busy) {
      const car = store.cars.get(state.chosen.id);
      if (car) state.chosen = car.driver;
      else if (truncated) void this.askForChosen();
      else if (!partial || contains(this.stage.view.bounds(), [state.chosen.lon, state.chosen.lat])) this.taken([]);
    }
    void this.measure();
  }

  /**
   * A list that is cut holds the cars around the view's centre: those around the pick-up are asked for beside it, now and then.
   * @param {boolean} truncated
   * @param {number} now
   */
  async askAround(truncated, now) {
    const at = truncated ? (this.state.pickup?.at ?? null) : null;
    if (at !== this.around.at) this.around = { at, drivers: [], asked: -Infinity };
    const { around } = this;
    if (!at || now - around.asked < aroundEveryMs) return;
    around.asked = now;
    try {
      const { body } = await call('GET', `drivers/available?lat=${at[1]}&lon=${at[0]}&limit=${aroundMost}`);
      if (Array.isArray(body?.drivers)) around.drivers = body.drivers.filter(isDriver);
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    }
  }

  /** A list that is cut says nothing of a car that is not in it: the gateway is asked for this one. */
  async askForChosen() {
    const { chosen } = this.state;
    if (!chosen || this.asking) return;
    this.asking = true;
    try {
      const { body, problem } = await call('GET', `drivers/${encodeURIComponent(chosen.id)}`);
      const { state } = this;
      if (state.mode !== 'chosen' || state.busy || state.chosen?.id !== chosen.id) return;
      if (problem ? problem.status === 404 : body?.status !== 'available') this.taken([]);
      else if (!problem && isDriver(body)) this.change({ chosen: body });
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    } finally {
      this.asking = false;
    }
  }

  /** Nothing new is heard of the cars, or it is again. @param {boolean} stale */
  setStale(stale) {
    if (this.stage.overlay.stale === stale) return;
    this.stage.overlay.stale = stale;
    this.change({ connected: !stale });
  }

  /** Distances and times from all cars to the pick-up, and the ways of the chosen one. */
  async measure() {
    if (this.measuring) {
      this.measureAgain = true;
      return;
    }
    this.measuring = true;
    try {
      do {
        this.measureAgain = false;
        await this.measureOnce();
      } while (this.measureAgain);
    } finally {
      this.measuring = false;
    }
  }

  async measureOnce() {
    const { state, store, choice } = this;
    const { pickup, dropoff } = state;
    if (!pickup || state.mode === 'tracking') {
      this.nearby();
      return;
    }
    const cars = [...store.cars.values()].filter((car) => car.inFeed);
    const answers = await this.roads.reach(cars.map((car) => car.at), pickup.at);
    if (choice !== this.choice || state !== this.state) return;
    this.reach = new Map(cars.map((car, i) => [car.id, answers[i]]));
    this.nearby();
    const { overlay } = this.stage;
    /** @type {import('./overlay.js').Line[]} */
    const lines = [];
    if (dropoff && !state.tripRoute) {
      const route = await this.roads.route(pickup.at, dropoff.at);
      if (choice !== this.choice || state !== this.state) return;
      state.tripRoute = route;
    }
    if (state.tripRoute) lines.push({ points: state.tripRoute.points, kind: 'drive' });
    if (state.mode === 'chosen' && state.chosen) {
      const at = /** @type {Coordinate} */ ([state.chosen.lon, state.chosen.lat]);
      state.chosenReach = this.reach.get(state.chosen.id) ?? state.chosenReach;
      const route = await this.roads.route(at, pickup.at);
      if (choice !== this.choice || state !== this.state) return;
      lines.unshift({ points: [at, ...route.points], kind: 'ahead' });
    }
    overlay.lines = lines;
    this.render();
  }

  /** Lists the nearest free cars, the quickest to come first. */
  nearby() {
    const { state } = this;
    const at = state.pickup?.at ?? this.stage.view.coordinate(...this.stage.view.middle);
    const rows = [...this.store.cars.values()]
      .filter((car) => car.inFeed && car.id !== this.store.own)
      .map((car) => this.row(car.driver, at))
      .sort((a, b) => this.order(a) - this.order(b) || a.metres - b.metres);
    state.nearby = rows.slice(0, nearbyMost);
    if (state.offer) {
      const free = new Set(rows.map((row) => row.driver.id));
      const still = state.offer.cars.filter((row) => free.has(row.driver.id)).map((row) => this.row(row.driver, at));
      const more = rows.filter((row) => still.every((s) => s.driver.id !== row.driver.id));
      state.offer.cars = [...still, ...more].slice(0, offeredMost);
    }
    this.render();
  }

  /** @param {CarRow} row */
  order(row) {
    return row.reach ? row.reach.seconds : 1e6 + row.metres;
  }

  /** @param {Driver} driver @param {Coordinate} at @returns {CarRow} */
  row(driver, at) {
    const known = this.store.cars.get(driver.id)?.driver ?? driver;
    return { driver: known, reach: this.reach.get(driver.id) ?? null, metres: metresBetween([known.lon, known.lat], at) };
  }

  // Choosing

  /** @param {Driver} driver @param {boolean} look move the map to it */
  choose(driver, look) {
    if (this.state.mode === 'tracking' || this.state.busy) return;
    const { state } = this;
    this.choice++;
    this.fail({});
    this.change({
      mode: 'chosen', chosen: driver, chosenReach: this.reach.get(driver.id) ?? null, offer: null, retry: false,
      armed: null,
    });
    this.panel.unfold();
    const words = state.chosenReach ? `, ${minutes(state.chosenReach.seconds)} to the pick-up` : '';
    this.announcer.say(`${driver.name} chosen${words}`);
    if (look) this.lookAtAll();
    byID('sheet').scrollTop = 0;
    if (look) this.focusNext();
    void this.measure();
  }

  /** To what is still to be done, for those who go by keys. */
  focusNext() {
    const { dropoff } = this.state;
    const chip = document.querySelector('#suggestion-list button');
    const next = dropoff ? button('book') : /** @type {HTMLElement | null} */ (chip);
    next?.focus({ preventScroll: true });
  }

  lookAtAll() {
    const { state, stage, store } = this;
    /** @type {Coordinate[]} */
    const points = [];
    const car = state.chosen ? store.cars.get(state.chosen.id) : store.own ? store.cars.get(store.own) : undefined;
    if (car) points.push(car.at);
    if (state.trip) {
      points.push([state.trip.pickup.lon, state.trip.pickup.lat], [state.trip.dropoff.lon, state.trip.dropoff.lat]);
    } else {
      if (state.pickup && (car || state.dropoff)) points.push(state.pickup.at);
      if (state.dropoff) points.push(state.dropoff.at);
    }
    if (points.length > 1) stage.view.fit(points);
    else stage.view.fit([[stage.bbox[0], stage.bbox[1]], [stage.bbox[2], stage.bbox[3]]]);
  }

  back() {
    if (this.state.busy || this.state.mode !== 'chosen') return;
    this.choice++;
    this.fail({});
    this.change({ mode: 'idle', chosen: null, chosenReach: null, offer: null, retry: false });
    this.stage.overlay.lines = [];
    this.stage.element.focus({ preventScroll: true });
    void this.measure();
  }

  /** The chosen car is someone else's now. @param {Driver[]} alternatives */
  taken(alternatives) {
    this.choice++;
    const { state } = this;
    const title = state.chosen ? 'This car has just been taken' : 'No car is free';
    const gone = state.chosen?.id;
    state.mode = 'idle';
    state.chosen = state.chosenReach = null;
    state.busy = state.retry = false;
    const at = state.pickup?.at ?? this.stage.view.coordinate(...this.stage.view.middle);
    const rows = alternatives.filter(isDriver).map((driver) => this.row(driver, at));
    const cars = rows.length > 0 ? rows : state.nearby.filter((row) => row.driver.id !== gone);
    this.change({ offer: { title, cars: cars.slice(0, offeredMost) } });
    this.stage.overlay.lines = [];
    this.panel.unfold();
    byID('sheet').scrollTop = 0;
    this.announcer.say(title);
    void this.measure();
  }

  // Pick-up and destination

  /** @param {'pickup' | 'dropoff'} field @param {Coordinate} at @param {string} [name] */
  async setPlace(field, at, name) {
    const snap = await this.roads.snap(at);
    if (this.state.mode === 'tracking' || this.state.busy) return;
    if (snap.offMetres > 800) {
      this.fail({ [field]: 'No road is near this point.' });
      return;
    }
    const near = this.gazetteer.places.find((place) => metresBetween(place.at, at) < 60);
    const words = name ?? near?.name ?? (snap.street || 'Unnamed road');
    this.choice++;
    this.state.tripRoute = null;
    if (field === 'pickup') this.state.preset = false;
    this.fail({});
    this.change({ [field]: { at: snap.at, name: words }, armed: null, retry: false });
    this.suggest();
    this.announcer.say(`${field === 'pickup' ? 'Pick-up' : 'Destination'}: ${words}`);
    if (field === 'dropoff' && name !== undefined) this.lookAtAll();
    if (name !== undefined && this.state.mode === 'chosen' && this.state.dropoff) button('book').focus({ preventScroll: true });
    void this.measure();
  }

  /** The pick-up is the middle of the map until the person chooses one. */
  async presetPickup() {
    const { state, stage } = this;
    if (!state.preset || state.mode !== 'idle' || state.dropoff) return;
    const at = stage.view.coordinate(...stage.view.middle);
    const snap = await this.roads.snap(at);
    if (!state.preset || state.mode !== 'idle' || state !== this.state || snap.offMetres > 800) return;
    const near = this.gazetteer.places.find((place) => metresBetween(place.at, snap.at) < 60);
    this.choice++;
    this.change({ pickup: { at: snap.at, name: near?.name ?? (snap.street || 'Unnamed road') } });
    this.suggest();
    void this.measure();
  }

  /** Popular places that are not where the person is. */
  suggest() {
    const at = this.state.pickup?.at;
    const places = this.gazetteer.places.filter((place) => !at || metresBetween(place.at, at) > 500);
    const kinds = new Set();
    const varied = places.filter((place) => !kinds.has(place.detail) && kinds.add(place.detail));
    this.change({ suggestions: varied.slice(0, 6) });
  }

  /** @param {'pickup' | 'dropoff'} field */
  clearPlace(field) {
    if (this.state.busy) return;
    this.choice++;
    if (field === 'pickup') this.state.preset = false;
    this.stage.overlay.lines = [];
    this.change({ [field]: null, tripRoute: null, chosenReach: field === 'pickup' ? null : this.state.chosenReach });
    void this.measure();
  }

  /** @param {'pickup' | 'dropoff'} field */
  arm(field) {
    this.change({ armed: field });
  }

  ownPlace() {
    if (!navigator.geolocation) {
      this.fail({ pickup: 'This browser can’t say where you are.' });
      return;
    }
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        const at = /** @type {Coordinate} */ ([coords.longitude, coords.latitude]);
        if (contains(this.stage.bbox, at)) void this.setPlace('pickup', at, 'My own place');
        else this.fail({ pickup: 'You are outside of this map. Choose a place in Neubrandenburg.' });
      },
      () => this.fail({ pickup: 'Your device does not say where you are. Choose a place or tap the map.' }),
      { enableHighAccuracy: true, timeout: 8000, maximumAge: 30_000 },
    );
  }

  // The map

  /** @param {number} px @param {number} py */
  tap(px, py) {
    const { state, stage, store } = this;
    if (state.mode === 'tracking' || state.busy) return;
    const car = store.nearestTo(stage.view, px, py, state.armed ? tapPixels / 2 : tapPixels, performance.now());
    if (car?.inFeed) {
      this.choose(car.driver, false);
      return;
    }
    const field = state.armed ?? (state.dropoff === null ? 'dropoff' : null);
    if (field) void this.setPlace(field, stage.view.coordinate(px, py));
  }

  /** @param {number} px @param {number} py */
  hover(px, py) {
    const { stage, store, state } = this;
    const car = state.mode === 'tracking' ? null : store.nearestTo(stage.view, px, py, tapPixels, performance.now());
    this.hoverCar(car?.id ?? null);
    stage.element.classList.toggle('pointing', car !== null);
  }

  /** @param {string | null} id */
  hoverCar(id) {
    if (this.stage.overlay.hovered === id) return;
    this.stage.overlay.hovered = id;
    this.stage.overlay.touch();
  }

  /** Goes through the nearest cars. @param {1 | -1} step */
  browse(step) {
    const { nearby, mode } = this.state;
    if (mode === 'tracking' || nearby.length === 0) return;
    const i = nearby.findIndex((row) => row.driver.id === this.browsed);
    const row = nearby[i < 0 ? (step > 0 ? 0 : nearby.length - 1) : (i + step + nearby.length) % nearby.length];
    this.browsed = row.driver.id;
    this.hoverCar(row.driver.id);
    this.stage.view.glideTo([row.driver.lon, row.driver.lat]);
    const far = row.reach ? `${minutes(row.reach.seconds)}, ${distance(row.reach.metres)}` : distance(row.metres);
    this.announcer.say(`${row.driver.name}, ${far}`);
  }

  openBrowsed() {
    const car = this.store.cars.get(this.browsed);
    if (car?.inFeed) this.choose(car.driver, true);
  }

  escape() {
    if (this.state.armed) this.change({ armed: null });
    else if (this.state.mode === 'chosen') this.back();
    else this.hoverCar(null);
  }
}
