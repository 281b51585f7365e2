// The cars that the feed names, and where each of them is between two messages. A car glides from where it is shown to its
// newest position in a little more than the time between its last two positions, so that the next one comes before it stops.

import { clamp, headingOf, latitude, longitude, mercatorX, mercatorY } from './geo.js';

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./types.js').Driver} Driver
 */

const glideShare = 1.2;
const glideLeastMs = 250;
const glideMostMs = 2500;
/** A longer way than this between two positions is a jump (the tab slept, the car came back), metres. */
const jumpMetres = 400;
const worldMetres = 40_075_016;

export class Car {
  /** @param {Driver} driver @param {number} now milliseconds */
  constructor(driver, now) {
    this.id = driver.id;
    this.driver = driver;
    this.fromX = this.toX = mercatorX(driver.lon);
    this.fromY = this.toY = mercatorY(driver.lat);
    this.fromHeading = this.toHeading = driver.heading ?? 0;
    this.start = this.end = now;
    /** When it last moved, milliseconds. */
    this.moved = now;
    this.reported = now;
    this.inFeed = true;
    /** Of a followed car: nothing newer is known. */
    this.stale = false;
  }

  /** @param {number} now */
  share(now) {
    return this.end <= this.start ? 1 : clamp((now - this.start) / (this.end - this.start), 0, 1);
  }

  /** World coordinates now. @param {number} now @returns {[number, number]} */
  world(now) {
    const k = this.share(now);
    return [this.fromX + (this.toX - this.fromX) * k, this.fromY + (this.toY - this.fromY) * k];
  }

  /** Degrees; turns faster than it drives. @param {number} now */
  heading(now) {
    const turn = ((this.toHeading - this.fromHeading + 540) % 360) - 180;
    return this.fromHeading + turn * Math.min(1, this.share(now) * 2.5);
  }

  /** The newest reported position. @returns {Coordinate} */
  get at() {
    return [longitude(this.toX), latitude(this.toY)];
  }

  /** @param {Driver} driver @param {number} now @param {boolean} calm jump, do not glide */
  update(driver, now, calm) {
    this.driver = driver;
    const x = mercatorX(driver.lon);
    const y = mercatorY(driver.lat);
    const dx = x - this.toX;
    const dy = y - this.toY;
    const still = dx === 0 && dy === 0;
    const heading = driver.heading ?? (still ? this.toHeading : headingOf(dx, dy));
    if (still && heading === this.toHeading) {
      this.reported = now;
      return;
    }
    const [shownX, shownY] = this.world(now);
    const metres = Math.hypot(x - shownX, y - shownY) * worldMetres * Math.cos((driver.lat * Math.PI) / 180);
    this.fromHeading = this.heading(now);
    this.toHeading = heading;
    this.toX = x;
    this.toY = y;
    this.start = now;
    if (calm || metres > jumpMetres) {
      [this.fromX, this.fromY] = [x, y];
      this.end = now;
    } else {
      [this.fromX, this.fromY] = [shownX, shownY];
      this.end = now + clamp((now - this.reported) * glideShare, glideLeastMs, glideMostMs);
    }
    this.moved = this.reported = now;
  }
}

/** @param {any} value @returns {value is Driver} */
export const isDriver = (value) =>
  typeof value === 'object' && value !== null && typeof value.id === 'string' && typeof value.name === 'string' &&
  Number.isFinite(value.lat) && Number.isFinite(value.lon) && Math.abs(value.lat) < 85 && Math.abs(value.lon) <= 180;

export class CarStore {
  constructor() {
    /** @type {Map<string, Car>} */
    this.cars = new Map();
    /** A car that stays although no list names it: the one of the rider's trip. @type {string | null} */
    this.own = null;
    this.calm = matchMedia('(prefers-reduced-motion: reduce)');
    /** When the last gliding car arrives, milliseconds. */
    this.busyUntil = 0;
    /** Counts changes that a drawing must show even when nothing glides. */
    this.revision = 0;
  }

  /** Cars that the feed names now. */
  get available() {
    let n = 0;
    for (const car of this.cars.values()) if (car.inFeed) n++;
    return n;
  }

  /** A whole list: what it does not name goes. @param {unknown[]} drivers @param {number} now */
  replace(drivers, now) {
    for (const car of this.cars.values()) car.inFeed = false;
    for (const driver of drivers) {
      if (!isDriver(driver)) continue;
      // The own car's positions come with its trip, fresher than the list.
      const car = driver.id === this.own && this.cars.get(driver.id) ? null : this.upsert(driver, now);
      if (car) car.inFeed = true;
    }
    for (const car of this.cars.values()) if (!car.inFeed && car.id !== this.own) this.cars.delete(car.id);
    this.revision++;
  }

  /** @param {Driver} driver @param {number} now */
  upsert(driver, now) {
    let car = this.cars.get(driver.id);
    if (car) car.update(driver, now, this.calm.matches);
    else this.cars.set(driver.id, (car = new Car(driver, now)));
    this.busyUntil = Math.max(this.busyUntil, car.end);
    this.revision++;
    return car;
  }

  /** The own car is anyone's again. @param {string | null} id the next own car */
  setOwn(id) {
    const before = this.own ? this.cars.get(this.own) : undefined;
    if (before && before.id !== id && !before.inFeed) this.cars.delete(before.id);
    this.own = id;
    this.revision++;
  }

  /**
   * The car nearest to a pixel, within so many pixels.
   * @param {import('./view.js').View} view @param {number} px @param {number} py @param {number} within @param {number} now
   */
  nearestTo(view, px, py, within, now) {
    let best = null;
    let bestOff = within;
    for (const car of this.cars.values()) {
      const [x, y] = car.world(now);
      const off = Math.hypot(
        (x - view.x) * view.scale + view.width / 2 - px,
        (y - view.y) * view.scale + view.height / 2 - py,
      );
      if (off < bestOff) [best, bestOff] = [car, off];
    }
    return best;
  }
}
